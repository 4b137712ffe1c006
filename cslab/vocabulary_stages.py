"""The stage of an encoder whose vocabulary is cut to a profile (`encoder.vocabulary: needed`).

One folder serves the whole experiment: its rankers, further collections and ablations. It depends on the collections
and the lexicons that are used, so that another seed or number of steps leaves it as it is.

    lab.encoder_source(extended=False)      # the folder, made if need be
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cslab.lexicon.lexicon import read_lexicon
from cslab.ranking.me5 import described
from cslab.recipe import Recipe
from cslab.switching.spliced import spliced_words
from cslab.systems import INVERSE, asked_in

if TYPE_CHECKING:
    from cslab.stages import Lab


def needed_recipe(lab: "Lab") -> Recipe:
    """The profile's encoder with a vocabulary cut to what its collections and lexicons need."""

    def build(folder: Path) -> dict[str, Any]:
        return cut_encoder(lab, folder)

    inputs = (lab._training, *_tests(lab), *_lexicons(lab))
    return Recipe(lab.folder / "encoders" / "needed", {"encoder": described(lab.profile.encoder.name)}, build, inputs)


def cut_encoder(lab: "Lab", folder: Path) -> dict[str, Any]:
    """Cuts the vocabulary of the profile's encoder; `encoder/` goes into the folder."""
    from cslab.ranking.cross_encoder import load_encoder, save_encoder
    from cslab.ranking.needed_vocabulary import cut_vocabulary

    name = lab.profile.encoder.name
    small = cut_vocabulary(load_encoder(name, device="cpu"), _texts(lab))
    save_encoder(small, folder / "encoder", {"base": described(name), "vocabulary": "needed"}, head=False)
    return dict(small.notes)


def _texts(lab: "Lab") -> Iterator[str]:
    """Every query and document of the collections, and every word that switching or translating may put in."""
    from cslab.collections.collection import load_collection

    collections = [load_collection(recipe.make().path / "data") for recipe in (lab._training, *_tests(lab))]
    lexicons = [read_lexicon(recipe.make().path / "lexicon.tsv.gz") for recipe in _lexicons(lab)]
    texts: dict[str, list[str]] = {}
    for held in (side for collection in collections for side in (collection.queries, collection.documents)):
        for code, found in held.items():
            texts.setdefault(code, []).extend(found.values())
    for code, found in texts.items():
        yield from found
        yield from sorted(spliced_words(found, [one for one in lexicons if one.source == code]))


def _labs(lab: "Lab") -> "list[Lab]":
    """The profile's lab, and those of its further collections and variations."""
    varied = [one for name in lab.profile.ablations for one in lab.variations(name).values()]
    return [lab, *(lab.on(name) for name in lab.profile.tests), *varied]


def _tests(lab: "Lab") -> list[Recipe]:
    return _each(one._test for one in _labs(lab))


def _lexicons(lab: "Lab") -> list[Recipe]:
    """The lexicons that change a text which a system reads, in training or when it is asked."""
    found = []
    for one in _labs(lab):
        found += one._lexicons()
        for system in one.systems():
            if system.ranker.condition.policy is not None:
                found += one._lexicons(**one._lexicons_of(system))
            if system.condition.test_text != "as is":
                found += one._lexicons(INVERSE, asked_in(one.profile, system))
    return _each(found)


def _each(recipes: Iterable[Recipe]) -> list[Recipe]:
    return list({recipe.path: recipe for recipe in recipes}.values())
