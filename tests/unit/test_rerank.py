"""Re-ranking a run in shards."""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from cslab.collections.texts import Texts, write_texts
from cslab.collections.trec import Run, write_run
from cslab.processes import processes
from cslab.ranking import rerank as module
from cslab.ranking.cross_encoder import score_pairs
from cslab.ranking.rerank import rerank, rerank_all
from cslab.ranking.token_store import stored_texts
from cslab.recipe import Recipe
from cslab.store import CslabError, read_json, write_json
from tests.real import ROOT
from tests.tiny import WORDS, tiny_encoder

pytestmark = pytest.mark.numbers

Asked = namedtuple("Asked", "queries documents candidates")

QUERIES = {f"q{i}": f"who is {WORDS[i]} ?" for i in range(6)}
DOCUMENTS = {f"d{i}": " ".join(WORDS[i : i + 1 + i % 7]) for i in range(20)}
CANDIDATES = Run(
    "bm25",
    "en",
    "en",
    "bm25(en)@8",
    {q: {f"d{(i * 3 + j) % 20}": 8.0 - j for j in range(8)} for i, q in enumerate(QUERIES)},
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def test_every_candidate_gets_its_score(encoder):
    run = rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny")
    assert (run.name, run.query_lang, run.doc_lang, run.first_stage) == ("tiny", "en", "en", "bm25(en)@8")
    pairs = [(q, d) for q, found in CANDIDATES.scores.items() for d in found]
    expected = score_pairs(encoder, [(QUERIES[q], DOCUMENTS[d]) for q, d in pairs])
    np.testing.assert_allclose([run.scores[q][d] for q, d in pairs], expected, atol=1e-6)
    assert [list(found) for found in run.scores.values()] == [list(found) for found in CANDIDATES.scores.values()]


def test_shards_give_the_same_run_and_are_taken_up_again(encoder, tmp_path, monkeypatch):
    whole = rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny", batch_tokens=100)
    work, scored, calls = tmp_path / "work", module.scored, []

    def failing(enc, tokens, batches, *rest):
        calls.append(len(batches))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scored(enc, tokens, batches, *rest)

    monkeypatch.setattr(module, "scored", failing)
    options = {"work": work, "shard": 10, "batch_tokens": 100, "tokens": tmp_path / "tokens"}
    with pytest.raises(KeyboardInterrupt):
        rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny", **options)
    assert len(list(work.rglob("*.npy"))) == 2
    resumed = rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny", **options)
    shards = len(calls) - 1
    assert shards >= 4, "the third shard was begun twice, the first two were not scored again"
    assert resumed == whole
    assert not work.exists()
    assert len(list((tmp_path / "tokens").glob("*/tokens.json"))) == 1


def test_shards_of_another_model_are_not_used(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
    rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny", work=tmp_path / "work")
    other = tiny_encoder(tmp_path / "other", seed=7)
    kept = rerank(other, QUERIES, DOCUMENTS, CANDIDATES, "other", work=tmp_path / "work")
    assert kept.scores == rerank(other, QUERIES, DOCUMENTS, CANDIDATES, "other").scores
    assert len(list((tmp_path / "work").iterdir())) == 2


def test_runs_that_share_pairs_are_scored_in_one_pass(encoder, tmp_path, monkeypatch):
    pool = {f"en:{did}": text for did, text in DOCUMENTS.items()} | {"de:d1": "moon moon"}
    first = {q: {f"en:{did}": 1.0 for did in found} | {"de:d1": 2.0} for q, found in CANDIDATES.scores.items()}
    mixed = Run("bm25", "en", "xx", "bm25(en)@8", first)
    tasks = {"en-en": Asked(QUERIES, DOCUMENTS, CANDIDATES), "en-xx": Asked(QUERIES, pool, mixed)}
    counted, scored = [], module.scored
    monkeypatch.setattr(
        module, "scored", lambda e, t, b, *rest: (counted.append(sum(map(len, b))), scored(e, t, b, *rest))[1]
    )
    runs = rerank_all(encoder, tasks, "tiny", batch_tokens=65_536)
    assert sum(counted) == 48 + 6
    assert list(runs["en-xx"].scores["q1"]) == list(first["q1"])
    for qid, found in CANDIDATES.scores.items():
        single, pooled = (
            [runs[p].scores[qid][f"{c}{did}"] for did in found] for p, c in (("en-en", ""), ("en-xx", "en:"))
        )
        assert single == pooled
    write_texts(tmp_path / "en.arrow", DOCUMENTS.items())
    stored = stored_texts(encoder.tokenizer, Texts(tmp_path / "en.arrow"), tmp_path / "tokens")
    monkeypatch.setattr(Texts, "__getitem__", lambda *_: pytest.fail("a text with ids was read"))
    again = rerank_all(encoder, tasks | {"en-en": Asked(QUERIES, stored, CANDIDATES)}, "tiny", batch_tokens=65_536)
    # Pairs of one length may stand in another order in the batch, which the last digit shows on some CPUs.
    for pair, run in runs.items():
        for qid, found in run.scores.items():
            assert list(again[pair].scores[qid]) == list(found)
            np.testing.assert_allclose([*again[pair].scores[qid].values()], [*found.values()], atol=1e-7)


def test_only_the_document_is_cut(encoder):
    run = rerank(encoder, QUERIES, DOCUMENTS, CANDIDATES, "tiny", max_length=9, truncation="only_second")
    pairs = [(q, d) for q, found in CANDIDATES.scores.items() for d in found]
    texts = [(QUERIES[q], DOCUMENTS[d]) for q, d in pairs]
    expected = score_pairs(encoder, texts, max_length=9, truncation="only_second")
    np.testing.assert_allclose([run.scores[q][d] for q, d in pairs], expected, atol=1e-6)
    assert np.abs(expected - score_pairs(encoder, texts, max_length=9)).max() > 2e-5


def test_two_processes_give_the_run_of_one(tmp_path):
    threads = torch.get_num_threads()
    _stages(tmp_path / "1")
    torch.set_num_threads(threads)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, str(tmp_path / "2")], check=True, timeout=600, env=environment)
    runs = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        runs.append((folder / "stages" / "runs" / "tiny.trec.gz").read_bytes())
        told = (folder / "told.txt").read_text().splitlines()
        assert sorted(told) == [f"helped {n} of {count}" for n in range(count)] + ["made alone"]
    assert runs[0] == runs[1]


def _stages(folder: Path) -> None:
    """What each of two processes does: a stage that the first makes, and a run that they share."""
    torch.set_num_threads(1)

    def tell(line: str) -> None:
        with open(folder / "told.txt", "a") as handle:
            handle.write(line + "\n")

    def alone(place: Path) -> dict:
        tell("made alone")
        assert processes() == (0, 1)
        write_json(place / "candidates.json", CANDIDATES.scores)
        return {}

    def together(place: Path) -> dict:
        rank, count = processes()
        tell(f"helped {rank} of {count}")
        run = Run("bm25", "en", "en", "bm25(en)@8", read_json(first.make().path / "candidates.json"))
        encoder = tiny_encoder(folder / f"encoder-{rank}")
        made = rerank(
            encoder, QUERIES, DOCUMENTS, run, "tiny", work=place / "shards", tokens=folder / "tokens",
            batch_tokens=100, shard=10,
        )  # fmt: skip
        if rank == 0:
            write_run(made, place / "tiny.trec.gz")
        return {}

    folder.mkdir(exist_ok=True)
    first = Recipe(folder / "stages" / "candidates", {}, alone)
    shared = Recipe(folder / "stages" / "runs", {}, together, (first,), shared=True)
    assert shared.make().path == shared.make().path


def test_queries_that_are_not_asked_are_left_out(encoder):
    run = rerank(encoder, {"q2": QUERIES["q2"]}, DOCUMENTS, CANDIDATES, "tiny")
    assert list(run.scores) == ["q2"]


def test_foreign_ids_are_named(encoder):
    with pytest.raises(CslabError, match="query q0 has candidate 'd0', which is in no document"):
        rerank(encoder, QUERIES, {"d1": "fox"}, CANDIDATES, "tiny")
    with pytest.raises(CslabError, match="no candidates for any of 1 queries"):
        rerank(encoder, {"x": "fox"}, DOCUMENTS, CANDIDATES, "tiny")


if __name__ == "__main__":
    _stages(Path(sys.argv[1]))
