"""A made collection of a million passages in three languages: tokenised, trained on and re-ranked, within 2 GB.

    python benchmarks/scale.py                      # ten minutes or so on two quiet cores
    python benchmarks/scale.py --passages 20000     # a minute

Passages are drawn from the words of the atlas's encoder, about 45 in each; each query repeats some words of its
passage. The collection lies in Arrow files, its token ids in stores beside them, and both are read where they lie. The
peak is the process's own (`ru_maxrss`, mapped files included) after each part, and what 8.8 million passages in 14
languages (mMARCO) would need is reckoned from it. Writes `outputs/benchmarks/scale.json`; its working files go to a
temporary folder. The last lines are `figure NAME VALUE TARGET holds|short`.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measuring import figure, machine, report

from cslab.collections.collection import Collection, load_collection, save_collection
from cslab.collections.trec import Run
from cslab.evaluation.settings import Task
from cslab.ranking.cross_encoder import Encoder, load_encoder
from cslab.ranking.rerank import rerank_all
from cslab.ranking.token_store import stored_collection
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.loop import TrainSettings, train
from cslab.training.pairs import sample_pairs

LANGUAGES = ("en", "de", "ru")
WORDS, QUERIES, DEPTH, STEPS = 45, 1000, 10, 200
MMARCO = 8_841_823 * 14


class Made(Mapping[str, str]):
    """Texts that are made when they are read: word `n` of a language is one of its share of the vocabulary."""

    def __init__(self, kind: str, language: int, words: list[str], count: int, length: int) -> None:
        self.kind, self.language, self.words, self.count, self.length = kind, language, words, count, length

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return (f"{self.kind}{number}" for number in range(self.count))

    def __getitem__(self, key: str) -> str:
        draw = np.random.default_rng([self.language, int(key[len(self.kind) :])])
        # The first words of a passage are those of the query with its number.
        ranks = (draw.pareto(1.1, WORDS) * 20).astype(np.int64) % len(self.words)
        return " ".join([self.words[rank] for rank in ranks[: self.length]])


def made_collection(encoder: Encoder, passages: int, folder: Path) -> Collection:
    """Writes the collection and opens it."""
    words = [word for word in encoder.tokenizer.get_vocab() if len(word) > 2 and word.isalpha()]
    shares = [sorted(words)[number :: len(LANGUAGES)] for number in range(len(LANGUAGES))]
    queries = {code: Made("d", n, shares[n], QUERIES, 6) for n, code in enumerate(LANGUAGES)}
    documents = {code: Made("d", n, shares[n], passages, WORDS) for n, code in enumerate(LANGUAGES)}
    qrels = {code: {f"d{number}": {f"d{number}": 1} for number in range(QUERIES)} for code in LANGUAGES}
    save_collection(Collection("made", queries, documents, qrels), folder)
    return load_collection(folder)


def trained(encoder: Encoder, collection: Collection, folder: Path) -> str:
    """Trains on the pairs of one language, whose passages are looked up one by one."""
    pairs = sample_pairs(collection, "en", negatives=4, seed=1, bm25_share=0.0)
    texts = pair_texts(CONDITIONS["Zero-shot"], pairs, collection, {}, seed=1)
    settings = TrainSettings(steps=STEPS, batch=32, lr=1e-4, max_length=96, log_every=50, precision="fp32")
    made = train(encoder, pairs, texts, settings, folder, progress=None)
    return f"{STEPS} steps, {made['pairs_per_s']:,.0f} pairs/s"


def reranked(encoder: Encoder, collection: Collection, folder: Path) -> str:
    """Re-ranks the relevant passage and drawn ones for every query of every language in one pass."""
    tasks = {}
    for number, code in enumerate(LANGUAGES):
        count = len(collection.documents[code])
        draw = np.random.default_rng(number)
        scores = {
            qid: {qid: 1.0} | {f"d{other}": 0.5 for other in draw.integers(QUERIES, count, DEPTH - 1)}
            for qid in collection.queries[code]
        }
        run = Run("drawn", code, code, f"drawn@{DEPTH}", scores)
        held = collection.queries[code], collection.documents[code], collection.qrels[code]
        tasks[code] = Task(code, code, *held, run)
    runs = rerank_all(encoder, tasks, "atlas", work=folder / "shards", tokens=folder / "tokens", max_length=96)
    found = [run.ranking(qid, 1) == [qid] for run in runs.values() for qid in run.scores]
    return f"{sum(len(f) for run in runs.values() for f in run.scores.values()):,} pairs, {np.mean(found):.0%} found"


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def size(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def run(passages: int, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """All parts, with the seconds and the peak of memory after each."""
    encoder, rows = load_encoder("atlas", seed=1, device="cpu"), []

    def part(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = work()
        row = {"part": name, "seconds": time.perf_counter() - started, "peak MiB": peak_mib()}
        rows.append(row | {"": made if isinstance(made, str) else ""})
        print(f"{name}: {row['seconds']:,.0f} s, {row['peak MiB']:,.0f} MiB", flush=True)
        return made

    part("start", lambda: None)
    collection = part("write", lambda: made_collection(encoder, passages, folder / "collection"))
    tokens = folder / "tokens"
    stored = part("tokenise", lambda: stored_collection(encoder.tokenizer, collection, tokens, progress=print))
    part("train", lambda: trained(encoder, stored, folder / "model"))
    part("re-rank", lambda: reranked(encoder, stored, folder))
    texts = sum(len(found) for found in stored.documents.values())
    return rows, {
        "passages": texts, "text bytes": size(folder / "collection"), "token bytes": size(folder / "tokens"),
        "tokenise seconds": rows[2]["seconds"],
    }  # fmt: skip


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passages", type=int, default=1_000_000, help="passages of each language")
    parser.add_argument("--folder", type=Path, help="where working files go (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows, facts = run(options.passages, Path(folder))
    facts["device"] = machine("cpu")
    times, growth = MMARCO / facts["passages"], rows[-1]["peak MiB"] - rows[0]["peak MiB"]
    needs = {name: facts[name] * times for name in ("text bytes", "token bytes", "tokenise seconds")}
    facts["8.8 M x 14"] = needs | {"peak MiB, if all that grew were to grow on": rows[0]["peak MiB"] + growth * times}
    title = f"{options.passages:,} passages in {len(LANGUAGES)} languages"
    report("scale", title, rows, [figure("peak_mib", peak_mib(), "<=2048", peak_mib() <= 2048)], facts)
    print(
        f"8.8 M passages in 14 languages: {needs['text bytes'] / 1e9:,.0f} GB of text, "
        f"{needs['token bytes'] / 1e9:,.0f} GB of token ids, {needs['tokenise seconds'] / 3600:,.1f} h to tokenise here"
    )


if __name__ == "__main__":
    main()
