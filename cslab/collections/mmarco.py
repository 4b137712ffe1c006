"""mMARCO v2: MS MARCO's passages and questions in fourteen languages under the same ids, from the raw TSV files.

Reads `id<TAB>text` lines, which know no quoting, from the hub (`mmarco_files`); 2.7 to 7.6 GB a language. Each file is
gone through once, line by line, and written as memory-mapped Arrow under `<cache>/mmarco-v2`, after which the TSV may
be deleted. Passages are never held in memory; a run of a thousand candidates for all 6,980 questions takes some 1.0 GB,
so give `qids` or `depth` where that is too much. `mmarco_triples` has the training pairs, `mmarco_cost` the costs.

    collection = mmarco(["en", "de"])                          # the 6,980 small development questions
    candidates = top1000_run(qids=list(collection.queries["en"])[:100])
"""

from collections.abc import Collection as Ids
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from cslab.collections import mmarco_files
from cslab.collections.archives import tar_lines
from cslab.collections.collection import Collection, check
from cslab.collections.download import default_cache, fetch
from cslab.collections.mmarco_files import LANGUAGES, QRELS, TOP1000, Remote, remote
from cslab.collections.texts import Texts, stored_texts
from cslab.collections.trec import Run, read_qrels
from cslab.store import CslabError, nearest, read_lines, read_tsv

__all__ = ["LANGUAGES", "documents", "mmarco", "own_run", "queries", "top1000_run"]


def mmarco(languages: Sequence[str], split: str = "dev.small", cache: str | Path | None = None) -> Collection:
    """Opens mMARCO in some of its languages, fetching and converting what is not there.

    Args:
        languages: codes, each for questions and passages both.
        split: `dev.small` (6,980 judged questions, those of the papers), `dev` or `train`.
        cache: as in `download.fetch`; the Arrow files go there too.

    Returns:
        The collection, texts on disk; passages and judgements are those of the English original in every language.

    Raises:
        CslabError: for an unknown language or split, a file that cannot be had, or a malformed line.
    """
    if not languages:
        raise CslabError(f"mMARCO: no language given; take some of {', '.join(LANGUAGES)}")
    qrels = _qrels(split, cache)
    for lang in languages:
        remote(lang, "collection")  # a wrong code is told before gigabytes are fetched
    collection = Collection(
        f"mmarco-{split}",
        {lang: queries(lang, split, cache) for lang in languages},
        {lang: documents(lang, cache) for lang in languages},
        dict.fromkeys(languages, qrels),
    )
    check(collection)
    return collection


def documents(lang: str, cache: str | Path | None = None) -> Texts:
    """The passages of a language, memory-mapped; written from the TSV by the first call.

    Raises:
        CslabError: if the file cannot be had, a line is malformed, or passages are missing.
    """
    source = remote(lang, "collection")
    rows = partial(_rows, source, cache, expected=mmarco_files.PASSAGES)
    return stored_texts(arrow_path("documents", lang, cache), rows)


def queries(lang: str, split: str = "dev.small", cache: str | Path | None = None) -> Texts:
    """The judged questions of a split in a language, memory-mapped.

    Raises:
        CslabError: if the file cannot be had, a line is malformed, or a judged question is missing.
    """
    judged = _qrels(split, cache)
    source = remote(lang, split.partition(".")[0])
    rows = partial(_rows, source, cache, expected=len(judged), wanted=judged)
    return stored_texts(arrow_path(f"queries.{split}", lang, cache), rows)


def arrow_path(kind: str, lang: str, cache: str | Path | None = None) -> Path:
    """Where the texts of a language lie once they are converted."""
    return Path(cache or default_cache()) / "mmarco-v2" / kind / f"{lang}.arrow"


def _qrels(split: str, cache: str | Path | None) -> dict[str, dict[str, int]]:
    if split not in QRELS:
        raise CslabError(f"mMARCO: split '{split}' is not known; {nearest(split, list(QRELS))}")
    return read_qrels(_fetch(QRELS[split], cache))


def _fetch(source: Remote, cache: str | Path | None) -> Path:
    return fetch(source.url, cache=cache, md5=source.md5)


def _rows(
    source: Remote, cache: str | Path | None, expected: int, wanted: Ids[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yields id and text of the lines of a file; the number tells whether it was cut off at the end of a line."""
    path, count = _fetch(source, cache), 0
    for number, (key, text) in read_tsv(path, width=2):
        if wanted is not None and key not in wanted:
            continue
        if not key or (wanted is not None and not text.strip()):
            raise CslabError(f"{path}:{number}: no {'text' if key else 'id'} in the line; fetch the file again")
        count += 1
        yield key, text
    if count != expected:
        raise CslabError(f"{path}: {count:,} texts, expected {expected:,}; the file is not whole, fetch it again")


# --- first stages --------------------------------------------------------------------------------------------


def own_run(
    lang: str,
    depth: int = 1000,
    qids: Ids[str] | None = None,
    path: str | Path | None = None,
    cache: str | Path | None = None,
) -> Run:
    """BM25 of a language's questions in its own passages, as mMARCO publishes it (`qid<TAB>did<TAB>rank`).

    Args:
        lang: language of questions and passages; `en` is BM25 of Anserini, another run than `top1000_run`.
        depth: ranks to read.
        qids: questions to read (default: all).
        path: the file, where it lies elsewhere.
        cache: as in `download.fetch`.

    Returns:
        The run; its scores are the ranks, negated, because the files hold no others.

    Raises:
        CslabError: if the file cannot be had or a line is malformed.
    """
    path, wanted = path or _fetch(remote(lang, "run"), cache), None if qids is None else set(qids)
    scores: dict[str, dict[str, float]] = {}
    for number, (qid, did, text) in read_tsv(path, width=3):
        if not text.isdecimal() or len(text) > 9 or not int(text):
            rank = text[:40]
            raise CslabError(f"{path}:{number}: rank '{rank}' is not a positive whole number; fetch the file again")
        if (wanted is None or qid in wanted) and int(text) <= depth:
            _add(scores, path, number, qid, did, -float(text))
    return _run(path, lang, f"bm25(own)@{depth}", scores, wanted)


def top1000_run(qids: Ids[str] | None = None, path: str | Path | None = None, cache: str | Path | None = None) -> Run:
    """The official English BM25 candidates, `top1000.dev`, which 2305.05295 re-ranks in every language.

    The file has `qid<TAB>pid<TAB>question<TAB>passage` lines, without rank or score: all scores of the run are 0, and
    it must be re-ranked as a whole. Not every question has a thousand candidates.

    Args:
        qids: questions to read (default: all 6,980).
        path: the file where it lies elsewhere, `top1000.dev.tar.gz` or what is packed in it.
        cache: as in `download.fetch`.

    Raises:
        CslabError: if the file cannot be had or a line is malformed.
    """
    path, wanted = path or _fetch(TOP1000, cache), None if qids is None else set(qids)
    packed = any(str(path).endswith(ending) for ending in (".tar", ".tar.gz", ".tgz"))
    scores: dict[str, dict[str, float]] = {}
    for number, line in tar_lines(path, "top1000.dev") if packed else read_lines(path):
        cells = line.split("\t")
        if len(cells) != 4:
            raise CslabError(f"{path}:{number}: {len(cells)} tab-separated cells, expected 4; fetch the file again")
        if wanted is None or cells[0] in wanted:
            _add(scores, path, number, cells[0], cells[1], 0.0)
    return _run(path, "en", "bm25(en)@1000", scores, wanted)


def _add(scores: dict[str, dict[str, float]], path: str | Path, number: int, qid: str, did: str, score: float) -> None:
    found = scores.setdefault(qid, {})
    if did in found:
        raise CslabError(f"{path}:{number}: passage '{did}' stands twice in question '{qid}'; fetch the file again")
    found[did] = score


def _run(
    path: str | Path, lang: str, first_stage: str, scores: dict[str, dict[str, float]], wanted: Ids[str] | None
) -> Run:
    if not scores:
        what = "none of the questions asked for" if wanted is not None else "no line"
        raise CslabError(f"{path}: holds {what}; check the ids, or fetch the file again")
    return Run("bm25", lang, lang, first_stage, scores)
