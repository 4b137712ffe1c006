"""The collection record: queries, documents and relevance judgements by language, under shared ids.

In memory the texts of a language are any mapping id → text: a dict for what a reader has just parsed, `Texts` for what
lies on disk. A saved collection is a folder: `queries/<lang>.arrow` and `documents/<lang>.arrow` (memory-mapped, an
index of ids beside each), `qrels.arrow`, `alignment.arrow` and, written last, `collection.json`.

    >>> toy = Collection("toy", {"en": {"q": "fox?"}}, {"de": {"d": "Der Fuchs."}}, {"de": {"q": {"d": 1}}})
    >>> check(toy)
    >>> toy.query_languages, toy.document_languages, toy.counterparts("d", "de")
    (('en',), ('de',), ('d',))
"""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from cslab.collections.texts import Texts, link_texts, read_table, write_table, write_texts
from cslab.languages import language
from cslab.store import CslabError, nearest, read_record, write_json

QRELS = pa.schema([("lang", pa.string()), ("qid", pa.string()), ("did", pa.string()), ("grade", pa.int32())])
ALIGNMENT = pa.schema([("lang", pa.string()), ("en", pa.string()), ("dids", pa.list_(pa.string()))])


@dataclass(frozen=True)
class Collection:
    """Queries and documents in several languages, and which document answers which query.

    Attributes:
        name: what tables and folders call it.
        queries: language → query id → text; one id means one question in every language.
        documents: language → document id → text (title and text joined with one space).
        qrels: document language → query id → document id → grade; a grade above 0 is relevant.
        alignment: document language → English document id → its counterparts there, for languages whose units differ
            from the English ones; a language that is absent shares the English ids.
    """

    name: str
    queries: Mapping[str, Mapping[str, str]]
    documents: Mapping[str, Mapping[str, str]]
    qrels: Mapping[str, Mapping[str, Mapping[str, int]]]
    alignment: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def query_languages(self) -> tuple[str, ...]:
        """Languages that have queries, in the order of the source."""
        return tuple(self.queries)

    @property
    def document_languages(self) -> tuple[str, ...]:
        """Languages that have documents, in the order of the source."""
        return tuple(self.documents)

    def counterparts(self, did: str, lang: str) -> tuple[str, ...]:
        """The documents of `lang` that say what an English document says; none where nothing corresponds.

        Raises:
            CslabError: for a language without documents.
        """
        if lang not in self.documents:
            raise CslabError(f"{self.name}: no documents in '{lang}'; {nearest(lang, self.document_languages)}")
        if lang in self.alignment:
            return tuple(self.alignment[lang].get(did, ()))
        return (did,) if did in self.documents[lang] else ()

    def subset(self, qids: Iterable[str]) -> "Collection":
        """Keeps the given queries and their judgements, in the collection's order, and all documents.

        Raises:
            CslabError: for an id that no language has a query for.
        """
        wanted = dict.fromkeys(qids)
        for qid in wanted:
            if not any(qid in texts for texts in self.queries.values()):
                raise CslabError(f"{self.name}: no query '{qid}' in any language; take ids from collection.queries")
        queries = {lang: {q: text for q, text in texts.items() if q in wanted} for lang, texts in self.queries.items()}
        qrels = {lang: {q: found for q, found in rows.items() if q in wanted} for lang, rows in self.qrels.items()}
        return replace(self, queries=queries, qrels=qrels)


def with_texts(collection: Collection, further: Collection) -> Collection:
    """A collection with the queries and documents of another one besides; judgements stay as they are.

    Raises:
        CslabError: for an id that both use.
    """
    sides = {}
    for side in ("queries", "documents"):
        own, others = getattr(collection, side), getattr(further, side)
        for lang, texts in others.items():
            if twice := next((key for key in texts if key in own.get(lang, {})), None):
                raise CslabError(f"{further.name}: id '{twice}' of {side} is in {collection.name} too; make ids unique")
        sides[side] = {**own, **{lang: ChainMap(own.get(lang, {}), texts) for lang, texts in others.items()}}
    return replace(collection, **sides)


def check(collection: Collection) -> None:
    """Makes sure that a collection holds together.

    Raises:
        CslabError: for a language that is unknown, has no texts or no qrels, an empty query, and an id in qrels or
            alignment that names nothing.
    """
    name = collection.name
    for side, texts in (("queries", collection.queries), ("documents", collection.documents)):
        if not texts:
            raise CslabError(f"{name}: no {side} in any language; give at least one language")
        for lang in texts:
            language(lang)
            if not len(texts[lang]):
                raise CslabError(f"{name}: no {side} in '{lang}'; add them or leave the language out")
    for lang, queries in collection.queries.items():
        for qid, text in queries.items():
            if not text.strip():
                raise CslabError(f"{name}: query '{qid}' in '{lang}' is empty; write its text or remove the query")
    for lang in collection.documents:
        if not collection.qrels.get(lang):
            raise CslabError(f"{name}: no qrels for documents in '{lang}'; add them or leave the language out")
    _check_qrels(collection)
    _check_alignment(collection)


def _check_qrels(collection: Collection) -> None:
    name = collection.name
    for lang, rows in collection.qrels.items():
        if lang not in collection.documents:
            raise CslabError(
                f"{name}: qrels in '{lang}' but no documents; {nearest(lang, collection.document_languages)}"
            )
        documents = collection.documents[lang]
        for qid, judged in rows.items():
            if not any(qid in queries for queries in collection.queries.values()):
                raise CslabError(f"{name}: qrels in '{lang}' name query '{qid}', which no language has; remove the row")
            for did in judged:
                if did not in documents:
                    raise CslabError(f"{name}: qrels of query '{qid}' name '{did}', not in '{lang}'; remove the row")


def _check_alignment(collection: Collection) -> None:
    name, documents = collection.name, collection.documents
    for lang, rows in collection.alignment.items():
        if lang not in documents:
            raise CslabError(f"{name}: alignment to '{lang}' but no documents; {nearest(lang, list(documents))}")
        for did, others in rows.items():
            for where, found in (("en", did), *((lang, other) for other in others)):
                if where in documents and found not in documents[where]:
                    raise CslabError(f"{name}: alignment to '{lang}' names '{found}', not in '{where}'; align again")


# --- on disk -------------------------------------------------------------------------------------------------


def save_collection(collection: Collection, folder: str | Path) -> None:
    """Writes a collection into a folder; `collection.json` goes first and comes back last, so it marks a whole one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "collection.json").unlink(missing_ok=True)
    for side in ("queries", "documents"):
        for lang, texts in getattr(collection, side).items():
            place = folder / side / f"{lang}.arrow"
            if isinstance(texts, Texts):
                link_texts(place, texts)
            else:
                write_texts(place, texts.items())
    write_table(folder / "qrels.arrow", QRELS, _qrels_rows(collection))
    aligned = ((lang, did, list(to)) for lang, rows in collection.alignment.items() for did, to in rows.items())
    write_table(folder / "alignment.arrow", ALIGNMENT, aligned)
    languages = {"queries": collection.query_languages, "documents": collection.document_languages}
    languages |= {"qrels": tuple(collection.qrels), "alignment": tuple(collection.alignment)}
    write_json(folder / "collection.json", {"name": collection.name, "languages": languages})


def _qrels_rows(collection: Collection) -> Iterator[tuple[str, str, str, int]]:
    for lang, rows in collection.qrels.items():
        for qid, judged in rows.items():
            for did, grade in judged.items():
                yield lang, qid, did, grade


def load_collection(folder: str | Path) -> Collection:
    """Opens a saved collection; its texts stay on disk, memory-mapped.

    Raises:
        CslabError: where no complete collection lies, or a file of it is damaged.
    """
    folder = Path(folder)
    if not (folder / "collection.json").is_file():
        raise CslabError(f"{folder}: no collection.json, so no complete collection; save the collection there again")
    record = read_record(folder / "collection.json", "save the collection there again", ("name", "languages"))
    languages = record["languages"]
    texts = {
        side: {lang: Texts(folder / side / f"{lang}.arrow") for lang in languages[side]}
        for side in ("queries", "documents")
    }
    qrels: dict[str, dict[str, dict[str, int]]] = {lang: {} for lang in languages["qrels"]}
    for lang, qid, did, grade in read_table(folder / "qrels.arrow"):
        qrels[lang].setdefault(qid, {})[did] = grade
    alignment: dict[str, dict[str, tuple[str, ...]]] = {lang: {} for lang in languages["alignment"]}
    for lang, did, others in read_table(folder / "alignment.arrow"):
        alignment[lang][did] = tuple(others)
    return Collection(record["name"], texts["queries"], texts["documents"], qrels, alignment)
