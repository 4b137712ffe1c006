"""Shift between the collections of an experiment, and gains on them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cslab.domain_shift import gain_effects, gain_table, gains, labs_of, shift_table
from cslab.evaluation.measures import COLUMNS
from cslab.evaluation.shift import distance_between
from cslab.store import CslabError
from cslab.workbench.charts import figure
from cslab.workbench.shift_charts import gain_by_distance, gain_intervals
from tests.unit.test_attacks import GERMAN, LEXICONS, RUSSIAN, TASK
from tests.unit.test_robustness import COLLECTION


def tiny_lab(pairs=("en-en",), collection=COLLECTION):
    """What shift is measured on."""
    return SimpleNamespace(
        profile=SimpleNamespace(evaluation=SimpleNamespace(pairs=list(pairs)), tests={"other": None}),
        collection=lambda: collection, training_collection=lambda: COLLECTION, lexicons=lambda: LEXICONS,
        task=lambda pair: TASK, on=lambda name: name,
    )  # fmt: skip


def score_table(values, system_names=("a", "b"), pair=("MoIR", "en", "en")):
    rows = [
        (name, 1, *pair, f"q{n}", "MRR@10", value)
        for name, column in zip(system_names, values, strict=True)
        for n, value in enumerate(column)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_labs_are_the_own_and_the_further_ones():
    lab = tiny_lab()
    assert labs_of(lab) == {"toy": lab, "other": "other"}


def test_shift():
    lab = tiny_lab(["en-en", "de-ru", "de-de", "en-xx"])
    table = shift_table({"toy": lab, "again": lab})
    assert table["set"].tolist() == ["toy"] * 4 + ["again"] * 4
    assert set(table["document unseen words"]) == {0}
    distances = table["language distance"].tolist()[:4]
    assert distances[0] == distances[2] == 0
    assert distances[1] == distance_between(GERMAN, RUSSIAN) == distance_between(RUSSIAN, GERMAN) > 0
    assert np.isnan(distances[3])


def test_a_collection_without_english_has_no_distance_of_words():
    foreign = SimpleNamespace(queries={"de": {}}, documents={"de": {}})
    table = shift_table({"toy": tiny_lab(), "foreign": tiny_lab(collection=foreign)})
    assert table["document divergence"].isna().tolist() == [False, True]


def test_lexicons_without_a_word_in_common_have_no_distance():
    assert distance_between(GERMAN, RUSSIAN.restrict(["red fox"])) is None


def test_gains():
    scores = score_table([(0.0, 0.5), (1.0, 0.5)])
    found = gains({"toy": scores}, "b", "a")
    assert found["gain"].tolist() == [100, 0]
    assert found["pair"].tolist() == ["en-en", "en-en"]
    assert gains({"toy": scores}, "a", "a")["gain"].tolist() == [0, 0]
    with pytest.raises(CslabError, match="no system 'c' on toy"):
        gains({"toy": scores}, "c", "a")


def test_gains_by_collection_and_setting():
    first, second = score_table([(0.0, 0.5), (1.0, 0.5), (0.5, 0.5)], "abc"), score_table([(0.0, 0.0), (0.5, 0.5)])
    across = score_table([(0.0, 0.0), (0.0, 0.0)], pair=("CLIR", "en", "de"))
    table = gain_table({"one": first, "two": pd.concat([second, across])}, ["b", "c"], "a")
    rows = list(zip(table["system"], table["set"], table["setting"], table["gain"], strict=True))
    wanted = [("b", "one", "MoIR", 50), ("b", "two", "MoIR", 50), ("b", "two", "CLIR", 0), ("c", "one", "MoIR", 25)]
    assert rows == wanted
    assert (table["low"] <= table["gain"]).all()
    assert (table["gain"] <= table["high"]).all()
    assert figure(gain_intervals(table), "caption").png().startswith(b"\x89PNG")
    with pytest.raises(CslabError, match="no gains"):
        gain_intervals(table.iloc[:0])


def test_effects_leave_out_what_others_tell():
    pairs = [(name, f"en-{code}", n, far) for name, far in (("one", 0), ("two", 1)) for n, code in enumerate("abcd")]
    shift = pd.DataFrame(pairs, columns=["set", "pair", "distance", "far"]).assign(also=lambda t: 1 - t["far"], flat=1)
    found = shift[["set", "pair"]].assign(gain=2.0 * shift["distance"] - shift["far"])
    table = gain_effects(found, shift, ["flat", "distance", "far", "also"])
    assert table["distance"].tolist() == ["intercept", "distance", "far"]
    assert table["coefficient"].tolist()[1:] == pytest.approx([2 * np.std(range(4)), -0.5])
    assert len(gain_effects(found.iloc[:3], shift, ["distance", "far"])) == 0
    drawn = figure(gain_by_distance(found.merge(shift), "distance"), "caption").png()
    assert drawn.startswith(b"\x89PNG")
