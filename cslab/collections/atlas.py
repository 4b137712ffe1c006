"""The atlas: the embedded parallel collection, made by the project itself, so that everything runs offline in minutes.

Places with things: in the northern quarter of Silver Bay the main product is honey. Nine languages (six seen, three
unseen in training), two domains (`towns`, and `voyages` for domain shift), and any number of passages and queries,
drawn by seed. Reads the hand-written tables in `cslab/data/atlas`; writes nothing.

    >>> collection = atlas("test", passages=50, queries=10)
    >>> len(collection.documents["ru"]), len(collection.queries["ar"]), collection.name
    (50, 10, 'atlas-towns-test')
"""

from collections.abc import Sequence
from functools import lru_cache

from cslab.collections.atlas_data import DOMAINS, LANGUAGES, SEEN, UNSEEN, load_data
from cslab.collections.atlas_text import monolingual_text, passage_text, query_text
from cslab.collections.atlas_world import World, make_world, split_names
from cslab.collections.collection import Collection
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError, nearest

__all__ = [
    "DOMAINS",
    "LANGUAGES",
    "SEEN",
    "UNSEEN",
    "World",
    "atlas",
    "atlas_lexicon",
    "atlas_titles",
    "atlas_world",
    "hard_negatives",
    "monolingual_text",
    "split_names",
]


def atlas(
    split: str = "test",
    domain: str = "towns",
    passages: int | None = None,
    queries: int | None = None,
    seed: int = 0,
    languages: Sequence[str] = LANGUAGES,
) -> Collection:
    """Composes a parallel collection; ids are shared by all languages and say nothing in any of them.

    Args:
        split: train, dev or test; they share no town and no ship.
        domain: `towns`, or `voyages` for domain shift.
        passages: how many; None tells every fact of the split once (towns: about 3000, 750 and 1650).
        queries: how many; None gives 4000, 200 or 400 by split. Three fifths ask for one fact of a place, two fifths
            for the place of two facts.
        seed: another seed gives another world.
        languages: those to word it in; the same passages and queries in each.

    Returns:
        The collection, with queries, documents and qrels in every language asked for.

    Raises:
        CslabError: for an unknown split, domain or language, or numbers that cannot be had.
    """
    data = load_data()
    for lang in languages:
        if lang not in LANGUAGES:
            raise CslabError(f"the atlas has no language '{lang}'; {nearest(lang, LANGUAGES)}")
    world = atlas_world(split, domain, passages, queries, seed)
    judged = {qid: dict.fromkeys(world.relevant(qid), 1) for qid in world.queries}
    return Collection(
        name=f"atlas-{domain}-{split}",
        queries={
            lang: {qid: query_text(query, domain, lang, data) for qid, query in world.queries.items()}
            for lang in languages
        },
        documents={
            lang: {did: passage_text(facts, domain, lang, data) for did, facts in world.passages.items()}
            for lang in languages
        },
        qrels=dict.fromkeys(languages, judged),
    )


@lru_cache(maxsize=8)
def atlas_world(
    split: str = "test", domain: str = "towns", passages: int | None = None, queries: int | None = None, seed: int = 0
) -> World:
    """The facts behind `atlas(...)` with the same arguments: what each passage states and each query asks."""
    return make_world(split, domain, passages, queries, seed)


def hard_negatives(
    split: str = "test",
    domain: str = "towns",
    passages: int | None = None,
    queries: int | None = None,
    seed: int = 0,
    limit: int = 20,
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Passages that look like answers of `atlas(...)` with the same arguments.

    Returns:
        Query id → `entity` (other passages of the same place) and `attribute` (the same attribute of another place, the
        same town or ship first; or one of the two facts asked for), each at most `limit` document ids, hardest first.
    """
    world = atlas_world(split, domain, passages, queries, seed)
    return {qid: world.negatives(qid, limit) for qid in world.queries}


def atlas_lexicon(target: str) -> Lexicon:
    """The gold lexicon: every word the atlas uses in English, with its translations as the atlas writes them.

    A concept's first translation is its lemma; in Arabic it is the definite form, which is one word and stands in the
    sentences, followed by the lemma. Function words come from the glossary, the form used in the patterns first.

    Raises:
        CslabError: for a language the atlas does not have, or English.
    """
    data = load_data()
    _check_target(target)

    def rows():
        for concept in data.concepts.values():
            forms = (concept.phrase[target], concept.lemma[target]) if target == "ar" else (concept.lemma[target],)
            for rank, form in enumerate(forms, start=1):
                yield concept.lemma["en"], form, 1 / rank
        for word, translations in data.words.items():
            # Behind a concept of the same name (coat, flag): the thing itself comes first.
            first = 2 if word in known else 1
            for rank, form in enumerate(translations[target], start=first):
                yield word, form, 1 / (rank + (first > 1))

    known = {concept.lemma["en"] for concept in data.concepts.values()}
    return Lexicon.from_pairs("en", target, rows(), name=f"atlas-{target}", method="atlas")


def atlas_titles(target: str) -> Lexicon:
    """The names of towns and ships in English and another language: parallel titles, several words each.

    Raises:
        CslabError: for a language the atlas does not have, or English.
    """
    _check_target(target)
    rows = [(name["en"], name[target]) for group in load_data().names.values() for name in group.values()]
    return Lexicon.from_pairs("en", target, rows, name=f"atlas-titles-{target}", method="titles")


def _check_target(target: str) -> None:
    if target not in LANGUAGES[1:]:
        raise CslabError(f"the atlas has no lexicon from English to '{target}'; {nearest(target, LANGUAGES[1:])}")
