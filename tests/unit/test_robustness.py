"""Attacks as stages of an experiment: a lab of tiny models."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from cslab import attack_stages
from cslab.attack_stages import attack_recipes, settings_for
from cslab.collections.collection import Collection
from cslab.config import AttackSettings, make_profile
from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import save_encoder
from cslab.robustness import attacks, by_model_queries, robust_table
from cslab.store import CslabError
from cslab.systems import TITLES, WORDS, System
from cslab.training.conditions import CONDITIONS
from tests.tiny import tiny_encoder
from tests.unit.test_attacks import DOCUMENTS, LEXICONS, QUERIES, TASK

COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": TASK.qrels})
NAMES = {code: Lexicon.from_pairs("en", code, [("red fox", f"{code} vulpes")]) for code in LEXICONS}
PROFILE = {"name": "tiny", "collection": {"languages": ["en"]}, "attack": {"words": 2, "queries": 10}}
EVALUATION = {"pairs": ["en-en"], "max_length": 32, "measures": ["MRR@10"], "protocol": "own"}


def system(name, pair=None, seed=1, robust="none"):
    return System(CONDITIONS[name], False, pair, seed, robust)


@dataclass
class TinyLab:
    """What `attacks` asks of a lab."""

    folder: Path
    told: tuple[System, ...] = (
        system("Zero-shot"), system("Zero-shot Translate-Test"), system("BL-CS", "en-de"), system("ML-CS", seed=1),
        system("ML-CS", seed=1, robust="fgm"), system("ML-CS", seed=2, robust="fgm"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.profile = make_profile(PROFILE | {"evaluation": EVALUATION})
        self._test = self._recipe("test")
        for number, one in enumerate(self.told):
            save_encoder(tiny_encoder(self.folder / "tiny", number), self._model(one).path / "model")

    def _recipe(self, name):
        return SimpleNamespace(path=self.folder / "made" / name, key=name, make=lambda: None)

    def _model(self, one):
        return self._recipe(one.slug)

    train = _model

    def train_all(self, systems):
        """They are."""

    def _lexicons(self, kind=WORDS):
        return [self._recipe(f"{kind} {code}") for code in LEXICONS]

    def lexicons(self, kind=WORDS):
        return {WORDS: LEXICONS, TITLES: NAMES}[kind]

    def systems(self):
        return iter(self.told)

    def task(self, pair):
        return TASK

    def collection(self):
        return COLLECTION


def test_every_ranker_is_attacked_and_reads_the_texts_of_its_seed(tmp_path, capsys, monkeypatch):
    lab = TinyLab(tmp_path)
    made = attacks(lab)
    assert list(made.found) == ["zero-shot-s1", "ml-cs-s1", "ml-cs+fgm-s1", "ml-cs+fgm-s2"]
    names = {"Zero-shot", "ML-CS", "ML-CS+fgm"}
    read = made.scores.groupby("seed")[["system", "attacked"]].apply(lambda rows: set(zip(*rows.T.values, strict=True)))
    assert read[1] == {(a, b) for a in names for b in names}
    assert read[2] == {("ML-CS+fgm", "ML-CS+fgm")}
    assert set(made.noise["system"]) == names
    assert made.plain == {"ML-CS+fgm": "ML-CS"}
    told = capsys.readouterr().out
    assert "made attacks/en-en-words-ml-cs-s1" in told
    assert "made transfers/en-en-words-ml-cs-s1" in told
    assert "made transfers/en-en-words-ml-cs+fgm-s2" not in told  # nobody else is of its seed
    assert [recipe.state() for recipe in attack_recipes(lab)] == ["done"] * 7
    monkeypatch.setattr(attack_stages, "attack", None)
    again = attacks(lab)
    pd.testing.assert_frame_equal(again.scores, made.scores)
    assert again.found["ml-cs-s1"].steps == made.found["ml-cs-s1"].steps

    table = robust_table(made, "MRR@10")
    assert list(table.index) == ["Zero-shot", "ML-CS", "ML-CS+fgm"]
    assert list(table)[:5] == ["0 words", "1 word", "2 words", "lost", "answers lost"]
    assert (table["model queries"] > 1).all()
    assert table["clean gain"].isna().tolist() == [True, True, False]
    both = table.loc["ML-CS+fgm", "lost"], table.loc["ML-CS", "lost"]
    assert both[0] == pytest.approx(table.loc["ML-CS+fgm", "0 words"] - table.loc["ML-CS+fgm", "2 words"])
    by_queries = by_model_queries(made, "MRR@10", (0, 10_000))
    assert list(by_queries.index) == list(table.index)
    assert by_queries[0].tolist() == pytest.approx(table["0 words"].tolist())
    assert by_queries[10_000].tolist() == pytest.approx(table["2 words"].tolist())
    if both[1]:
        assert table.loc["ML-CS+fgm", "loss ratio"] == pytest.approx(both[0] / both[1])


def test_an_interrupted_attack_keeps_what_it_found(tmp_path, monkeypatch):
    lab, asked = TinyLab(tmp_path), []
    real = attack_stages.attack

    def failing(*given):
        asked.append(given[4])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(attack_stages, "attack", failing)
    with pytest.raises(KeyboardInterrupt):
        attacks(lab)
    assert [recipe.state() for recipe in attack_recipes(lab)[:4]] == ["done", "partial", "to do", "to do"]
    assert len(attacks(lab).found) == 4
    assert asked == ["Zero-shot", "ML-CS", "ML-CS", "ML-CS+fgm", "ML-CS+fgm"]


def test_a_ranker_that_is_added_costs_its_own_attack(tmp_path, capsys):
    lab = TinyLab(tmp_path, (system("Zero-shot"),))
    assert set(attacks(lab).scores["attacked"]) == {"Zero-shot"}
    capsys.readouterr()
    more = attacks(TinyLab(tmp_path, (system("Zero-shot"), system("ML-CS"))))
    assert len(more.scores.groupby(["system", "attacked"])) == 4
    assert "attacks/en-en-words-zero-shot-s1" not in capsys.readouterr().out


def test_phrases_are_those_of_the_titles_that_a_profile_names(tmp_path, monkeypatch):
    lab, tried = TinyLab(tmp_path, (system("Zero-shot"),)), []
    real = attack_stages.attack

    def spying(rank, task, edits, *given):
        tried.append({edit.new for edit in edits(QUERIES["q1"]) if edit.words == 2})
        return real(rank, task, edits, *given)

    monkeypatch.setattr(attack_stages, "attack", spying)
    attacks(lab, AttackSettings(method="phrases"))
    lab.profile = make_profile(PROFILE | {"evaluation": EVALUATION, "lexicon": {"titles": {"source": "atlas-titles"}}})
    attacks(lab, AttackSettings(method="phrases"))
    assert tried == [{"лисица"}, {"лисица", "de vulpes"}]


def test_a_budget_of_model_queries_holds(tmp_path):
    lab = TinyLab(tmp_path, (system("Zero-shot"),))
    few = attacks(lab, AttackSettings(words=2, rankings=3, beam=2, goal="loss"))
    assert few.scores["rankings"].max() == 3
    many = attacks(lab, AttackSettings(words=2, beam=None, places=None, goal="loss"))
    assert many.scores["rankings"].max() > 3
    worst = [found.found["zero-shot-s1"].steps["q1"][2].loss for found in (few, many)]
    assert worst[0] <= worst[1]


def test_no_robust_methods_no_columns_for_them(tmp_path):
    made = attacks(TinyLab(tmp_path, (system("Zero-shot"), system("ML-CS"))))
    assert made.plain == {}
    assert "loss ratio" not in robust_table(made, "MRR@10")


@pytest.mark.parametrize(
    ("pairs", "given", "chosen"),
    [
        (["de-de", "en-de", "en-en"], {}, ("en-de", "words")),
        (["xx-xx", "de-en"], {}, ("de-en", "typos")),
        (["de-de", "en-de"], {"method": "typos"}, ("de-de", "typos")),
        (["xx-xx"], {}, ("en-en", "words")),
        (["en-en"], {"pair": "ru-en", "method": "transliteration"}, ("ru-en", "transliteration")),
    ],
)
def test_pair_and_method_follow_from_the_profile(pairs, given, chosen):
    profile = make_profile({"name": "some", "evaluation": {"pairs": pairs}})
    found = settings_for(profile, AttackSettings(**given))
    assert (found.pair, found.method) == chosen


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "word"}, "did you mean 'words'"),
        ({"pair": "de-en", "method": "words"}, "the lexicons translate from English"),
        ({"pair": "xx-en", "method": "typos"}, "queries in one language are wanted"),
        ({"pair": "de-en", "method": "transliteration"}, "written in Latn"),
    ],
)
def test_mistakes_are_named(tmp_path, settings, message):
    with pytest.raises(CslabError, match=message):
        attacks(TinyLab(tmp_path), AttackSettings(**settings))


def test_a_pair_that_no_ranker_serves(tmp_path):
    with pytest.raises(CslabError, match="no ranker serves this pair"):
        attacks(TinyLab(tmp_path, (system("BL-CS", "en-de"),)))
