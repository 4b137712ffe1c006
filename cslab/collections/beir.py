"""Reads BEIR folders: `corpus.jsonl`, `queries.jsonl` and qrels, one folder a language, ids shared over languages.

Each file may be packed (`.gz`). With a split the queries come from `queries.<split>.jsonl` if there is one, the qrels
from `qrels/<split>.tsv` or `qrels.<split>.tsv`; without one the qrels are `qrels.tsv`. Nothing is written.

    read_beir_folders({"en": "xquad_r/en", "de": "xquad_r/de"}, corpus="sentences", qrels="qrels_sentences.tsv")
    read_beir("nq_qed", split="train")
    merge_folders(["nq_qed:train", "squad_sent"])       # a larger English collection
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from cslab.collections.collection import Collection, check
from cslab.collections.texts import stored_texts
from cslab.collections.trec import iter_qrels
from cslab.languages import language as known_language
from cslab.store import CslabError, nearest, read_jsonl

OUTSIDE = ("refuse", "drop")
QRELS_ENDINGS = (".tsv", ".tsv.gz", ".trec", ".trec.gz")


def read_beir(
    folder: str | Path,
    language: str = "en",
    split: str | None = None,
    corpus: str = "corpus",
    qrels: str | None = None,
    outside: str = "refuse",
    store: str | Path | None = None,
) -> Collection:
    """Reads one folder as a collection in one language.

    Queries without a judgement are left out: BEIR keeps the queries of all splits in one file.

    Args:
        folder: where the files lie.
        language: code of the language of queries and documents.
        split: `train`, `dev`, `test`; None where the folder has one `qrels.tsv`.
        corpus: stem of the file of documents, e.g. `sentences` for `sentences.jsonl.gz`.
        qrels: name of the file of judgements in the folder, where it is another one than the split says.
        outside: what to do with judgements of documents that are not there: `refuse`, or `drop` and tell how many.
        store: folder for an Arrow file of the documents, for a corpus that does not fit into memory.

    Returns:
        The collection, checked; a document's text is its title and text joined with one space.

    Raises:
        CslabError: for a missing file, a malformed line, an id that stands twice, an empty query, or a judgement about
            a query or document that is not there; with file and line.
    """
    folder = Path(folder)
    known_language(language)
    if not folder.is_dir():
        raise CslabError(f"{folder}: no such folder for language '{language}'; check the path or leave it out")
    path = find_file(folder, (corpus,), (".jsonl", ".jsonl.gz"))
    if store:
        documents = stored_texts(Path(store) / f"{language}.arrow", lambda: read_texts(path, once=False))
    else:
        documents = dict(read_texts(path))
    stems = (f"queries.{split}", "queries") if split else ("queries",)
    queries = dict(read_texts(find_file(folder, stems, (".jsonl", ".jsonl.gz")), filled=True))
    judgements = qrels_file(folder, split, qrels)
    judged, left_out = read_judgements(judgements, queries, documents, outside)
    if left_out:
        print(f"{judgements}: {left_out:,} judgements of documents that are not there left out", file=sys.stderr)
    kept = {qid: text for qid, text in queries.items() if qid in judged}
    collection = Collection(folder.name, {language: kept}, {language: documents}, {language: judged})
    check(collection)
    return collection


def read_beir_folders(
    folders: Mapping[str, str | Path],
    split: str | None = None,
    corpus: str = "corpus",
    qrels: str | None = None,
    name: str | None = None,
) -> Collection:
    """Reads a folder per language into one collection; equal ids say that texts correspond.

    Args:
        folders: language → folder.
        split: as in `read_beir`, for all folders.
        corpus: likewise.
        qrels: likewise.
        name: of the collection (default: the folder above the first).

    Raises:
        CslabError: as `read_beir` does.
    """
    if not folders:
        raise CslabError("no BEIR folder given; give at least one language with its folder")
    parts = {code: read_beir(folder, code, split, corpus, qrels) for code, folder in folders.items()}
    return Collection(
        name or Path(next(iter(folders.values()))).resolve().parent.name,
        {code: part.queries[code] for code, part in parts.items()},
        {code: part.documents[code] for code, part in parts.items()},
        {code: part.qrels[code] for code, part in parts.items()},
    )


def merge_folders(folders: Sequence[str | Path], language: str = "en", name: str | None = None) -> Collection:
    """Reads folders of one language as one collection; a folder's split may follow it as `folder:split`.

    Raises:
        CslabError: as `read_beir` does, and for an id that two folders use.
    """
    if not folders:
        raise CslabError("no BEIR folder given; give at least one")
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    qrels: dict[str, Mapping[str, int]] = {}
    names = []
    for place in map(str, folders):
        path, split = _with_split(place)
        part = read_beir(path, language, split)
        for whole, new in ((queries, part.queries[language]), (documents, part.documents[language])):
            if twice := next((key for key in new if key in whole), None):
                raise CslabError(f"{path}: id '{twice}' is in an earlier folder too; make ids unique, e.g. by a prefix")
            whole.update(new)
        qrels.update(part.qrels[language])
        names.append(part.name)
    return Collection(name or "+".join(names), {language: queries}, {language: documents}, {language: qrels})


def _with_split(place: str) -> tuple[str, str | None]:
    """A folder, and the split that may follow it."""
    if Path(place).is_dir() or ":" not in place:
        return place, None
    path, _, split = place.rpartition(":")
    return path, split


def read_unlabelled(folders: Sequence[str | Path], language: str = "en") -> Collection:
    """Reads folders of questions and passages that nobody has judged, or `folder:split`; the collection has no qrels.

    Raises:
        CslabError: as `read_beir` does, and for an id that two folders use.
    """
    queries: dict[str, str] = {}
    documents: dict[str, str] = {}
    names = []
    for path, split in map(_with_split, map(str, folders)):
        stems = (f"queries.{split}", "queries") if split else ("queries",)
        for held, wanted in ((queries, stems), (documents, ("corpus",))):
            file = find_file(Path(path), wanted, (".jsonl", ".jsonl.gz"))
            for key, text in read_texts(file, filled=held is queries):
                if key in held:
                    raise CslabError(f"{file}: id '{key}' is in an earlier folder too; make ids unique")
                held[key] = text
        names.append(Path(path).name)
    return Collection("+".join(names), {language: queries}, {language: documents}, {language: {}})


# --- files ---------------------------------------------------------------------------------------------------


def find_file(folder: Path, stems: Iterable[str], endings: Iterable[str]) -> Path:
    names = [stem + ending for stem in stems for ending in endings]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CslabError(f"{folder}: has no {' or '.join(names)}; add it, or give another folder or split")


def qrels_file(folder: Path, split: str | None, qrels: str | None) -> Path:
    if qrels:
        return find_file(folder, (qrels,), ("",))
    if split:
        return find_file(folder, (f"qrels/{split}", f"qrels.{split}"), QRELS_ENDINGS)
    found = [p for p in (*folder.glob("qrels/*"), *folder.glob("qrels.*")) if p.name.endswith(QRELS_ENDINGS)]
    splits = sorted({p.name.removeprefix("qrels.").split(".")[0] for p in found} - {"tsv", "trec"})
    if splits and not any((folder / f"qrels{ending}").is_file() for ending in QRELS_ENDINGS):
        raise CslabError(f"{folder}: has qrels of the splits {', '.join(splits)}; name one of them as the split")
    return find_file(folder, ("qrels",), QRELS_ENDINGS)


def read_texts(path: Path, filled: bool = False, once: bool = True) -> Iterator[tuple[str, str]]:
    """Yields id and text of the lines of a file; `filled` refuses empty texts, `once` an id that stands twice.

    The latter takes memory for every id: leave it to `write_texts` where there are millions.

    Raises:
        CslabError: for a malformed line, an id with blanks or that stands twice, or an empty text that must not be.
    """
    lines: dict[str, int] = {}
    for number, row in read_jsonl(path, required=("_id", "text")):
        key, title, text = row["_id"], row.get("title") or "", row["text"]
        if not isinstance(key, str) or not key or any(c.isspace() for c in key):
            raise CslabError(f"{path}:{number}: _id is {key!r}, expected a text without blanks; repair the line")
        if not isinstance(text, str) or not isinstance(title, str):
            raise CslabError(f"{path}:{number}: title or text of '{key}' is no text; repair the line")
        if key in lines:
            raise CslabError(f"{path}:{number}: id '{key}' stands in line {lines[key]} too; keep one of them")
        if filled and not text.strip():
            raise CslabError(f"{path}:{number}: query '{key}' is empty; write its text or remove the query")
        if once:
            lines[key] = number
        yield key, f"{title.strip()} {text.strip()}".strip()


def read_judgements(
    path: Path, queries: Mapping[str, str], documents: Mapping[str, str], outside: str = "refuse"
) -> tuple[dict[str, dict[str, int]], int]:
    """Reads judgements of known queries and documents.

    Returns:
        Query id → document id → grade, and how many judgements of other documents were left out (`outside="drop"`).

    Raises:
        CslabError: for a judgement of an unknown query, or of an unknown document unless those are dropped, for two
            that differ, or if none is left.
    """
    if outside not in OUTSIDE:
        raise CslabError(f"{path}: outside='{outside}' is not known; {nearest(outside, OUTSIDE)}")
    qrels: dict[str, dict[str, int]] = {}
    left_out = 0
    for number, qid, did, grade in iter_qrels(path):
        if qid in queries and did not in documents and outside == "drop":
            left_out += 1
            continue
        for what, key, known in (("query", qid, queries), ("document", did, documents)):
            if key not in known:
                raise CslabError(f"{path}:{number}: {what} '{key}' is not in the collection; remove the line or add it")
        if qrels.setdefault(qid, {}).setdefault(did, grade) != grade:
            raise CslabError(f"{path}:{number}: '{qid}' '{did}' is judged twice, differently; keep one line")
    if not qrels:
        raise CslabError(f"{path}: holds no judgement; add some or take another file")
    return qrels, left_out
