"""The atlas drawn: grammar of captions, scenes by seed, pictures to the last bit, the lexicon."""

import hashlib
import io

import numpy as np
import pytest

from cslab.collections.atlas_data import LANGUAGES, load_data
from cslab.collections.scene_pictures import COLOURS, SHAPES, draw, pictures, png
from cslab.collections.scenes import (
    STYLES,
    Group,
    Scene,
    caption,
    load_scenes,
    scene_captions,
    scene_lexicon,
    scene_words,
    scenes,
)
from cslab.store import CslabError
from cslab.text import words


def said(thing, colour, number, lang, place="left"):
    return caption(Scene("x", (Group(thing, colour, number, place),)), lang)


@pytest.mark.parametrize(
    ("lang", "thing", "colour", "number", "expected"),
    [
        ("en", "window", "grey", 1, "A grey window on the left."),
        ("de", "hat", "blue", 1, "Ein blauer Hut links."),
        ("de", "cup", "blue", 1, "Eine blaue Tasse links."),
        ("de", "window", "blue", 1, "Ein blaues Fenster links."),
        ("de", "window", "blue", 3, "Drei blaue Fenster links."),
        ("it", "umbrella", "white", 4, "Quattro ombrelli bianchi a sinistra."),
        ("it", "cup", "white", 2, "Due tazze bianche a sinistra."),
        ("it", "cup", "blue", 2, "Due tazze blu a sinistra."),
        ("ru", "key", "blue", 1, "Синий ключ слева."),
        ("ru", "cloud", "blue", 1, "Синее облако слева."),
        ("ru", "cloud", "blue", 2, "Два синих облака слева."),
        ("ru", "cup", "blue", 2, "Две синие чашки слева."),
        ("ru", "cup", "red", 4, "Четыре красные чашки слева."),
        ("ar", "ball", "red", 1, "كرة حمراء على اليسار."),
        ("ar", "ball", "red", 2, "كرتان حمراوان على اليسار."),
        ("ar", "ball", "red", 3, "ثلاث كرات حمراء على اليسار."),
        ("ar", "key", "red", 2, "مفتاحان أحمران على اليسار."),
        ("ar", "key", "red", 4, "أربعة مفاتيح حمراء على اليسار."),
        ("nl", "window", "red", 1, "Een rood raam links."),
        ("nl", "ball", "red", 1, "Een rode bal links."),
        ("nl", "window", "red", 2, "Twee rode ramen links."),
        ("fr", "ladder", "grey", 2, "Deux échelles grises à gauche."),
        ("fr", "umbrella", "grey", 2, "Deux parapluies gris à gauche."),
        ("es", "umbrella", "black", 1, "Un paraguas negro a la izquierda."),
        ("es", "bell", "brown", 3, "Tres campanas marrones a la izquierda."),
        ("pt", "cup", "white", 2, "Duas xícaras brancas à esquerda."),
        ("pt", "bell", "grey", 2, "Dois sinos cinza à esquerda."),
    ],
)
def test_words_agree(lang, thing, colour, number, expected):
    assert said(thing, colour, number, lang) == expected


def test_every_scene_can_be_told_in_every_language_and_style():
    for scene in scenes("dev", 60):
        for lang in LANGUAGES:
            for style in STYLES:
                text = caption(scene, lang, style)
                assert not set(text) & set("-|{}:") - ({"-"} if lang == "pt" else set())
                assert "  " not in text


def test_things_and_colours_are_those_of_the_atlas():
    concepts, table = load_data().concepts, load_scenes()
    for key, forms in table["noun"].items():
        assert {lang: f.plain for lang, f in forms.items()} == dict(concepts[key].lemma)
    for key in table["colour"]:
        assert concepts[key].kind == "colour"
    assert list(table["noun"]) == list(SHAPES)
    assert list(table["colour"]) == list(COLOURS)


def test_scenes_follow_from_the_seed_and_splits_share_none():
    made = {split: scenes(split, 300) for split in ("train", "dev", "test")}
    assert made["train"] == scenes("train", 300)
    assert scenes("train", 50) == made["train"][:50]
    assert scenes("train", 50, seed=1) != made["train"][:50]
    groups = [frozenset(scene.groups) for found in made.values() for scene in found]
    assert len(set(groups)) == len(groups) == 900
    with pytest.raises(CslabError, match="did you mean 'train'"):
        scenes("trian")


def test_pictures_are_the_same_on_every_machine():
    data = b"".join(picture.tobytes() for _, picture in pictures(scenes("train", 20)))
    assert hashlib.sha256(data).hexdigest()[:16] == "2a5995c39bbccc02"


def test_a_picture_shows_its_colours_and_png_is_read_by_others():
    from PIL import Image

    scene = Scene("x", (Group("ball", "red", 1, "left"), Group("tower", "blue", 2, "right")))
    picture = draw(scene)
    assert picture.shape == (60, 60, 3)
    assert (picture[:, :30] == COLOURS["red"]).all(-1).sum() > 30
    assert (picture[:, 30:] == COLOURS["blue"]).all(-1).sum() > 30
    assert not (picture[:, :30] == COLOURS["blue"]).all(-1).any()
    decoded = np.asarray(Image.open(io.BytesIO(png(picture, zoom=2))).convert("RGB"))
    assert np.array_equal(decoded[::2, ::2], picture)


def test_no_two_things_look_alike():
    shown = [draw(Scene("x", (Group(thing, "red", 1, "middle"),))) for thing in SHAPES]
    for i, first in enumerate(shown):
        for second in shown[:i]:
            assert (first != second).any(-1).sum() >= 15


@pytest.mark.parametrize("target", LANGUAGES[1:])
def test_the_lexicon_knows_every_english_word_and_leads_to_words_of_the_captions(target):
    lexicon, made = scene_lexicon(target), scenes("train", 400)
    english = {w.text.lower() for s in made for style in STYLES for w in words(caption(s, "en", style))}
    assert english <= set(lexicon.entries)
    told = {w.text.lower() for s in made for style in STYLES for w in words(caption(s, target, style))}
    things = list(load_scenes()["noun"])
    assert all(any(t.text.lower() in told or "-" in t.text for t in lexicon[word]) for word in things)


def test_captions_record():
    made = scenes("dev", 5)
    found = scene_captions(made, ["en", "ar"])
    assert found.common() == [scene.id for scene in made]
    assert all(len(texts) == 2 for texts in found.texts["ar"].values())
    with pytest.raises(CslabError, match="the atlas has no language 'sw'"):
        scene_captions(made, ["sw"])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_word_of_the_captions_is_among_the_words(lang):
    held = {w.text.lower() for text in scene_words(lang) for w in words(text)}
    said = {w.text.lower() for s in scenes("train", 300) for w in words(caption(s, lang))}
    assert said <= held
