"""The atlas drawn: scenes of coloured things, as small pictures with captions in the atlas's nine languages.

A scene has one to three groups, each of one to four things of one kind and colour in one place of the picture. Which
groups, and where exactly they are drawn, follows from the seed; captions are put together from hand-written forms with
the agreement each language asks for. Reads `cslab/data/atlas/scenes.tsv`; writes nothing.

    >>> scene = Scene("s", (Group("ball", "red", 2, "left"), Group("window", "blue", 1, "right")))
    >>> caption(scene, "en"), caption(scene, "ru")
    ('Two red balls on the left and a blue window on the right.', 'Два красных мяча слева и синее окно справа.')
    >>> caption(scene, "de", "place first")
    'Links zwei rote Bälle und rechts ein blaues Fenster.'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cslab.collections.atlas import atlas_lexicon
from cslab.collections.atlas_data import FOLDER, LANGUAGES, load_data
from cslab.collections.captions import Captions
from cslab.lexicon.dictionaries import merge
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError, nearest, read_tsv
from cslab.text import words

KINDS = ("noun", "colour", "number", "place", "word", "pattern")
STYLES = ("thing first", "place first")
SPLITS = ("train", "dev", "test")
GROUPS = (0.2, 0.5, 0.3)  # shares of scenes with one, two and three groups
NUMBERS = (1, 2, 3, 4)
GENDERS = ("m", "f", "n", "c")


class Group(NamedTuple):
    """Things of one kind and colour, together in one place."""

    thing: str
    colour: str
    number: int
    place: str


@dataclass(frozen=True)
class Scene:
    """Groups in the order in which captions name them."""

    id: str
    groups: tuple[Group, ...]


# --- the table -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forms:
    """A word's forms in a language: the plain one, and those by gender and number (`f`, `p`, `mp`, `fd`)."""

    plain: str
    by_key: Mapping[str, str]
    gender: str = ""

    def of(self, gender: str, number: str) -> str:
        """The form that agrees: the most particular one that is there."""
        keys = (gender + number, number, gender)
        return next((self.by_key[key] for key in keys if key in self.by_key), self.plain)

    def all(self) -> list[str]:
        """Every form, the plain one first."""
        return [form for form in dict.fromkeys([self.plain, *self.by_key.values()]) if form != "-"]


@cache
def load_scenes(path: Path = FOLDER / "scenes.tsv") -> Mapping[str, Mapping[str, Mapping[str, Forms]]]:
    """Reads the table: kind → id → language → forms.

    Raises:
        CslabError: for an unknown kind, an empty cell, an id that stands twice, or a noun without gender.
    """
    found: dict[str, dict[str, dict[str, Forms]]] = {kind: {} for kind in KINDS}
    for number, (key, kind, *cells) in read_tsv(path, columns=("id", "kind", *LANGUAGES)):
        if kind not in found:
            raise CslabError(f"{path}:{number}: kind '{kind}' is not known; {nearest(kind, KINDS)}")
        if key in found[kind]:
            raise CslabError(f"{path}:{number}: {kind} '{key}' stands twice; remove one")
        if "" in cells:
            raise CslabError(f"{path}:{number}: the cell '{LANGUAGES[cells.index('')]}' is empty; write it")
        read = _noun if kind == "noun" else _forms
        found[kind][key] = {lang: read(path, number, cell) for lang, cell in zip(LANGUAGES, cells, strict=True)}
    return found


def _forms(path: Path, number: int, cell: str) -> Forms:
    plain, *rest = cell.split("|")
    return Forms(plain, dict(part.split(" ", 1) for part in rest))


def _noun(path: Path, number: int, cell: str) -> Forms:
    """`m:Ball|Bälle`: gender, one, several; or one, two, several."""
    gender, colon, forms = cell.partition(":")
    parts = forms.split("|")
    if not colon or gender not in GENDERS or len(parts) not in (2, 3):
        raise CslabError(f"{path}:{number}: noun '{cell}' is not gender:one|several or gender:one|two|several")
    return Forms(parts[0], {"d": parts[-2] if len(parts) == 3 else parts[-1], "p": parts[-1]}, gender)


# --- captions ------------------------------------------------------------------------------------------------


def caption(scene: Scene, lang: str, style: str = "thing first") -> str:
    """A scene in words.

    Args:
        scene: its groups are named in their order.
        lang: one of the atlas's languages.
        style: `thing first` (two red balls on the left) or `place first`.
    """
    table, sentences = load_scenes(), load_data().sentences
    parts = []
    for group in scene.groups:
        place = table["place"][group.place][lang].plain
        parts.append(table["pattern"][style][lang].plain.format(thing=_thing(group, lang), place=place))
    text = parts[0]
    for i, part in enumerate(parts[1:], start=2):
        joined = sentences["and" if i == len(parts) else "comma"][0][lang]
        text = joined.format(a=text, b=part)
    return text[:1].upper() + text[1:] + "."


def _thing(group: Group, lang: str) -> str:
    """`two red balls`, in agreement; Arabic has a dual, and counts 3 and 4 against the gender of the noun."""
    table = load_scenes()
    noun = table["noun"][group.thing][lang]
    dual = lang == "ar" and group.number == 2
    number = "" if group.number == 1 else "d" if dual else "p"
    made = table["pattern"]["thing"][lang].plain.format(
        number=table["number"][str(group.number)][lang].of(noun.gender, ""),
        colour=table["colour"][group.colour][lang].of(noun.gender, number),
        noun=noun.of("", number),
    )
    return made.removeprefix("- ")


# --- scenes --------------------------------------------------------------------------------------------------


def scenes(split: str = "train", count: int = 1000, seed: int = 0) -> list[Scene]:
    """Draws distinct scenes; no two splits share one (as a set of groups).

    Args:
        split: train, dev or test.
        count: how many.
        seed: another seed gives other scenes.
    """
    if split not in SPLITS:
        raise CslabError(f"the scenes have no split '{split}'; {nearest(split, SPLITS)}")
    table = load_scenes()
    options = [list(table[kind]) for kind in ("noun", "colour")]
    places, random = list(table["place"]), np.random.default_rng([seed, 0])
    found: list[Scene] = []
    seen: set[frozenset[Group]] = set()
    # One stream for all splits: whether a scene is for training follows from its number in the stream.
    drawn = 0
    while len(found) < count:
        size = int(random.choice(len(GROUPS), p=GROUPS)) + 1
        where = random.permutation(len(places))[:size]
        groups = tuple(
            Group(*(str(random.choice(o)) for o in options), int(random.choice(NUMBERS)), places[place])
            for place in where
        )
        if frozenset(groups) in seen or len({group[:2] for group in groups}) < size:
            continue
        seen.add(frozenset(groups))
        own = ("train", "train", "train", "dev", "test")[drawn % 5]
        if own == split:
            found.append(Scene(f"scene-{seed}-{drawn}", groups))
        drawn += 1
    return found


def scene_captions(made: Sequence[Scene], languages: Sequence[str], styles: Sequence[str] = STYLES) -> Captions:
    """Captions of scenes in some languages, one in each style.

    Raises:
        CslabError: for a language that the atlas does not have.
    """
    for lang in languages:
        if lang not in LANGUAGES:
            raise CslabError(f"the atlas has no language '{lang}'; {nearest(lang, LANGUAGES)}")
    texts = {lang: {s.id: tuple(caption(s, lang, style) for style in styles) for s in made} for lang in languages}
    return Captions("scenes", texts, {scene.id: f"{scene.id}.png" for scene in made})


def scene_words(lang: str) -> list[str]:
    """Everything that captions in a language are made of: all forms of all words, and what joins them."""
    table = load_scenes()
    forms = [form for kind in KINDS[:-2] for by_language in table[kind].values() for form in by_language[lang].all()]
    joined = load_data().sentences["and"][0][lang]
    # Arabic writes "and" together with the word that follows.
    return [*forms, *(joined.format(a="", b=form) for form in forms)]


def scene_lexicon(target: str) -> Lexicon:
    """English words of the captions → their translations: plain form first, then inflected ones.

    Things, colours, numbers and places come from the scenes' own table, `and`, `the`, `on` … from the atlas's glossary.
    """
    table = load_scenes()
    rows = []
    for kind in ("noun", "colour", "number", "word"):
        for key, forms in table[kind].items():
            if (kind, key) == ("number", "1"):
                continue  # the article `a` is in the glossary
            source, translation = forms["en"], forms[target]
            if kind == "noun":
                rows.append((source.plain, translation.plain, 1.0))
                rows += [(source.by_key["p"], translation.by_key[n], 1.0) for n in ("p", "d")]
            else:
                rows += [(source.plain, form, 1 / rank) for rank, form in enumerate(translation.all(), start=1)]
    own = Lexicon.from_pairs("en", target, rows, name=f"scenes-{target}", method="atlas")
    said = [word.text for text in scene_words("en") for word in words(text)]
    return merge([own, atlas_lexicon(target).restrict(said)], keep="first", name=f"scenes-{target}")
