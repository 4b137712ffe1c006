"""The image–text experiment end to end, tiny: drawn scenes, and captions without images."""

import gzip

import numpy as np
import pandas as pd
import pytest

from cslab.collections.captions import Captions
from cslab.config import make_profile
from cslab.evaluation.recall import mean_recall, rank_scores, recall_table
from cslab.image_data import Task
from cslab.image_tables import asked_table, gains_table
from cslab.image_text import ImageLab, open_image_lab
from cslab.store import CslabError
from cslab.training.caption_conditions import CAPTION_CONDITIONS
from cslab.workbench.image_view import CaptionSearch, misses_html, recall_bars
from tests.tiny_towers import sentence_folder

SMALL = {"train": 24, "test": 6, "steps": 2, "base_steps": 2, "batch": 8, "max_length": 16}
TABLE = [
    ("a.jpg", "a red fox", "a rot fuchs"),
    ("b.jpg", "the blue house", "the blau haus"),
    ("c.jpg", "a hen", "a henne"),
]


@pytest.fixture(scope="module")
def scene_lab(tmp_path_factory):
    conditions = ["As it is", "Zero-shot", "Translate-test", "ML-CS + FreeLB"]
    section = SMALL | {"languages": ["en", "de", "fr"], "switched": ["de", "ru"], "conditions": conditions}
    profile = make_profile({"name": "tiny", "image_text": section})
    return open_image_lab(profile, outputs=tmp_path_factory.mktemp("out"))


def test_scenes_end_to_end(scene_lab):
    scores = scene_lab.scores()
    table = recall_table(scores, rounds=10)
    names = [*scene_lab.settings.conditions]
    names.insert(2, "Zero-shot · CSLS")
    assert list(dict.fromkeys(table["system"])) == names
    assert set(zip(table["query_lang"], table["doc_lang"], strict=True)) == {
        pair for code in ("en", "de", "fr") for pair in ((code, "image"), ("image", code))
    }
    assert set(table["queries"]) == {6, 12}  # pictures; captions, two each
    assert (scores.loc[scores["measure"] == "Rank", "value"] >= 1).all()
    text = scene_lab.tables()
    assert text.startswith("## scenes: 12 captions of each language ask for images")
    assert [f"\n| {name} |" in text for name in names] == [True] * len(names)


def test_tables_by_hand():
    found = {"Zero-shot": {"de": [2, 2, 1, 9], "fr": [1, 2, 2, 9]}, "ML-CS": {"de": [1, 1, 1, 9], "fr": [1, 1, 1, 9]}}
    rows = [
        rank_scores(np.array(ranks), list("abcd"), system, code, "en", kind="real")
        for system, by_language in found.items() for code, ranks in by_language.items()
    ]  # fmt: skip
    task = Task("real", Captions("real", {code: dict.fromkeys("abcd", ("x",)) for code in ("en", "de", "fr")}))
    scores = pd.concat(rows)
    asked = asked_table(scores, task, rounds=20)
    assert list(asked) == ["de", "fr"]
    assert asked.loc["ML-CS", "de"].startswith("75.0 [")
    gains = gains_table(scores, task, rounds=50)
    assert list(gains) == ["mean of de, fr", "over Zero-shot", "over ML-CS"]
    twice = pd.concat([scores.assign(qid=scores["qid"] + f"#{n}") for n in (0, 1)])  # two captions of each item
    assert gains_table(twice, task, rounds=50).equals(gains)
    assert gains.loc["Zero-shot", "mean of de, fr"].startswith("25.0 [")
    assert gains.loc["ML-CS", "over Zero-shot"].startswith("+50.0 [")
    assert pd.isna(gains.loc["Zero-shot", "over Zero-shot"])


def test_scoring_goes_on_where_it_was_cut_off(scene_lab, monkeypatch):
    import shutil

    scene_lab.scores()
    lab = open_image_lab(scene_lab.lab.profile, outputs=scene_lab.lab.folder.parent)
    for path in (scene_lab.folder / "scores").glob("*"):
        if path.name in ("all", "ml-cs-freelb-s1"):
            shutil.rmtree(path)
    asked = []
    monkeypatch.setattr(ImageLab, "score", lambda self, system: asked.append(system.slug) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        lab.scores()
    assert asked == ["ml-cs-freelb-s1"]
    monkeypatch.undo()
    assert len(lab.scores()) == len(scene_lab.scores())


def test_what_is_asked_in_another_way_is_not_trained_twice(scene_lab):
    scene_lab.scores()
    trained = {path.name for path in (scene_lab.folder / "models").iterdir() if path.name[0] != "."}
    assert trained == {"zero-shot-s1", "ml-cs-freelb-s1"}
    assert all(recipe.state() == "done" for recipe in scene_lab.recipes())
    assert scene_lab._scores.make().reused


def test_training_leaves_the_image_tower_alone(scene_lab):
    import torch

    scene_lab.scores()
    systems = {system.name: system for system in scene_lab.systems()}
    before, after = scene_lab.start().model, scene_lab.model(systems["ML-CS + FreeLB"]).model
    assert all(map(torch.equal, before.image_parameters(), after.image_parameters()))
    assert not torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert len(list((scene_lab.folder / "images").glob("*.safetensors"))) == 2  # training and test, for all models


@pytest.fixture
def caption_lab(tmp_path, monkeypatch):
    data = tmp_path / "data"
    (data / "captions").mkdir(parents=True)
    (data / "dict").mkdir()
    for name in ("multi30k.train.tsv", "multi30k.test_2016_flickr.tsv", "xtd10.tsv"):
        lines = ["image\ten\tde", *("\t".join(row) for row in TABLE)]
        (data / "captions" / f"{name}.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (data / "dict" / "en-de.txt").write_text("red rot\nblue blau\nhouse haus\nfox fuchs\nhen henne\n")
    monkeypatch.setenv("CSLAB_DATA", str(data))
    conditions = ["As it is", "ML-CS", "ML-CS + align + FGM", "ML-CS, teacher", "Fine-tuning"]
    section = SMALL | {"source": "multi30k", "folder": "captions", "languages": ["en", "de"], "switched": ["de"]}
    section |= {"encoder": str(sentence_folder(tmp_path / "model")), "conditions": conditions, "extend": [True]}
    section |= {"corrected": ["ML-CS"], "corrections": ["csls", "softmax"], "batch": 3, "test": 3, "chunk": 2}
    lexicon = {"source": "muse", "folder": "dict", "languages": ["de"]}
    profile = make_profile({"name": "tiny", "image_text": section, "lexicon": lexicon})
    return open_image_lab(profile, outputs=tmp_path / "out")


def test_captions_end_to_end(caption_lab):
    table = recall_table(caption_lab.scores(), rounds=10)
    assert set(table["setting"]) == {"Multi30K", "XTD10"}
    assert set(zip(table["query_lang"], table["doc_lang"], strict=True)) == {("de", "en"), ("en", "de")}
    assert {"ML-CS+vocab · CSLS", "ML-CS+vocab · softmax"} <= set(table["system"])
    task, systems = caption_lab.tasks[0], list(caption_lab.systems())[:2]
    assert "## XTD10: 3 captions of each language ask for English captions" in caption_lab.tables()
    view = CaptionSearch(caption_lab, task, systems, [("de", "a rot fuchs", "a.jpg")], k=3).static()
    assert view.count(">right<") == 2
    assert "a red fox" in view
    assert "of 3</td>" in misses_html(caption_lab, systems[1], task, task.languages)
    assert list(mean_recall(table[table["setting"] == task.name], task.languages, task.target)) == ["de"]
    recall_bars(table, task.languages, task.name).to_dict()


def test_views_of_an_item(caption_lab):
    encoder = caption_lab.start(True)
    texts = {}
    for system in caption_lab.systems():
        if system.condition.text != "none":
            examples = caption_lab.examples(system, encoder)
            texts[system.condition.name] = [examples.views(epoch, [0])[0] for epoch in range(20)]
            assert examples.views(3, [0, 1]) == [texts[system.condition.name][3], examples.views(3, [1])[0]]
    assert {len(views[0]) for views in texts.values()} == {1, 2, 3}
    assert {text for text, _, _ in texts["ML-CS + align + FGM"]} >= {"a red fox", "a rot fuchs"}
    assert {original for _, _, original in texts["ML-CS + align + FGM"]} == {"a red fox"}
    assert texts["ML-CS"] == [views[:2] for views in texts["ML-CS + align + FGM"]]
    assert set(texts["Fine-tuning"]) == {("a rot fuchs", "a red fox")}


def test_the_encoder_as_it_is_stands_beside_the_extended_one(caption_lab):
    profile = caption_lab.lab.profile
    section = profile.image_text.model_copy(update={"plain": ["As it is"]})
    lab = open_image_lab(profile.model_copy(update={"image_text": section}), outputs=caption_lab.lab.folder.parent)
    assert [system.name for system in lab.systems()][:3] == ["As it is", "As it is+vocab", "ML-CS+vocab"]


def test_what_is_refused(tmp_path):
    with pytest.raises(CslabError, match="it has no section image_text; add one, or --set"):
        open_image_lab(make_profile({"name": "x"}), outputs=tmp_path)
    with pytest.raises(CslabError, match="condition 'ML-SC' is not known; did you mean 'ML-CS'"):
        open_image_lab(make_profile({"name": "x", "image_text": {"conditions": ["ML-SC"]}}), outputs=tmp_path)
    with pytest.raises(CslabError, match="unknown key"):
        make_profile({"name": "x", "image_text": {"step": 3}})
    section = {"source": "multi30k", "languages": ["en", "sw"]}
    with pytest.raises(CslabError, match="no test set has en, sw"):
        _ = open_image_lab(make_profile({"name": "x", "image_text": section}), outputs=tmp_path).tasks
    section = {"source": "multi30k", "switched": ["fi"]}
    with pytest.raises(CslabError, match="no lexicon for 'fi'"):
        _ = open_image_lab(make_profile({"name": "x", "image_text": section}), outputs=tmp_path).lexicons


def test_every_condition_names_a_robust_method_on_embeddings():
    from cslab.training.robust import ROBUST

    for condition in CAPTION_CONDITIONS.values():
        assert ROBUST[condition.robust].kind in ("none", "embeddings")


@pytest.mark.parametrize("name", ["captions", "demo", "smoke"])
def test_shipped_profiles_name_conditions_and_languages_that_are_there(name, tmp_path):
    lab = open_image_lab(name, outputs=tmp_path)
    assert {system.condition.name for system in lab.systems()} == set(lab.settings.conditions)
    assert set(lab.settings.switched) <= set(lab.settings.languages)
    assert {*lab.settings.corrected, *lab.settings.plain} <= set(lab.settings.conditions)
