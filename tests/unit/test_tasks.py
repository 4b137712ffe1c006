"""python -m pytest tests/unit/test_tasks.py"""

import pytest

from cslab.collections.atlas import atlas
from cslab.collections.collection import Collection
from cslab.evaluation.breakdown import candidate_table
from cslab.evaluation.settings import draw, make_task, sample_queries
from cslab.store import CslabError

LANGUAGES = ("en", "de", "ru")


@pytest.fixture(scope="module")
def toy() -> Collection:
    return atlas("test", passages=120, queries=30, languages=LANGUAGES)


def test_english_candidates_are_carried_to_every_language(toy):
    english, russian = make_task(toy, "en", "en", depth=5), make_task(toy, "de", "ru", depth=5)
    assert english.candidates.first_stage == russian.candidates.first_stage == "bm25(en)@5"
    assert {q: set(d) for q, d in english.candidates.scores.items()} == {
        q: set(d) for q, d in russian.candidates.scores.items()
    }
    assert (english.setting, russian.setting) == ("MoIR", "CLIR")


def test_own_candidates_say_so(toy):
    task = make_task(toy, "en", "de", protocol="own", depth=5)
    assert task.candidates.first_stage == "bm25(own)@5"
    assert task.reachable() > 0.5


@pytest.mark.parametrize("protocol", ["english", "own"])
def test_a_pool_holds_each_document_in_one_drawn_language(toy, protocol):
    task = make_task(toy, "en", "xx", protocol=protocol, depth=5)
    ids = [did.split(":", 1) for did in task.documents]
    assert len(ids) == len(toy.documents["en"]) == len({did for _, did in ids})
    assert {code for code, _ in ids} == set(LANGUAGES)
    assert all(task.documents[f"{code}:{did}"] == toy.documents[code][did] for code, did in ids)
    assert all(did in task.documents for found in task.candidates.scores.values() for did in found)
    assert all(did in task.documents for found in task.qrels.values() for did in found)
    assert task.setting == "MLIR"


def test_pools_are_drawn_by_seed_and_the_same_on_both_sides(toy):
    first, again, other = (make_task(toy, "xx", "xx", depth=5, seed=s) for s in (0, 0, 1))
    assert first.queries == again.queries
    assert first.documents.keys() == again.documents.keys() != other.documents.keys()
    assert draw(0, "query", "q1", LANGUAGES) == draw(0, "query", "q1", LANGUAGES)


def test_a_pool_follows_the_alignment_of_units():
    aligned = Collection(
        "toy",
        {"en": {"q": "fox?"}, "de": {"q": "Fuchs?"}},
        {"en": {"e1": "A fox. It runs."}, "de": {"d1": "Ein Fuchs.", "d2": "Er läuft."}},
        {"en": {"q": {"e1": 1}}, "de": {"q": {"d1": 1}}},
        {"de": {"e1": ("d1", "d2")}},
    )
    task = make_task(aligned, "en", "xx", pool=["de"], depth=3)
    assert set(task.documents) == {"de:d1", "de:d2"}
    assert task.qrels == {"q": {"de:d1": 1}}
    assert set(task.candidates.scores["q"]) == {"de:d1", "de:d2"}


def test_a_missing_language_is_named(toy):
    with pytest.raises(CslabError, match="has no 'fr'; it has en, de, ru"):
        make_task(toy, "en", "fr")


def test_samples_are_seeded_and_keep_the_order(toy):
    everything = list(toy.queries["en"])
    some = sample_queries(toy, 10, seed=3)
    assert some == sample_queries(toy, 10, seed=3) != sample_queries(toy, 10, seed=4)
    assert some == [q for q in everything if q in set(some)]
    assert sample_queries(toy, 99) == everything


def test_the_candidate_table_tells_settings_apart(toy):
    table = candidate_table(make_task(toy, q, d, depth=5) for q, d in (("en", "en"), ("en", "ru")))
    assert table["setting"].tolist() == ["MoIR", "CLIR"]
    assert table.loc["en-en", "overlap"] > 0.3 > table.loc["en-ru", "overlap"]
    assert table["reachable"].between(0, 1).all()
