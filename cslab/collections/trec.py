"""Runs and relevance judgements in the files of TREC and BEIR.

A run file has `qid Q0 did rank score tag` lines; languages and provenance, for which TREC has no place, go into a JSON
beside it. Qrels are TREC (`qid 0 did grade`) or BEIR TSV (header `query-id corpus-id score`). Names that end in `.gz`
are packed.

    >>> run = Run("bm25", "en", "de", "bm25(own)@100", {"q1": {"d1": 2.0, "d2": 2.0, "d3": 5.0}})
    >>> run.ranking("q1"), run.ranking("q1", k=1)
    (['d3', 'd2', 'd1'], ['d3'])
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cslab.store import CslabError, atomic_open, read_lines, read_record, write_json

BEIR_HEADER = ("query-id", "corpus-id", "score")


@dataclass(frozen=True)
class Run:
    """What a system returned: the score of each candidate document of each query.

    Scores are rounded to fp32 on the way in, which is what trec_eval reads, so an order never depends on whether a run
    has been on disk. In pools of many languages (MLIR) document ids are written `lang:did`.

    Attributes:
        name: the system, e.g. `bm25` or `ML-CS-s1`.
        query_lang: language of the queries, `languages.MIXED` where each has its own.
        doc_lang: language of the documents, or `languages.MIXED`.
        first_stage: where the candidates came from, e.g. `bm25(en)@100` (English ones) or `bm25(own)@100`.
        scores: query id → document id → score.
    """

    name: str
    query_lang: str
    doc_lang: str
    first_stage: str
    scores: Mapping[str, Mapping[str, float]]

    def __post_init__(self) -> None:
        rounded = {q: dict(zip(found, array("f", found.values()), strict=True)) for q, found in self.scores.items()}
        for qid, found in rounded.items():
            for did, score in found.items():
                if not math.isfinite(score):
                    where = f"score of query '{qid}', document '{did}'"
                    raise CslabError(f"run {self.name}: {where} is not a finite number; check what gave it")
        object.__setattr__(self, "scores", rounded)

    def ranking(self, qid: str, k: int | None = None) -> list[str]:
        """Document ids of a query, best first; equal scores by id, descending, as trec_eval orders them."""
        found = self.scores[qid]
        return sorted(found, key=lambda did: (found[did], did), reverse=True)[:k]


# --- runs ----------------------------------------------------------------------------------------------------


def write_run(run: Run, path: str | Path) -> None:
    """Writes a run as TREC text and its record as `<path>.json`.

    Raises:
        CslabError: for a name or an id that is empty or holds a blank.
    """
    with atomic_open(path) as handle:
        tag = _token(path, "system", run.name)
        for qid, found in run.scores.items():
            _token(path, "query id", qid)
            for rank, did in enumerate(run.ranking(qid), start=1):
                # Nine digits give every fp32 back unchanged.
                handle.write(f"{qid} Q0 {_token(path, 'document id', did)} {rank} {found[did]:.9g} {tag}\n")
    record = {"name": run.name, "query_lang": run.query_lang, "doc_lang": run.doc_lang, "first_stage": run.first_stage}
    write_json(f"{path}.json", record)


def read_run(
    path: str | Path,
    query_lang: str | None = None,
    doc_lang: str | None = None,
    name: str | None = None,
    first_stage: str | None = None,
) -> Run:
    """Reads a TREC run; what is not given comes from the JSON beside it, name and first stage else from the tag.

    The order is that of the scores; ranks in the file are not used, as in trec_eval.

    Raises:
        CslabError: for a malformed line, a document twice in a query, a score that is no finite number, a file without
            a line, or where the languages are not known.
    """
    beside = Path(f"{path}.json")
    record = read_record(beside, "write the run again") if beside.is_file() else {}
    given = {"query_lang": query_lang, "doc_lang": doc_lang, "name": name, "first_stage": first_stage}
    record |= {key: value for key, value in given.items() if value is not None}
    if not record.get("query_lang") or not record.get("doc_lang"):
        raise CslabError(
            f"{path}: its languages are not known; give query_lang and doc_lang, or put {beside.name} there"
        )
    scores: dict[str, dict[str, float]] = {}
    tag = Path(path).name
    for number, line in read_lines(path):
        cells = line.split()
        if not cells:
            continue
        if len(cells) != 6:
            raise CslabError(
                f"{path}:{number}: {len(cells)} cells, expected 'qid Q0 did rank score tag'; repair the line"
            )
        qid, _, did, _, score, tag = cells
        found = scores.setdefault(qid, {})
        if did in found:
            raise CslabError(f"{path}:{number}: document '{did}' stands twice in query '{qid}'; keep one line")
        found[did] = _score(path, number, score)
    if not scores:
        raise CslabError(f"{path}: holds no line; write the run again, or take another file")
    name = record.get("name", tag)
    return Run(name, record["query_lang"], record["doc_lang"], record.get("first_stage", tag), scores)


def _score(path: str | Path, number: int, text: str) -> float:
    try:
        (score,) = array("f", [float(text)])  # which is what a run keeps
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise CslabError(f"{path}:{number}: score '{text[:40]}' is not a finite number; repair the line")
    return score


def _token(path: str | Path, what: str, text: str) -> str:
    if not text or len(text.split()) != 1 or text != text.strip():
        raise CslabError(f"{path}: {what} '{text}' is empty or holds a blank, which TREC files cannot; rename it")
    return text


# --- qrels ---------------------------------------------------------------------------------------------------


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Reads judgements, TREC or BEIR, as query id → document id → grade.

    Raises:
        CslabError: for a malformed line, a document judged twice with different grades, or no judgement at all.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, qid, did, grade in iter_qrels(path):
        found = qrels.setdefault(qid, {})
        if found.setdefault(did, grade) != grade:
            raise CslabError(f"{path}:{number}: '{qid}' '{did}' has grades {found[did]} and {grade}; keep one line")
    if not qrels:
        raise CslabError(f"{path}: holds no judgement; add some or take another file")
    return qrels


def iter_qrels(path: str | Path) -> Iterator[tuple[int, str, str, int]]:
    """Yields (line number, query id, document id, grade); three tab-separated cells are BEIR, four cells TREC.

    Raises:
        CslabError: for a line of another form, or a grade that is no whole number.
    """
    for number, line in read_lines(path):
        cells = line.split("\t")
        if not line.strip() or (number == 1 and tuple(cells) == BEIR_HEADER):
            continue
        if len(cells) != 3:
            cells = line.split()
            if len(cells) != 4:
                wanted = f"'qid 0 did grade' or tab-separated {' '.join(BEIR_HEADER)}"
                raise CslabError(f"{path}:{number}: {len(cells)} cells, expected {wanted}; repair the line")
            del cells[1]
        try:
            yield number, cells[0], cells[1], int(cells[2])
        except ValueError:
            hint = f"; a header must read {' '.join(BEIR_HEADER)}" if number == 1 else ""
            grade = cells[2][:40]
            raise CslabError(f"{path}:{number}: grade '{grade}' is not a whole number; repair it{hint}") from None


def write_qrels(qrels: Mapping[str, Mapping[str, int]], path: str | Path) -> None:
    """Writes judgements: BEIR TSV if the name ends in `.tsv` or `.tsv.gz`, TREC else."""
    beir = str(path).removesuffix(".gz").endswith(".tsv")
    with atomic_open(path) as handle:
        if beir:
            handle.write("\t".join(BEIR_HEADER) + "\n")
        for qid, found in qrels.items():
            _token(path, "query id", qid)
            for did, grade in found.items():
                _token(path, "document id", did)
                handle.write(f"{qid}\t{did}\t{grade}\n" if beir else f"{qid} 0 {did} {grade}\n")
