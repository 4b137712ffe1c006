"""Attacks and shift as stages of an experiment: a lab of tiny models."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from cslab import robustness
from cslab.collections.collection import Collection
from cslab.evaluation.attacks import Budget
from cslab.ranking.cross_encoder import save_encoder
from cslab.robustness import attacks, gains, shift_table
from cslab.store import CslabError
from tests.tiny import tiny_encoder
from tests.unit.test_attacks import DOCUMENTS, LEXICONS, QUERIES, TASK

COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": TASK.qrels})


@dataclass
class TinyLab:
    """What `attacks` asks of a lab."""

    folder: Path

    def __post_init__(self) -> None:
        evaluation = SimpleNamespace(protocol="own", max_length=32, measures=["MRR@10"], pairs=["en-en"])
        self.profile = SimpleNamespace(evaluation=evaluation, collection=SimpleNamespace(seed=0))
        for seed in (1, 2):
            save_encoder(tiny_encoder(self.folder / "tiny", seed), self.folder / f"m{seed}" / "model")

    def systems(self):
        return [SimpleNamespace(slug="one", pair=None), SimpleNamespace(slug="two", pair="en-en"),
                SimpleNamespace(slug="three", pair="en-de")]  # fmt: skip

    def train(self, system):
        number = {"one": 1, "two": 2}[system.slug]
        return SimpleNamespace(path=self.folder / f"m{number}", key=f"key{number}")

    def task(self, pair):
        return TASK

    def lexicons(self):
        return LEXICONS

    def collection(self):
        return COLLECTION

    training_collection = collection


def test_every_ranker_is_attacked_and_reads_the_others_texts(tmp_path, capsys, monkeypatch):
    lab = TinyLab(tmp_path)
    made = attacks(lab, "en-en", budget=Budget(2), queries=10)
    assert list(made.found) == ["one", "two"]
    assert set(zip(made.scores["system"], made.scores["attacked"], strict=True)) == {
        (a, b) for a in ("one", "two") for b in ("one", "two")
    }
    assert "made attacks/en-en-words" in capsys.readouterr().out
    monkeypatch.setattr(robustness, "_attacked", None)
    again = attacks(lab, "en-en", budget=Budget(2), queries=10)
    pd.testing.assert_frame_equal(again.scores, made.scores)
    assert again.found["one"].steps == made.found["one"].steps


@pytest.mark.parametrize(
    ("pair", "method", "message"),
    [
        ("en-en", "word", "did you mean 'words'"),
        ("de-en", "words", "the lexicons translate from English"),
        ("xx-en", "typos", "language 'xx' is not known"),
        ("de-en", "transliteration", "written in Latn"),
    ],
)
def test_mistakes_are_named(tmp_path, pair, method, message):
    with pytest.raises(CslabError, match=message):
        attacks(TinyLab(tmp_path), pair, method)


def test_shift_and_gains(tmp_path):
    lab = TinyLab(tmp_path)
    table = shift_table({"toy": lab, "again": lab})
    assert table["set"].tolist() == ["toy", "again"]
    assert table["document unseen words"].tolist() == [0, 0]
    assert table["language distance"].tolist() == [0, 0]
    rows = [
        (system, 1, "MoIR", "en", "en", q, "MRR@10", value)
        for system, values in (("a", (0.0, 0.5)), ("b", (1.0, 0.5)))
        for q, value in zip(("q1", "q2"), values, strict=True)
    ]
    scores = pd.DataFrame(
        rows, columns=["system", "seed", "setting", "query_lang", "doc_lang", "qid", "measure", "value"]
    )
    found = gains({"toy": scores}, "b", "a")
    assert found["gain"].tolist() == [100, 0]
    assert found["pair"].tolist() == ["en-en", "en-en"]
    with pytest.raises(CslabError, match="no system 'c' on toy"):
        gains({"toy": scores}, "c", "a")
