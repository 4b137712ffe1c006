"""How fast pairs are scored, against `CrossEncoder.predict` of sentence-transformers, in one run.

    python benchmarks/reranking.py                  # some minutes on two quiet cores
    python benchmarks/reranking.py --quick          # half a minute: only that it works

Same encoder (random weights; 6 × 384 with XLM-R's number of embeddings, and 12 × 768), same pairs (questions and
passages of the shipped first-stage runs of TREC DL 2019, $CSLAB_SHARED), same precision. The peer runs as it comes
(fp32, batches of 32) and at its best: bf16 where the device computes in it, the fastest of some batch sizes. It sorts
by characters itself. All take turns, whole passes over the pairs; a ratio is the median of rounds. MFU is the share of
the peak that large matrix products reach in the same run; padding is no work, and the part of the last layer that ours
leaves out counts as done. Writes `outputs/benchmarks/reranking.json`; the last lines are
`figure NAME VALUE TARGET holds|short`.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import (
    SHARED,
    Memory,
    Seen,
    add_places,
    fastest_precision,
    figure,
    machine,
    make_encoder,
    operations,
    peak,
    ratio,
    report_sizes,
    timed,
    watching,
)
from sentence_transformers import CrossEncoder

from cslab.collections.pool import read_pool
from cslab.ranking.cross_encoder import Encoder, score_pairs

Pair = tuple[str, str]
Scorer = Callable[[list[Pair]], np.ndarray]
Systems = dict[str, tuple[Any, Scorer, str]]  # name → model, scorer, precision


def dl19_pairs(count: int) -> list[Pair]:
    """A seeded sample of the (query, passage) pairs of all first-stage runs."""
    pool = read_pool(SHARED / "moir_en" / "trec_dl19", outside="drop")
    queries, passages = pool.collection.queries["en"], pool.collection.documents["en"]
    ids = sorted({(q, d) for run in pool.runs.values() for q, found in run.scores.items() for d in found})
    chosen = np.random.default_rng(0).permutation(len(ids))[:count]
    return [(queries[ids[i][0]], passages[ids[i][1]]) for i in chosen]


def peers(folder: Path, device: str, precision: str, sample: list[Pair], batches: list[int]) -> Systems:
    """The peer with its default settings and with its best."""

    def scorer(model: CrossEncoder, batch: int) -> Scorer:
        return lambda pairs: model.predict(pairs, batch_size=batch, show_progress_bar=False)

    plain = CrossEncoder(str(folder), device=device)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    best = CrossEncoder(str(folder), device=device, model_kwargs={"dtype": kind})
    spent = {}
    for batch in batches:
        scorer(best, batch)(sample[:batch])
        spent[batch] = timed(lambda b=batch: scorer(best, b)(sample), device)
    fastest = min(spent, key=spent.get)
    found = {"sentence-transformers, default (fp32, batch 32)": (plain, scorer(plain, 32), "fp32")}
    return found | {
        f"sentence-transformers, best ({precision}, batch {fastest})": (best, scorer(best, fastest), precision)
    }


def ours(encoder: Encoder, precision: str) -> Scorer:
    """Our scorer; the ids are made anew in every pass, as the peer's are."""
    return lambda pairs: score_pairs(encoder, pairs, precision=precision)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The share of pairs of candidates that both put in the same order (all pairs of a sample of 1,000)."""
    a, b = ours[:1000], theirs[:1000]
    upper = np.triu_indices(len(a), 1)
    return float(np.mean(np.sign(a[:, None] - a)[upper] == np.sign(b[:, None] - b)[upper]))


@dataclass
class Taken:
    """What came out of a system's turns: seconds of each, and of the last one scores, counts and memory."""

    spent: list[float] = field(default_factory=list)
    scores: np.ndarray | None = None
    seen: Seen | None = None
    memory: float = 0.0


def take_turns(systems: Systems, pairs: list[Pair], rounds: int, device: str) -> dict[str, Taken]:
    """Scores all pairs with each system in turn."""
    taken = {name: Taken() for name in systems}
    for number in range(rounds):
        for name, (model, score, _) in systems.items():
            one = taken[name]
            # A GPU loads its kernels when they are first asked for, those of each length apart.
            score(pairs if device == "cuda" and not number else pairs[:16])

            def work(one: Taken = one, score: Scorer = score) -> None:
                one.scores = score(pairs)

            with watching(model) as one.seen, Memory(device) as memory:
                one.spent.append(timed(work, device))
            one.memory = memory.peak
            print(f"round {number + 1}: {name} {len(pairs) / one.spent[-1]:,.1f} pairs/s", flush=True)
    return taken


def row(encoder: Encoder, name: str, one: Taken, against: Taken, top: float) -> dict[str, Any]:
    """A system's line of the table."""
    seconds = statistics.median(one.spent)
    rate = operations(encoder.model, one.seen.tokens, one.seen.squares) / seconds
    return {
        "encoder": encoder.name, "system": name, "pairs/s": len(one.scores) / seconds, "padding": one.seen.padding,
        "MFU": rate / top, "memory MiB": one.memory, "spread of scores": float(one.scores.std()),
        "largest difference": float(np.abs(one.scores - against.scores).max()),
        "same order": agreement(one.scores, against.scores),
    }  # fmt: skip


def compare(size: str, device: str, count: int, rounds: int, max_length: int) -> tuple[list[dict], list[str], dict]:
    """The table's rows, the figures and the facts of one encoder on one device."""
    pairs, precision = dl19_pairs(count), fastest_precision(device)
    with tempfile.TemporaryDirectory() as folder:
        encoder = replace(make_encoder(size, Path(folder), max_length, device), name=size)
        sizes = [64, 128, 256, 512] if device == "cuda" else [8, 16, 32, 64]
        systems = peers(Path(folder), device, precision, pairs[: max(16, count // 6)], sizes)
    default, best = systems
    for kind in dict.fromkeys(("fp32", precision)):
        systems[f"cslab ({kind})"] = (encoder.model, ours(encoder, kind), kind)
    taken, peaks = (
        take_turns(systems, pairs, rounds, device),
        {kind: peak(device, kind) for kind in ("fp32", precision)},
    )
    # Scores are compared with the peer's in the same precision.
    peer = {"fp32": taken[default], precision: taken[best]} if precision != "fp32" else {"fp32": taken[default]}
    rows = [row(encoder, name, taken[name], peer[kind], peaks[kind]) for name, (_, _, kind) in systems.items()]
    facts = {"device": machine(device), "peaks": peaks, "pairs": len(pairs), "max_length": max_length}
    facts["spent"] = {name: one.spent for name, one in taken.items()}
    return rows, figures_of(f"{device}_{size}", rows, facts["spent"], precision, device), facts


def figures_of(
    name: str, rows: list[dict[str, Any]], spent: dict[str, list[float]], precision: str, device: str
) -> list[str]:
    """Ratios and differences beside their targets."""
    (default, best), same = list(spent)[:2], f"cslab ({precision})"
    slow, fast = (5.0, 2.0) if device == "cuda" else (1.3, 1.3)
    ratios = [("over_default", ratio(spent[same], spent[default]), slow)]
    ratios += [("over_best", ratio(spent[same], spent[best]), fast)]
    found = [figure(f"{name}_{what}", value, f">={target}", value >= target) for what, value, target in ratios]
    for line, limit in zip(rows[2:], (1e-5, 2e-2), strict=False):
        kind, difference, order = line["system"][-5:-1], line["largest difference"], line["same order"]
        found.append(figure(f"{name}_difference_{kind}", difference, f"<={limit}", difference <= limit))
        found.append(figure(f"{name}_same_order_{kind}", order, ">=0.999", order >= 0.999))
    return found


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny encoder and few pairs")
    add_places(parser)
    parser.add_argument("--pairs", type=int, help="pairs (default: by device and size)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a pair")
    options = parser.parse_args()

    def compared(size: str, device: str) -> tuple[list, list, dict[str, Any]]:
        count = {"6x384": 768, "12x768": 128}.get(size, 256) if device == "cpu" else 10_000
        return compare(size, device, options.pairs or count, options.rounds, options.max_length)

    report_sizes("reranking", "Scoring pairs", options, compared)


if __name__ == "__main__":
    main()
