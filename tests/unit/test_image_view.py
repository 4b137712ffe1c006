"""Grids, search, bars and failures of drawn scenes; the static twin needs no kernel."""

import numpy as np
import pandas as pd
import pytest

from cslab.collections.captions import Captions
from cslab.collections.scenes import Group, Scene, scene_captions
from cslab.config import make_profile
from cslab.evaluation.recall import rank_scores, recall_table
from cslab.image_data import Task
from cslab.image_text import open_image_lab
from cslab.store import CslabError
from cslab.workbench.image_view import (
    CaptionSearch,
    failures,
    found_html,
    grid_html,
    image_html,
    item_html,
    misses_html,
    recall_bars,
    telling_examples,
)

SCENES = {
    "a": Scene("a", (Group("ball", "red", 2, "left"),)),
    "b": Scene("b", (Group("key", "blue", 1, "top"), Group("hat", "white", 3, "middle"))),
}


def test_a_picture_is_part_of_the_page_and_says_what_it_shows():
    view = image_html(np.zeros((4, 6, 3), np.uint8), 'a "b"', zoom=2)
    assert view.startswith('<img src="data:image/png;base64,')
    assert 'width="12" height="8" alt="a &quot;b&quot;"' in view


def test_a_grid_marks_the_right_image_in_words_too():
    view = grid_html([("a", 0.5), ("b", 0.25)], SCENES, right="b")
    assert view.count("<img ") == 2
    assert view.index("1. 0.50") < view.index("2. 0.25") < view.index(">right<")
    assert 'alt="Two red balls on the left."' in view


def test_captions_know_their_direction():
    task = Task("scenes", scene_captions(list(SCENES.values()), ["en", "ar"]), SCENES)
    view = item_html(task, "a", ["en", "ar", "de"])
    assert '<bdi lang="ar" dir="rtl">' in view
    assert view.count("<img ") == 1
    assert "German" not in view


def test_captions_without_images_are_listed():
    texts = {"en": {"a": ("a <red> fox",), "b": ("a hen",)}, "de": {"a": ("ein Fuchs",), "b": ("eine Henne",)}}
    task = Task("real", Captions("real", texts))
    assert "<img" not in item_html(task, "a", ["de"])
    view = found_html(task, [("b", 0.9), ("a", 0.5)], right="a")
    assert view.index("a hen") < view.index("1. 0.90") < view.index("a &lt;red&gt; fox") < view.index(">right<")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    section = {"train": 24, "test": 6, "steps": 1, "base_steps": 1, "batch": 8, "max_length": 16}
    section |= {"languages": ["en", "de"], "switched": ["de"], "conditions": ["As it is"], "corrected": []}
    return open_image_lab(make_profile({"name": "tiny", "image_text": section}), outputs=tmp_path_factory.mktemp("o"))


def test_search_and_failures(lab):
    (task,), systems = lab.tasks, list(lab.systems())
    image = next(iter(task.pictures))
    examples = [(code, task.captions.texts[code][image][0], image) for code in ("en", "de")]
    widget = CaptionSearch(lab, task, systems, examples, k=6)
    assert ">right<" in widget.view.value
    widget.example.value = 1
    assert widget.text.value == examples[1][1]
    widget.text.value = "ein eigener Satz"
    assert ">right<" not in widget.view.value
    assert "<script" not in widget.static()
    assert "ein eigener Satz" in widget.static()
    widget.text.value = " "
    assert "write a query" in widget.view.value
    table = failures(lab, systems[0], task, ["en", "de"])
    assert list(table.index) == ["en", "de"]
    told = telling_examples(lab, systems, task, ["en", "de"], count=3)
    assert sorted(told) == sorted(
        (code, task.captions.texts[code][i][0], i) for i in list(task.pictures)[:3] for code in ("en", "de")
    )
    view = misses_html(lab, systems[0], task, ["en", "de"])
    assert "6</td>" in view
    assert view.count("<th>") == 7  # five heads, two languages
    assert ((table >= 0) & (table <= 100)).all().all()


def test_bars(lab):
    scores = pd.concat(
        [rank_scores(np.array([1, 2]), ["x", "y"], "M", code, "image", kind="scenes") for code in ("en", "de")]
    )
    chart = recall_bars(recall_table(scores, rounds=10), ["en", "de"]).to_dict()
    assert len(next(iter(chart["datasets"].values()))) == 2
    with pytest.raises(CslabError, match="no rows of 'scenes' in fr"):
        recall_bars(recall_table(scores, rounds=10), ["fr"])
