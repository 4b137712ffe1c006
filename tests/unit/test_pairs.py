"""Sampling training pairs and keeping them."""

from zlib import crc32

import numpy as np
import pytest

from cslab.collections.collection import Collection
from cslab.collections.trec import Run
from cslab.ranking.first_stage import bm25_run
from cslab.store import CslabError
from cslab.training.pairs import MarginFilter, Pairs, load_pairs, sample_pairs, save_pairs
from tests.tiny import WORDS

DOCUMENTS = {f"d{i}": f"the {WORDS[i % 20]} and the {WORDS[(i * 7 + 3) % 20]} {i}" for i in range(60)}
QUERIES = {f"q{i}": f"where is the {WORDS[i]}" for i in range(12)}
QRELS = {f"q{i}": {f"d{i}": 1, f"d{i + 20}": 2, f"d{i + 40}": 0} for i in range(12)}
COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": QRELS})


def groups(pairs: Pairs) -> list[tuple[str, list[str]]]:
    rows = zip(pairs.qids.reshape(-1, pairs.group), pairs.dids.reshape(-1, pairs.group), strict=True)
    return [(qids[0], dids.tolist()) for qids, dids in rows if len(set(qids)) == 1]


def test_groups_hold_one_positive_and_distinct_negatives():
    pairs = sample_pairs(COLLECTION, negatives=4, seed=1)
    assert len(pairs) == 24 * 5
    assert pairs.labels.dtype == np.float32
    assert pairs.labels.reshape(-1, 5).tolist() == [[1, 0, 0, 0, 0]] * 24
    found = groups(pairs)
    assert len(found) == 24
    for qid, (positive, *negatives) in found:
        assert QRELS[qid][positive] > 0
        assert len(set(negatives)) == 4
        assert all(QRELS[qid].get(did, 0) == 0 for did in negatives)


def test_negatives_come_from_the_window_and_from_everywhere():
    ranked = bm25_run(QUERIES, DOCUMENTS, "en", 6)
    hard = sample_pairs(COLLECTION, negatives=2, bm25_share=1.0, window=(3, 6), seed=0)
    for qid, (_, *negatives) in groups(hard):
        places = [ranked.ranking(qid).index(did) for did in negatives if did in ranked.scores[qid]]
        assert all(place >= 2 for place in places)
    random = sample_pairs(COLLECTION, negatives=2, bm25_share=0.0, seed=0)
    assert len({did for _, dids in groups(random) for did in dids[1:]}) > 20


def test_a_query_draws_the_same_whatever_else_is_sampled():
    everything = {(q, d[0]): d for q, d in groups(sample_pairs(COLLECTION, seed=3))}
    few = {(q, d[0]): d for q, d in groups(sample_pairs(COLLECTION, seed=3, qids=["q5", "q2"]))}
    assert few == {key: dids for key, dids in everything.items() if key[0] in ("q5", "q2")}
    assert everything != {(q, d[0]): d for q, d in groups(sample_pairs(COLLECTION, seed=4))}
    limited = groups(sample_pairs(COLLECTION, seed=3, limit=7))
    assert len(limited) == 7
    assert all(everything[q, d[0]] == d for q, d in limited)


def test_what_is_drawn_stays_what_it_was():
    """The very draws of earlier versions: a change would make other models of the same seeds."""
    assert sample_pairs(COLLECTION, negatives=4, seed=1).key() == "39d95266587e2549"
    assert sample_pairs(COLLECTION, negatives=3, seed=5, window=(2, 9), bm25_share=0.4).key() == "dff3307d46da64d2"


def test_negatives_come_from_given_runs():
    first = Run(
        "a", "en", "en", "x", {q: {f"d{(i * 5 + j) % 60}": 9.0 - j for j in range(6)} for i, q in enumerate(QUERIES)}
    )
    second = Run("b", "en", "en", "x", {"q3": {"d59": 2.0, "d58": 1.0}})
    pairs = sample_pairs(COLLECTION, negatives=2, bm25_share=1.0, window=(2, 6), runs=[first, second], seed=0)
    for qid, (_, *negatives) in groups(pairs):
        allowed = {*first.ranking(qid)[1:], *(second.ranking(qid)[1:] if qid in second.scores else ())}
        assert set(negatives) <= allowed
    strange = Run("c", "en", "en", "x", {q: {"de:d1": 1.0} for q in QUERIES})
    with pytest.raises(CslabError, match="a run ranks 'de:d1' for query 'q0', in no document in 'en'"):
        sample_pairs(COLLECTION, runs=[strange])


RELEVANT = {(q, d) for q, judged in QRELS.items() for d, grade in judged.items() if grade > 0}


def teacher(asked) -> np.ndarray:
    """Knows what is relevant, and likes other documents by chance, from 0 to 0.88."""
    return np.array([0.95 if pair in RELEVANT else crc32(DOCUMENTS[pair[1]].encode()) % 89 / 100 for pair in asked])


@pytest.mark.parametrize("keep", [{"share": 0.5}, {"margin": 0.475}])
def test_a_teacher_keeps_false_negatives_out(keep):
    asked = []

    def counted(texts):
        asked.append(len(texts))
        return teacher(texts)

    settings = {"negatives": 3, "bm25_share": 1.0, "seed": 2}
    filtered = sample_pairs(COLLECTION, **settings, keep=MarginFilter(counted, **keep))
    negatives = [(qid, did) for qid, (_, *dids) in groups(filtered) for did in dids]
    assert teacher(negatives).max() <= 0.475
    assert sum(asked) < 24 * 20  # of 60 documents each
    plain = sample_pairs(COLLECTION, **settings)
    assert filtered.key() != plain.key()
    harmless = MarginFilter(lambda texts: np.zeros(len(texts)), margin=0.0)
    assert sample_pairs(COLLECTION, **settings, keep=harmless).key() == plain.key()


def test_filters_that_make_no_sense_are_named():
    for wrong in ({}, {"share": 0.9, "margin": 1.0}, {"share": 1.5}, {"margin": -1.0}):
        with pytest.raises(CslabError, match="pairs: "):
            MarginFilter(teacher, **wrong)
    with pytest.raises(CslabError, match="scores are negative, so a share means nothing; give a margin"):
        sample_pairs(COLLECTION, keep=MarginFilter(lambda texts: -teacher(texts), share=0.9))


def test_texts_of_positives_are_no_negatives():
    documents = {"a": "the fox", "b": "the fox", "c": "the hen", "d": "a barn"}
    twins = Collection("twins", {"en": {"q": "fox"}}, {"en": documents}, {"en": {"q": {"a": 1}}})
    pairs = sample_pairs(twins, negatives=2)
    assert sorted(pairs.dids[1:]) == ["c", "d"]
    with pytest.raises(CslabError, match="fewer than 3 negatives for query 'q'"):
        sample_pairs(twins, negatives=3)


def test_pairs_survive_the_disk(tmp_path):
    pairs = sample_pairs(COLLECTION, negatives=3, seed=2)
    save_pairs(pairs, tmp_path / "pairs")
    again = load_pairs(tmp_path / "pairs")
    assert again.key() == pairs.key()
    assert (again.group, again.language) == (4, "en")
    save_pairs(pairs, tmp_path / "pairs")
    (tmp_path / "pairs" / "pairs.json").unlink()
    with pytest.raises(CslabError, match=r"no pairs\.json"):
        load_pairs(tmp_path / "pairs")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language": "de"}, "no queries in 'de'"),
        ({"negatives": 0}, "cannot be drawn"),
        ({"bm25_share": 1.5}, "cannot be drawn"),
        ({"window": (5, 2)}, "cannot be drawn"),
        ({"qids": ["nobody"]}, "nothing to train on"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(CslabError, match=message):
        sample_pairs(COLLECTION, **settings)


def test_broken_groups_are_refused():
    with pytest.raises(CslabError, match="do not make groups of 2"):
        Pairs(np.array(["q"]), np.array(["d"]), np.ones(1, np.float32), group=2)
