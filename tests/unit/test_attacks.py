"""Attacks: an unlimited search is brute force, budgets hold, spans undo, and what comes of it is one tidy table."""

from itertools import combinations, pairwise
from zlib import crc32

import numpy as np
import pytest
import torch

from cslab.collections.trec import Run
from cslab.evaluation.attacks import (
    Budget,
    attack,
    attack_scores,
    curve,
    judged,
    ranking_by,
    read_attack,
    replay,
    success,
    write_attack,
)
from cslab.evaluation.edits import (
    applied,
    phrase_edits,
    synonym_edits,
    transliteration_edits,
    typo_edits,
    word_edits,
)
from cslab.evaluation.measures import COLUMNS
from cslab.evaluation.noise import noise_scores
from cslab.evaluation.settings import Task
from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import score_pairs
from cslab.store import CslabError
from tests.tiny import tiny_encoder

pytestmark = pytest.mark.numbers

GERMAN = Lexicon.from_pairs("en", "de", [("red", "rot"), ("fox", "Fuchs"), ("ate", "aß"), ("hen", "Henne")])
RUSSIAN = Lexicon.from_pairs("en", "ru", [("red", "красная"), ("fox", "лиса"), ("red fox", "лисица")])
LEXICONS = {"de": GERMAN, "ru": RUSSIAN}
QUERIES = {"q1": "the red fox ate the hen", "q2": "who is it?", "q3": "a red hen", "q4": "fox"}
DOCUMENTS = {f"d{n}": f"the {word} lives in a barn" for n, word in enumerate(["fox", "hen", "wolf", "cat", "moon"])}
CANDIDATES = {q: {did: 5.0 - n for n, did in enumerate(DOCUMENTS)} for q in ("q1", "q2", "q3")}
TASK = Task(
    "en", "en", QUERIES, DOCUMENTS, {"q1": {"d0": 1, "d2": 2}, "q2": {"d1": 1}, "q3": {"d9": 1}},
    Run("bm25", "en", "en", "bm25(own)@5", CANDIDATES),
)  # fmt: skip


def hashed(pairs):
    """A ranker without any sense: each word of the query is for or against each document."""
    value = [sum(crc32(f"{word}|{text}".encode()) % 1000 for word in query.split()) for query, text in pairs]
    return np.array(value, np.float32) / 300


def brute_force(text, edits, words, goal):
    """The worst badness over all sets of disjoint edits."""
    best = -np.inf
    for size in range(words + 1):
        for chosen in combinations(edits, size):
            spans = sorted((e.start, e.end) for e in chosen)
            if sum(e.words for e in chosen) > words or any(a[1] > b[0] for a, b in pairwise(spans)):
                continue
            query = applied(text, chosen).text
            scores = hashed([(query, document) for document in DOCUMENTS.values()])
            rank, loss = judged(scores, list(DOCUMENTS), np.array([True, False, True, False, False]))
            best = max(best, rank + loss / 1e6 if goal == "rank" else loss)
    return best


@pytest.mark.parametrize("goal", ["rank", "loss"])
@pytest.mark.parametrize("longest", [1, 2])
def test_an_unlimited_search_is_brute_force(goal, longest):
    edits = phrase_edits(LEXICONS, longest=longest)
    found = attack(hashed, TASK, edits, Budget(words=4, beam=None, places=None, goal=goal), depth=5)
    for words in range(5):
        step = found.steps["q1"][words]
        reached = step.rank + step.loss / 1e6 if goal == "rank" else step.loss
        assert reached == pytest.approx(brute_force(QUERIES["q1"], edits(QUERIES["q1"]), words, goal), abs=1e-9)


@pytest.mark.parametrize("budget", [Budget(3), Budget(3, beam=2, places=None), Budget(2, rankings=7), Budget(1, 1)])
def test_budgets_hold(budget):
    found = attack(hashed, TASK, word_edits(LEXICONS), budget)
    assert list(found.steps) == ["q1", "q2", "q3"]
    for q, steps in found.steps.items():
        assert len(steps) == budget.words + 1
        assert steps[0].text.text == QUERIES[q]
        for words, step in enumerate(steps):
            assert step.words == step.text.switched <= words
            assert step.rankings <= (budget.rankings or 100)
            assert step.text.undo() == QUERIES[q]
            assert all(step.text.text[s.start : s.end] == s.target for s in step.text.spans)
            scores = hashed([(step.text.text, DOCUMENTS[did]) for did in found.candidates[q]])
            assert step.scores == tuple(scores.tolist())
        assert all(one.rank <= other.rank for one, other in pairwise(steps))
    assert [step.rank for step in found.steps["q3"]] == [0] * (budget.words + 1)  # nothing relevant, nothing to lose


def test_searching_more_finds_no_less():
    ranks = []
    for budget in (
        Budget(3, places=1),
        Budget(3, places=2),
        Budget(3, places=None, beam=3),
        Budget(3, None, None, None),
    ):
        found = attack(hashed, TASK, word_edits(LEXICONS), budget)
        ranks.append(found.steps["q1"][3].rank)
    assert ranks[0] <= ranks[-1]
    assert max(ranks) == ranks[-1]


def test_what_comes_of_it(tmp_path):
    lines: list[str] = []
    found = attack(hashed, TASK, word_edits(LEXICONS), Budget(2), "mine", progress=lines.append)
    assert len(lines) == 2
    assert "attack on mine: round 1 of 2" in lines[0]
    scores = attack_scores(found, TASK.qrels)
    assert list(scores)[: len(COLUMNS)] == COLUMNS
    assert len(scores) == 3 * 3 * 2
    for b in range(3):
        rows = scores[(scores["budget"] == b) & (scores["measure"] == "MRR@10")].set_index("qid")["value"]
        for q, steps in found.steps.items():
            assert rows[q] == pytest.approx(1 / steps[b].rank if steps[b].rank else 0.0)
    table = curve(scores)
    assert table["value"].is_monotonic_decreasing
    assert table["words"].tolist()[0] == 0
    assert success(found)[0] == 0 or np.isnan(success(found)[0])
    write_attack(found, tmp_path / "attack.jsonl")
    again = read_attack(tmp_path / "attack.jsonl")
    assert (again.steps, again.candidates, again.system) == (found.steps, found.candidates, "mine")
    assert attack_scores(again, TASK.qrels).equals(scores)
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(CslabError, match="not the record of an attack"):
        read_attack(tmp_path / "other.jsonl")


def test_transfer():
    found = attack(hashed, TASK, word_edits(LEXICONS), Budget(2), "mine")
    again = replay(found, hashed, TASK, "the same")
    assert (again.system, again.attacked) == ("the same", "mine")
    assert again.steps == found.steps
    other = replay(found, lambda pairs: -hashed(pairs), TASK, "other")
    assert [step.text for step in other.steps["q1"]] == [step.text for step in found.steps["q1"]]
    assert other.steps["q1"][0].scores != found.steps["q1"][0].scores


def test_edits_of_each_kind():
    text = "The Red fox, ate"
    assert {(e.new, e.language, e.words) for e in phrase_edits(LEXICONS, longest=2)(text)} == {
        *{("Rot", "de", 1), ("Красная", "ru", 1), ("Лисица", "ru", 2)},
        *{("Fuchs", "de", 1), ("лиса", "ru", 1), ("aß", "de", 1)},
    }
    synonyms = Lexicon.from_pairs("en", "en", [("red", "scarlet"), ("red", "ruby")])
    assert [e.new for e in synonym_edits(synonyms)(text)] == ["Scarlet", "Ruby"]
    for edit in typo_edits(per_word=8)("a typewriter"):
        assert edit.new != "typewriter"
        assert edit.new[0] == "t"
        assert abs(len(edit.new) - 10) <= 1
    assert not typo_edits()("a fox")
    changed = applied("Где лиса?", transliteration_edits("ru")("Где лиса?"))
    assert changed.text == "Gde lisa?"
    assert changed.undo() == "Где лиса?"
    with pytest.raises(CslabError, match="written in Latn"):
        transliteration_edits("de")


def test_on_a_cross_encoder_and_its_embeddings(tmp_path):
    encoder = tiny_encoder(tmp_path)
    found = attack(ranking_by(encoder), TASK, word_edits(LEXICONS), Budget(1))
    pairs = [(found.steps["q1"][1].text.text, DOCUMENTS[did]) for did in found.candidates["q1"]]
    np.testing.assert_allclose(found.steps["q1"][1].scores, score_pairs(encoder, pairs), atol=1e-5)
    weights = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    for kind in ("random", "gradient"):
        scores = noise_scores(encoder, TASK, (0.0, 0.5), kind, "tiny")
        plain = attack_scores(found, TASK.qrels).query("budget == 0")["value"].tolist()
        assert scores.query("budget == 0")["value"].tolist() == plain
        if kind == "gradient":
            values = scores.groupby("budget")["value"].mean()
            assert values[0.5] <= values[0.0]
        assert scores.equals(noise_scores(encoder, TASK, (0.0, 0.5), kind, "tiny"))
    assert all(torch.equal(weights[name], tensor) for name, tensor in encoder.model.state_dict().items())
    assert all(p.grad is None for p in encoder.model.parameters())


def test_mistakes_are_named(tmp_path):
    with pytest.raises(CslabError, match="goal 'ranks' is not known; did you mean 'rank'"):
        Budget(goal="ranks")
    with pytest.raises(CslabError, match="words is 0; expected a whole number from 1"):
        Budget(words=0)
    with pytest.raises(CslabError, match="kind 'noise' is not known"):
        noise_scores(tiny_encoder(tmp_path), TASK, kind="noise")


def test_texts_that_read_alike_are_ranked_once():
    same = {"de": GERMAN, "nl": Lexicon.from_pairs("en", "nl", [("red", "rot"), ("fox", "vos")])}
    asked = []

    def counting(pairs):
        asked.extend(pairs)
        return hashed(pairs)

    one_round = Budget(words=1, places=None)
    found = attack(counting, TASK, word_edits(same), one_round, depth=5)
    assert len(asked) == len(set(asked))
    del asked[:]
    other = attack(lambda pairs: -hashed(pairs), TASK, word_edits(same), one_round, "other", depth=5)
    again = replay(other, counting, TASK, "mine", found)
    known = {step.text.text for steps in found.steps.values() for step in steps}
    assert not known & {text for text, _ in asked}
    assert again.steps == replay(other, hashed, TASK, "mine").steps
