"""The image–text experiment end to end, tiny: drawn scenes, and captions without images."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from cslab.collections.captions import Captions
from cslab.config import make_profile
from cslab.evaluation.recall import mean_recall, rank_scores, recall_table
from cslab.image_data import Task
from cslab.image_tables import asked_table, gains_table
from cslab.image_text import ImageLab, open_image_lab
from cslab.image_training import examples
from cslab.store import CslabError
from cslab.training.caption_conditions import CAPTION_CONDITIONS, FURTHER, caption_condition, caption_policy
from cslab.workbench.image_view import CaptionSearch, misses_html, recall_bars
from tests.tiny_towers import clip_folder, sentence_folder

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
    scene_lab.scores()
    systems = {system.name: system for system in scene_lab.systems()}
    before, after = scene_lab.start().model, scene_lab.model(systems["ML-CS + FreeLB"]).model
    assert all(map(torch.equal, before.image_parameters(), after.image_parameters()))
    assert not torch.equal(before.get_input_embeddings().weight, after.get_input_embeddings().weight)
    assert len(list((scene_lab.folder / "images").glob("*.safetensors"))) == 2  # training and test, for all models


def test_images_that_move_and_answers_that_are_re_ranked(tmp_path):
    from cslab.collections.trec import read_run

    conditions = ["Zero-shot", "M3P + align + FreeLB (both)", "ML-CS + SMART (image)"]
    section = SMALL | {"languages": ["en", "de"], "switched": ["de", "ru"], "conditions": conditions, "corrected": []}
    section |= {"reranked": ["Zero-shot"], "reranker": {"steps": 2, "k": 3, "negatives": 3, "width": 8, "batch": 8}}
    lab = open_image_lab(make_profile({"name": "tiny", "image_text": section}), outputs=tmp_path)
    scores = lab.scores()
    assert list(dict.fromkeys(scores["system"])) == ["Zero-shot", "Zero-shot · re-ranked", *conditions[1:]]
    folder = lab.folder / "scores" / "zero-shot-s1-reranked" / "runs"
    assert {path.name for path in folder.glob("*.gz")} == {
        f"scenes.{pair}.run.gz" for pair in ("en-image", "de-image", "image-en", "image-de")
    }
    run = read_run(folder / "scenes.de-image.run.gz")
    assert (run.first_stage, len(run.scores)) == ("zero-shot-s1@3", 12)
    assert {len(found) for found in run.scores.values()} == {3}
    wide = scores[scores["measure"] == "Rank"].pivot_table(
        index=["query_lang", "doc_lang", "qid"], columns="system", values="value"
    )
    behind = wide[wide["Zero-shot"] > 3]
    assert len(behind)
    assert (behind["Zero-shot"] == behind["Zero-shot · re-ranked"]).all()
    assert (wide.loc[wide["Zero-shot"] <= 3, "Zero-shot · re-ranked"] <= 3).all()
    for row in wide.loc[("de", "image")].itertuples():
        image = row.Index.partition("#")[0]
        if image in run.scores[row.Index]:
            assert run.ranking(row.Index).index(image) + 1 == wide.loc[("de", "image", row.Index)].iloc[-1]
    assert all(recipe.state() == "done" for recipe in lab.recipes())


def test_the_image_tower_can_be_trained_too(tmp_path):
    section = SMALL | {"languages": ["en", "de"], "switched": ["de"], "conditions": ["ML-CS + FGM (both)"]}
    section |= {"corrected": [], "train_image": True}
    lab = open_image_lab(make_profile({"name": "tiny", "image_text": section}), outputs=tmp_path)
    lab.scores()
    before, after = lab.start().model, lab.model(next(lab.systems())).model
    assert not any(map(torch.equal, before.patches().parameters(), after.patches().parameters()))


@pytest.fixture
def caption_lab(tmp_path, monkeypatch):
    data = tmp_path / "data"
    (data / "captions").mkdir(parents=True)
    (data / "dict").mkdir()
    for name in ("multi30k.train.tsv", "multi30k.test_2016_flickr.tsv", "xtd10.tsv"):
        kept = "" if "test" in name or "xtd" in name else "train-"  # what is tested on is not trained on
        lines = ["image\ten\tde", *(kept + "\t".join(row) for row in TABLE)]
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
            made = examples(caption_lab, system, encoder)
            texts[system.condition.name] = [made.views(epoch, [0])[0] for epoch in range(20)]
            assert made.views(3, [0, 1]) == [texts[system.condition.name][3], made.views(3, [1])[0]]
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


def picture_lab(tmp_path, monkeypatch, **changes):
    """Real captions with images in a folder: one file is broken, another missing."""
    from PIL import Image

    data = tmp_path / "data"
    for folder in ("captions", "dict", "photos"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    train = [(f"{i}.jpg", "a red fox", "a rot fuchs") for i in range(8)]
    for name, rows in (("multi30k.train.tsv", [*train, TABLE[0]]), ("multi30k.test_2016_flickr.tsv", TABLE)):
        lines = ["image\ten\tde", *("\t".join(row) for row in rows)]
        (data / "captions" / f"{name}.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (data / "dict" / "en-de.txt").write_text("red rot\nblue blau\n")
    for number, (name, *_) in enumerate([*train, *TABLE[:2]]):
        Image.new("RGB", (16, 16), (20 * number, 90, 40)).save(data / "photos" / name)
    (data / "photos" / "3.jpg").write_bytes(b"broken")
    monkeypatch.setenv("CSLAB_DATA", str(data))
    section = SMALL | {"source": "multi30k", "tests": ["multi30k"], "images": ["photos"], "folder": "captions"}
    section |= {"languages": ["en", "de"], "switched": ["de"], "batch": 3, "max_length": 12, "corrected": []}
    section |= {"encoder": str(clip_folder(tmp_path / "clip")), "conditions": ["ML-CS + FreeLB (both)"]}
    section |= {
        "reranked": ["ML-CS + FreeLB (both)"],
        "reranker": {"steps": 2, "k": 2, "negatives": 2, "width": 8, "batch": 4},
    }
    lexicon = {"source": "muse", "folder": "dict", "languages": ["de"]}
    profile = make_profile({"name": "tiny", "image_text": section | changes, "lexicon": lexicon})
    return open_image_lab(profile, outputs=tmp_path / "out"), data


def test_real_images_end_to_end(tmp_path, monkeypatch, capsys):
    lab, _ = picture_lab(tmp_path, monkeypatch)
    table = recall_table(lab.scores(), rounds=10)
    assert set(zip(table["query_lang"], table["doc_lang"], strict=True)) == {
        pair for code in ("en", "de") for pair in ((code, "image"), ("image", code))
    }
    assert set(table["queries"]) == {2}  # the third image is not there
    told = capsys.readouterr().out
    assert "1 images left out, e.g. 3.jpg" in told
    # What is tested on is not trained on.
    assert "a.jpg" not in lab.training.texts["en"]
    view = CaptionSearch(lab, lab.tasks[0], list(lab.systems()), [("de", "a rot fuchs", "a.jpg")], k=2).static()
    assert "the blue house" in view


def test_keys_follow_what_tables_and_folders_hold_not_their_names(tmp_path, monkeypatch):
    def keys(lab):
        return {recipe.path.name: recipe.key for recipe in lab.recipes() if recipe.path.parent.name == "models"}

    lab, data = picture_lab(tmp_path, monkeypatch)
    first = keys(lab)
    (data / "captions").rename(data / "tables")
    moved = lab.lab.profile.image_text.model_copy(update={"folder": "tables"})
    profile = lab.lab.profile.model_copy(update={"image_text": moved})
    assert keys(open_image_lab(profile, outputs=lab.lab.folder.parent)) == first
    table = data / "tables" / "multi30k.train.tsv.gz"
    table.write_bytes(gzip.compress(gzip.decompress(table.read_bytes()).replace(b"fuchs", b"hund")))
    changed = keys(open_image_lab(profile, outputs=lab.lab.folder.parent))
    assert changed.keys() == first.keys()
    assert changed != first


def test_what_is_refused(tmp_path):
    with pytest.raises(CslabError, match="it has no section image_text; add one, or --set"):
        open_image_lab(make_profile({"name": "x"}), outputs=tmp_path)
    with pytest.raises(CslabError, match="condition 'ML-SC' is not known; did you mean 'ML-CS'"):
        open_image_lab(make_profile({"name": "x", "image_text": {"conditions": ["ML-SC"]}}), outputs=tmp_path)
    with pytest.raises(CslabError, match="unknown key"):
        make_profile({"name": "x", "image_text": {"step": 3}})
    for asking in ({"conditions": ["ML-CS + FGM (image)"]}, {"reranked": ["Zero-shot"]}):
        section = {"source": "multi30k"} | asking
        with pytest.raises(CslabError, match=r"asks for images; name them in image_text\.images"):
            open_image_lab(make_profile({"name": "x", "image_text": section}), outputs=tmp_path)
    section = {"source": "multi30k", "languages": ["en", "sw"]}
    with pytest.raises(CslabError, match="no test set has en, sw"):
        _ = open_image_lab(make_profile({"name": "x", "image_text": section}), outputs=tmp_path).tasks
    section = {"source": "multi30k", "switched": ["fi"]}
    with pytest.raises(CslabError, match="no lexicon for 'fi'"):
        _ = open_image_lab(make_profile({"name": "x", "image_text": section}), outputs=tmp_path).lexicons


def test_every_condition_names_a_robust_method_on_embeddings():
    from cslab.training.robust import parse

    for condition in (caption_condition(f"ML-CS + {name}") for name in FURTHER):
        ((method, settings),) = parse(condition.robust, {"moved": condition.moved})
        assert method.kind == "embeddings"
        assert settings["moved"] == condition.moved


def test_names_of_conditions_say_all():
    found = caption_condition("CoSDA-ML + align + FreeLB (both)")
    assert (found.policy, found.align, found.robust, found.moved) == ("CoSDA-ML", True, "freelb", "both")
    assert caption_condition("BL-CS de-en").text == "switched"
    for name, message in (
        ("ML-CS + FreeBL", "'FreeBL' is not known; did you mean 'FreeLB'"),
        ("CoSDA", "did you mean 'CoSDA-ML'"),
        ("BL-CS dx-en", "dx"),
        ("ML-CS + FGM + PGD", "two robust methods; join one, e.g. 'ML-CS [+] FGM'"),
        ("Translate-test + FGM", "nothing can be joined to 'Translate-test'"),
    ):
        with pytest.raises(CslabError, match=message):
            caption_condition(name)


def test_every_policy_switches_captions_into_the_languages_asked_for():
    from cslab.switching.policy import POLICIES

    def policy(name, p=None):
        return caption_policy(caption_condition(name), ("de", "fr"), p)

    assert set(POLICIES) <= set(CAPTION_CONDITIONS)
    assert policy("ML-CS").languages == policy("CAT").languages == ("de", "fr")
    assert policy("Wiki-CS", 0.3).languages == ("en", "de", "fr")
    assert policy("RS-DA").languages == ("en",)
    assert policy("BL-CS de-en").query_languages == ("de",)
    rates = [policy(*given).query for given in (("M3P",), ("M3P", 0.3), ("ML-CS",), ("Wiki-CS", 0.3))]
    assert rates == [0.8, 0.3, 0.5, 1.0]


@pytest.mark.parametrize("name", ["atlas", "captions", "demo", "images", "smoke"])
def test_shipped_profiles_name_conditions_and_languages_that_are_there(name, tmp_path):
    lab = open_image_lab(name, outputs=tmp_path)
    assert {system.condition.name for system in lab.systems()} == set(lab.settings.conditions)
    assert set(lab.settings.switched) <= set(lab.settings.languages)
    assert {*lab.settings.corrected, *lab.settings.plain} <= set(lab.settings.conditions)
