"""How fast a cross-encoder trains, against `CrossEncoderTrainer` of sentence-transformers, in one run.

    python benchmarks/training.py                   # some minutes on two quiet cores
    python benchmarks/training.py --quick           # half a minute: only that it works

Same encoder (random weights; 6 × 384 with XLM-R's number of embeddings, and 12 × 768), same pairs (questions and
paragraphs of Natural Questions, from $CSLAB_SHARED), batch, precision, loss (BCE) and learning rate. The peer runs as
it comes (fp32, random batches), at the best of its options (bf16 where the device computes in it, workers on a GPU),
and with a sampler written here that groups texts of like length, which it does not have. The first quarter of the
steps is left out. MFU is the share of the peak that large matrix products reach in the same run; a step counts as
three forward passes, padding is no work, and work that is left out counts as done. Writes
`outputs/benchmarks/training.json`; the last lines are `figure NAME VALUE TARGET holds|short`.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from measuring import (
    SHARED,
    SIZES,
    Memory,
    figure,
    machine,
    make_encoder,
    operations,
    peak,
    ratio,
    report_sizes,
    sizes_of,
    watching,
)
from sentence_transformers import CrossEncoder
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import TrainerCallback

from cslab.ranking.cross_encoder import choose_precision, load_encoder
from cslab.training.loop import TrainSettings, train
from cslab.training.pairs import Pairs

LR, PARTS = 2e-5, 4


def nq_pairs(count: int) -> tuple[list[tuple[str, str]], list[float]]:
    """Questions with their paragraph (1) and with that of another question (0), in turn."""

    def rows(name: str) -> Iterator[dict[str, str]]:
        with gzip.open(SHARED / "train_en" / "nq_qed" / name, "rt", encoding="utf-8") as handle:
            yield from map(json.loads, handle)

    queries = {row["_id"]: row["text"] for row in rows("queries.train.jsonl.gz")}
    passages = {row["_id"]: row["text"] for row in rows("corpus.jsonl.gz")}
    with open(SHARED / "train_en" / "nq_qed" / "qrels.train.tsv", encoding="utf-8") as handle:
        judged = [line.split("\t")[:2] for line in handle.read().splitlines()[1:]]
    draw, dids = np.random.default_rng(0), list(passages)
    pairs, labels = [], []
    for place in draw.permutation(len(judged))[: -(-count // 2)]:
        qid, did = judged[place]
        other = dids[int(draw.integers(len(dids)))]
        pairs += [(queries[qid], passages[did]), (queries[qid], passages[other])]
        labels += [1.0, 0.0]
    return pairs[:count], labels[:count]


# --- the peer ------------------------------------------------------------------------------------------------


class LikeLengths(DefaultBatchSampler):
    """Batches of like length: what a careful user of the peer can add; `sampler` holds the data set."""

    def __iter__(self) -> Iterator[list[int]]:
        draw, size = np.random.default_rng(self.seed or 0), self.batch_size
        lengths = np.array([len(row["query"]) + len(row["passage"]) for row in self.sampler])
        order = draw.permutation(len(lengths))
        batches = []
        for start in range(0, len(order), 32 * size):
            window = order[start : start + 32 * size]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[place : place + size].tolist() for place in range(0, len(window), size)]
        yield from (batches[place] for place in draw.permutation(len(batches)))


class Marks(TrainerCallback):
    """The time after each of the parts of a training."""

    def __init__(self, steps: int, device: str) -> None:
        self.times, self.every, self.device = [], steps // PARTS, device

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Notes the time."""
        if state.global_step % self.every == 0:
            if self.device == "cuda":
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())


def peer(folder: Path, data: Dataset, steps: int, batch: int, device: str, **options: Any) -> tuple[Any, Any]:
    """A model and a function that trains it, which gives the seconds of all parts but the first."""
    model = CrossEncoder(str(folder), device=device)

    def run() -> float:
        with tempfile.TemporaryDirectory() as place:
            arguments = CrossEncoderTrainingArguments(
                place, max_steps=steps, per_device_train_batch_size=batch, learning_rate=LR, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=device == "cpu", **options,
            )  # fmt: skip
            marks = Marks(steps, device)
            loss = BinaryCrossEntropyLoss(model)
            CrossEncoderTrainer(model, arguments, train_dataset=data, loss=loss, callbacks=[marks]).train()
        return marks.times[-1] - marks.times[0]

    return model, run


def ours(folder: Path, pairs: Sequence[tuple[str, str]], labels: list[float], settings: TrainSettings, device: str):
    """The same for ours."""
    encoder = load_encoder(folder, device=device)
    ids = np.array([f"{number}" for number in range(len(pairs))])
    listed = Pairs(ids, ids, np.array(labels, np.float32), 1)

    def texts(_: int, indices: Sequence[int]) -> list[tuple[str, str]]:
        return [pairs[index] for index in indices]

    def run() -> float:
        with tempfile.TemporaryDirectory() as place:
            train(encoder, listed, texts, settings, place, progress=None)
            lines = (Path(place) / "log.jsonl").read_text(encoding="utf-8").splitlines()
        seconds = [json.loads(line)["seconds"] for line in lines]
        return seconds[-1] - seconds[0]

    return encoder.model, run


# --- the comparison ------------------------------------------------------------------------------------------


def systems_of(folder: Path, device: str, steps: int, batch: int, length: int) -> dict[str, tuple[Any, Any, str]]:
    """Name → (model, training, precision)."""
    pairs, labels = nq_pairs(steps * batch)
    data = Dataset.from_dict({"query": [q for q, _ in pairs], "passage": [p for _, p in pairs], "label": labels})
    precision = choose_precision("auto", torch.device(device))[0]
    options = {"bf16": precision == "bf16", "dataloader_num_workers": 4 if device == "cuda" else 0}
    common = (folder, data, steps, batch, device)
    settings = TrainSettings(
        steps=steps, batch=batch, lr=LR, warmup=0, max_length=length, log_every=steps // PARTS, save_every=0
    )
    found = {
        "sentence-transformers, default (fp32)": (*peer(*common), "fp32"),
        f"sentence-transformers, best ({precision})": (*peer(*common, **options), precision),
        f"sentence-transformers, best, like lengths ({precision})": (
            *peer(*common, **options, batch_sampler=LikeLengths),
            precision,
        ),
    }
    for kind in dict.fromkeys(("fp32", precision)):
        chosen = TrainSettings(**{**vars(settings), "precision": kind})
        found[f"cslab ({kind})"] = (*ours(folder, pairs, labels, chosen, device), kind)
    return found


def compare(
    size: str, device: str, steps: int, batch: int, rounds: int, length: int
) -> tuple[list[dict], list[str], dict]:
    """Trains each system in turn."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_encoder(size, Path(folder), length, device)
        systems = systems_of(Path(folder), device, steps, batch, length)
    spent: dict[str, list[float]] = {name: [] for name in systems}
    timed_pairs, rows = batch * (steps - steps // PARTS), {}
    for number in range(rounds):
        for name, (model, run, _) in systems.items():
            with watching(model) as seen, Memory(device) as memory:
                spent[name].append(run())
            rate = timed_pairs / spent[name][-1]
            done = 3 * operations(encoder.model, seen.tokens, seen.squares) / seen.pairs
            rows[name] = {"encoder": size, "system": name, "pairs/s": rate, "padding": seen.padding, "MFU": done * rate}
            rows[name]["memory MiB"] = memory.peak
            print(f"{size} round {number + 1}: {name} {rate:,.1f} pairs/s", flush=True)
    peaks = {kind: peak(device, kind) for kind in {kind for _, _, kind in systems.values()}}
    for name, (_, _, kind) in systems.items():
        rows[name]["pairs/s"] = timed_pairs / float(np.median(spent[name]))
        rows[name]["MFU"] /= peaks[kind]
    default, best, sorted_ = list(systems)[:3]
    same, target = list(systems)[-1], 2.0 if device == "cuda" else 1.3
    ratios = {"default": ratio(spent["cslab (fp32)"], spent[default]), "best": ratio(spent[same], spent[best])}
    ratios["best_like_lengths"] = ratio(spent[same], spent[sorted_])
    figures = [
        figure(f"{device}_{size}_over_{name}", value, f">={target}", value >= target) for name, value in ratios.items()
    ]
    if size == "12x768" and device == "cuda":
        share = rows[same]["MFU"]
        figures.append(figure(f"{device}_{size}_mfu", share, ">=0.3", share >= 0.3))
    facts = {"device": machine(device), "peaks": peaks, "steps": steps, "batch": batch, "max_length": length}
    return list(rows.values()), figures, facts | {"spent": spent}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny encoder and few steps")
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), help="encoders (default: 6x384 and 12x768)")
    parser.add_argument("--steps", type=int, help="steps of each training, a multiple of 4 (default: by device)")
    parser.add_argument("--batch", type=int, help="pairs in a step (default: by device and size)")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each system")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a pair")
    options = parser.parse_args()

    def compared(size: str, device: str) -> tuple[list, list, dict[str, Any]]:
        few = {"6x384": (16, 32), "12x768": (8, 8)}.get(size, (8, 8))
        steps, batch = few if device == "cpu" else (200, 64)
        shape = options.steps or steps, options.batch or batch
        return compare(size, device, *shape, options.rounds, options.max_length)

    report_sizes("training", "Training on pairs", sizes_of(options), compared)


if __name__ == "__main__":
    main()
