"""Domain shift: distances on texts whose distance is known, and a regression that says when it cannot tell."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import linregress

from cslab.collections.trec import Run
from cslab.evaluation.settings import Task
from cslab.evaluation.shift import first_stage, jensen_shannon, language_distance, regress, text_shift
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError


def test_words_and_lengths():
    found = text_shift(["a b", "a b c d"], ["a x", "y a"], "en")
    assert found["unseen words"] == 0.5
    assert (found["length"], found["training length"]) == (2.0, 3.0)
    assert found["length ratio"] == pytest.approx(np.log(1.5))
    same = text_shift(["a b"], ["b a"], "en")
    assert (same["unseen words"], same["divergence"], same["length ratio"]) == (0, 0, 0)
    with pytest.raises(CslabError, match="the test texts hold no words"):
        text_shift(["a"], ["..."], "en")


def test_divergence_is_scipys():
    generator = np.random.default_rng(0)
    p, q = generator.integers(0, 9, (2, 40))
    mine = jensen_shannon({str(n): int(v) for n, v in enumerate(p)}, {str(n): int(v) for n, v in enumerate(q)})
    assert mine == pytest.approx(jensenshannon(p, q, 2) ** 2)


def test_first_stage_difficulty():
    run = Run("bm25", "en", "en", "bm25(own)@2", {"q1": {"d1": 2.0, "d2": 1.0}, "q2": {"d1": 1.0, "d3": 0.5}})
    qrels = {"q1": {"d2": 1}, "q2": {"d9": 1}}
    task = Task("en", "en", {"q1": "x", "q2": "y"}, {"d1": "", "d2": "", "d3": ""}, qrels, run)
    assert first_stage(task) == {"first stage": 0.25, "reachable": 0.5, "candidates": 2.0}


def test_language_distance():
    same = Lexicon.from_pairs("en", "de", [("hand", "Hand"), ("oktober", "октобер")])
    far = Lexicon.from_pairs("en", "de", [("hand", "мост")])
    near = Lexicon.from_pairs("en", "de", [("water", "Wasser"), ("it", "qqq")])
    assert language_distance(same) == 0
    assert language_distance(far) == 1
    assert 0 < language_distance(near) < 0.7
    with pytest.raises(CslabError, match="no single word"):
        language_distance(Lexicon.from_pairs("en", "de", [("it", "es")]))


def sets(count: int, slope: float, noise: float, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    far, other = generator.normal(size=(2, count))
    rows = [
        {"set": f"s{n}", "gain": slope * far[n] + noise * generator.normal(), "far": far[n], "other": other[n]}
        for n in range(count)
        for _ in range(30)
    ]
    return pd.DataFrame(rows)


def test_a_dependence_is_found_and_held_apart():
    table = regress(sets(12, 2.0, 0.5), "gain", ["far", "other"], "set", rounds=400).set_index("distance")
    assert table.attrs["clusters"] == 12
    assert table.attrs["rows"] == 360
    assert table.attrs["r2"] > 0.9
    far, other = table.loc["far"], table.loc["other"]
    assert far["low"] > 0 and far["p"] < 0.01 and far["alone"] > 0.9  # noqa: PT018
    assert other["low"] < 0 < other["high"] and other["p"] > 0.05  # noqa: PT018
    assert other["coefficient"] == pytest.approx(0, abs=0.2)


def test_queries_of_one_set_are_no_witnesses():
    # Gains differ between sets by chance alone; thousands of queries must not make that a finding.
    found = 0
    for seed in range(20):
        generator = np.random.default_rng(1000 + seed)
        rows = sets(8, 0.0, 0.1, seed)
        by_set = dict(zip(dict.fromkeys(rows["set"]), generator.normal(size=8), strict=True))
        rows["gain"] += rows["set"].map(by_set)
        found += regress(rows, "gain", ["far"], "set", rounds=100)["p"].iloc[1] < 0.05
    assert found <= 4


def test_too_little_is_said():
    with pytest.raises(CslabError, match="4 test sets cannot tell 2 distances apart; use 5 or more"):
        regress(sets(4, 1, 0), "gain", ["far", "other"], "set")
    with pytest.raises(CslabError, match="'flat' is the same for all"):
        regress(sets(6, 1, 0).assign(flat=1.0), "gain", ["flat"], "set")
    with pytest.raises(CslabError, match="no column 'fat'; did you mean 'far'"):
        regress(sets(6, 1, 0), "gain", ["fat"], "set")
    rows = sets(6, 1, 0)
    with pytest.raises(CslabError, match="cannot be told apart"):
        regress(rows.assign(twice=2 * rows["far"]), "gain", ["far", "twice"], "set", rounds=20)


def test_intervals_hold_their_coefficient_or_say_nothing():
    # Few sets, one of them far from the others: drawn again, those without it would tell another story.
    rows = sets(6, 0.0, 1.0, seed=3)
    rows["far"] += 8.0 * (rows["set"] == "s0")
    found = regress(rows, "gain", ["far", "other"], "set", rounds=20)
    assert ((found["low"] < found["coefficient"]) & (found["coefficient"] < found["high"])).all()
    alone = regress(rows.assign(far=1.0 * (rows["set"] == "s0")), "gain", ["far"], "set", rounds=20)
    assert alone[["low", "high"]].isna().all(axis=None)
    assert alone["coefficient"].notna().all()


def test_intervals_of_equal_sets_are_those_of_least_squares():
    # With as many queries everywhere and noise alike, the jackknife comes near the textbook's interval.
    rows = sets(60, 1.0, 0.5)
    means = rows.groupby("set", sort=False)[["gain", "far"]].mean()
    textbook = linregress((means["far"] - means["far"].mean()) / means["far"].std(ddof=0), means["gain"])
    found = regress(rows, "gain", ["far"], "set", rounds=20).set_index("distance").loc["far"]
    assert found["coefficient"] == pytest.approx(textbook.slope)
    assert found["high"] - found["low"] == pytest.approx(2 * 2.0 * textbook.stderr, rel=0.15)
