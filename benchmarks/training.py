"""How fast a cross-encoder trains, against `CrossEncoderTrainer` of sentence-transformers, in one run.

    python benchmarks/training.py                   # some minutes on two quiet cores
    python benchmarks/training.py --quick           # half a minute: only that it works

Same encoder (random weights; 6 × 384 with XLM-R's number of embeddings, and 12 × 768), same pairs (questions and
paragraphs of Natural Questions, from $CSLAB_SHARED), batch, precision, loss (BCE) and learning rate. The peer runs as
it comes (fp32, random batches), at the best of its options (bf16 where the device computes in it, workers on a GPU),
and with a sampler written here that groups texts of like length, which it does not have. Ours reads a collection whose
token ids lie on disk, as the product does; what tokenising took is added to its time. The first quarter of the steps is
left out. MFU is the share of the peak that large matrix products reach in the same run; a step counts as three forward
passes, padding is no work, and work that is left out counts as done. Lines `stage …` tell where the time of our step
goes, measured apart, with the device waited for after each stage. Writes `outputs/benchmarks/training.json`; the last
lines are `figure NAME VALUE TARGET holds|short`.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from measuring import (
    SHARED,
    Memory,
    add_places,
    fastest_precision,
    figure,
    machine,
    make_encoder,
    operations,
    peak,
    ratio,
    report_sizes,
    watching,
)
from sentence_transformers import CrossEncoder
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from transformers import TrainerCallback

from cslab.collections.collection import Collection
from cslab.ranking.cross_encoder import load_encoder
from cslab.ranking.token_store import stored_collection
from cslab.training.conditions import CONDITIONS, SourceTexts, pair_texts
from cslab.training.loop import TrainSettings, train
from cslab.training.pairs import Pairs

LR, PARTS = 2e-5, 4
COMPILED = "cslab, compiled"


def nq_pairs(count: int) -> tuple[Pairs, Collection]:
    """Questions with their paragraph (1) and with that of another question (0), in turn; and the texts."""

    def rows(name: str) -> Iterator[dict[str, str]]:
        with gzip.open(SHARED / "train_en" / "nq_qed" / name, "rt", encoding="utf-8") as handle:
            yield from map(json.loads, handle)

    queries = {row["_id"]: row["text"] for row in rows("queries.train.jsonl.gz")}
    passages = {row["_id"]: row["text"] for row in rows("corpus.jsonl.gz")}
    with open(SHARED / "train_en" / "nq_qed" / "qrels.train.tsv", encoding="utf-8") as handle:
        judged = [line.split("\t")[:2] for line in handle.read().splitlines()[1:]]
    draw, dids = np.random.default_rng(0), list(passages)
    chosen = []
    for place in draw.permutation(len(judged))[: -(-count // 2)]:
        qid, did = judged[place]
        chosen += [(qid, did), (qid, dids[int(draw.integers(len(dids)))])]
    asked, told = (np.array(ids) for ids in zip(*chosen[:count], strict=True))
    pairs = Pairs(asked, told, (np.arange(count) % 2 == 0).astype(np.float32), 1)
    held = [{name: texts[name] for name in dict.fromkeys(ids)} for texts, ids in ((queries, asked), (passages, told))]
    return pairs, Collection("nq", {"en": held[0]}, {"en": held[1]}, {"en": {}})


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


Run = Callable[..., tuple[float, float | None]]  # trains: seconds of all parts but the first; padding, if it tells
Systems = dict[str, tuple[Any, Run, str]]  # name → (model, training, precision)


def peer(folder: Path, data: Dataset, steps: int, batch: int, device: str, **options: Any) -> tuple[Any, Run]:
    """A model, and what trains it."""
    model = CrossEncoder(str(folder), device=device)

    def run() -> tuple[float, None]:
        with tempfile.TemporaryDirectory() as place:
            arguments = CrossEncoderTrainingArguments(
                place, max_steps=steps, per_device_train_batch_size=batch, learning_rate=LR, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_strategy="no", use_cpu=device == "cpu", **options,
            )  # fmt: skip
            marks = Marks(steps, device)
            loss = BinaryCrossEntropyLoss(model)
            CrossEncoderTrainer(model, arguments, train_dataset=data, loss=loss, callbacks=[marks]).train()
        return marks.times[-1] - marks.times[0], None

    return model, run


# --- ours ----------------------------------------------------------------------------------------------------


def on_disk(folder: Path, pairs: Pairs, collection: Collection) -> tuple[SourceTexts, float]:
    """What the pairs read, their token ids on disk; and the seconds that took."""
    tokenizer, started = load_encoder(folder, device="cpu").tokenizer, time.perf_counter()
    stored = stored_collection(tokenizer, collection, folder / "tokens")
    return pair_texts(CONDITIONS["Zero-shot"], pairs, stored, {}, seed=0), time.perf_counter() - started


def ours(folder: Path, texts: SourceTexts, settings: TrainSettings, device: str, tokenised: float) -> tuple[Any, Run]:
    """The same for ours; `tokenised` seconds are shared out over all parts."""
    encoder = load_encoder(folder, device=device)

    def run(adversary: Any = None) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as place:
            made = train(encoder, texts.pairs, texts, settings, place, adversary, progress=None)
            lines = (Path(place) / "log.jsonl").read_text(encoding="utf-8").splitlines()
        seconds = [json.loads(line)["seconds"] for line in lines]
        return seconds[-1] - seconds[0] + tokenised * (1 - 1 / PARTS), made["padding"]

    return encoder.model, run


class Stages:
    """Where the time of a step goes: in place of the plain step the same one, which waits after each stage."""

    def __init__(self, device: str) -> None:
        self.seconds, self.last, self.device = Counter(), None, device

    def __call__(self, model: Any, batch: Any, objective: Any, backward: Callable[[torch.Tensor], None]) -> Any:
        """Forward and backward pass; the time since the update before went into the next batch."""
        self.mark("batch")
        loss = objective(batch.inputs)
        self.mark("forward")
        backward(loss)
        self.mark("backward")
        return loss

    def mark(self, stage: str) -> None:
        """Notes that a stage is over; the first mark only starts the clock."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.last is not None:
            self.seconds[stage] += now - self.last
        self.last = now


def stages_of(run: Run, name: str, device: str, steps: int) -> dict[str, float]:
    """Milliseconds of each stage of a step; prints them."""
    stages = Stages(device)
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: stages.mark("clip")),
        register_optimizer_step_post_hook(lambda *_: stages.mark("AdamW")),
    ]
    try:
        run(stages)
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(stages.seconds.values())
    for stage, spent in stages.seconds.items():
        print(f"stage {name} {stage} {1000 * spent / steps:.3g} ms {spent / total:.1%}", flush=True)
    return {stage: 1000 * spent / steps for stage, spent in stages.seconds.items()}


# --- the comparison ------------------------------------------------------------------------------------------


def systems_of(folder: Path, device: str, steps: int, batch: int, length: int) -> Systems:
    """The peer three times, and ours; on a GPU also compiled."""
    pairs, collection = nq_pairs(steps * batch)
    queries, passages = collection.queries["en"], collection.documents["en"]
    columns = {"query": [queries[qid] for qid in pairs.qids], "passage": [passages[did] for did in pairs.dids]}
    data = Dataset.from_dict({**columns, "label": pairs.labels.tolist()})
    precision = fastest_precision(device)
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
    texts, tokenised = on_disk(folder, pairs, collection)
    for kind in dict.fromkeys(("fp32", precision)):
        chosen = replace(settings, precision=kind)
        found[f"cslab ({kind})"] = (*ours(folder, texts, chosen, device, tokenised), kind)
    if device == "cuda":
        chosen = replace(settings, precision=precision, compile=True)
        # What watches the model would be compiled with it.
        found[COMPILED] = (None, ours(folder, texts, chosen, device, tokenised)[1], precision)
    return found


def compare(
    size: str, device: str, steps: int, batch: int, rounds: int, length: int
) -> tuple[list[dict], list[str], dict]:
    """Trains each system in turn."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = make_encoder(size, Path(folder), length, device)
        systems = systems_of(Path(folder), device, steps, batch, length)
        rows, spent = take_turns(size, device, encoder.model, systems, rounds, steps, batch)
        same = [name for name in systems if name.startswith("cslab (")][-1]
        stages = stages_of(systems[same][1], f"{device}_{size}", device, steps)
    peaks = {kind: peak(device, kind) for kind in {kind for _, _, kind in systems.values()}}
    for name, (_, _, kind) in systems.items():
        rows[name]["MFU"] *= rows[name]["pairs/s"] / peaks[kind]
    default, best, sorted_ = list(systems)[:3]
    target = 2.0 if device == "cuda" else 1.3
    ratios = {"default": ratio(spent["cslab (fp32)"], spent[default]), "best": ratio(spent[same], spent[best])}
    ratios["best_like_lengths"] = ratio(spent[same], spent[sorted_])
    figures = [
        figure(f"{device}_{size}_over_{name}", value, f">={target}", value >= target) for name, value in ratios.items()
    ]
    if device == "cuda":
        for name, other in (("plain", same), ("best", best), ("best_like_lengths", sorted_)):
            value, least = ratio(spent[COMPILED], spent[other]), 1.0 if other == same else target
            figures.append(figure(f"cuda_{size}_compiled_over_{name}", value, f">={least}", value >= least))
    if size == "12x768" and device == "cuda":
        share = rows[COMPILED]["MFU"]
        figures.append(figure(f"cuda_{size}_compiled_mfu", share, ">=0.3", share >= 0.3))
    facts = {"device": machine(device), "peaks": peaks, "steps": steps, "batch": batch, "max_length": length}
    return list(rows.values()), figures, facts | {"spent": spent, "stages of a step, ms": stages}


def take_turns(
    size: str, device: str, plain: Any, systems: Systems, rounds: int, steps: int, batch: int
) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """A row for each system, with the operations of a pair as its MFU, and the seconds of each of its turns."""
    spent: dict[str, list[float]] = {name: [] for name in systems}
    timed_pairs, rows = batch * (steps - steps // PARTS), {}
    for number in range(rounds):
        for name, (model, run, _) in systems.items():
            with watching(model) if model else nullcontext() as seen, Memory(device) as memory:
                seconds, padding = run()
            spent[name].append(seconds)
            if seen is not None:
                done = 3 * operations(plain, seen.tokens, seen.squares) / seen.pairs
                padding = seen.padding
            rate = timed_pairs / float(np.median(spent[name]))
            rows[name] = {"encoder": size, "system": name, "pairs/s": rate, "padding": padding, "MFU": done}
            rows[name]["memory MiB"] = memory.peak
            print(f"{size} round {number + 1}: {name} {timed_pairs / spent[name][-1]:,.1f} pairs/s", flush=True)
    return rows, spent


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny encoder and few steps")
    add_places(parser)
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

    report_sizes("training", "Training on pairs", options, compared)


if __name__ == "__main__":
    main()
