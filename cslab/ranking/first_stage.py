"""First stage: BM25 in one language, and the candidates of a language pair by protocol.

Reads texts by id; gives runs. BM25 is the Lucene variant with k1 = 1.2 and b = 0.75 (bm25s), over words folded and
stemmed by the language's Snowball stemmer, no stop list; languages written without spaces are cut into character
bigrams. A document without any word of the query is no candidate.

Two protocols, named in the run's provenance:

* `english`, the paper's (2305.05295): BM25 of the English queries over the English documents, carried over to each
  document language. It is near an oracle for CLIR, because matching words in one language find the candidates.
* `own`: BM25 in the document language, with the parallel query in that language.

    run = candidates(collection, "en", "de", protocol="english", depth=100)     # run.first_stage == "bm25(en)@100"
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cslab.collections.collection import Collection
from cslab.collections.trec import Run
from cslab.languages import is_pool, language
from cslab.store import CslabError, nearest
from cslab.text import fold, words
from cslab.without_jax import imported

K1, B = 1.2, 0.75
PROTOCOLS = ("english", "own")
_PARTS = re.compile(r"[a-z0-9]+|[^a-z0-9]+")


# --- words ---------------------------------------------------------------------------------------------------


def terms(text: str, code: str) -> list[str]:
    """The folded words of a text before stemming; character bigrams where the language has no spaces.

    >>> terms("L'acqua del Po", "it"), terms("COVID-19疫苗接种", "zh")
    (['l', 'acqua', 'del', 'po'], ['covid', '19', '疫苗', '苗接', '接种'])
    """
    found = [fold(word.text) for word in words(text)]
    if not language(code).spaced:
        return [piece for word in found for piece in _bigrams(word)]
    if code == "en":  # the English stemmer knows what to do with 's
        return found
    return [part for word in found for part in re.split("['’]", word)]


def _bigrams(word: str) -> list[str]:
    pieces = []
    for part in _PARTS.findall(word):
        whole = part.isascii() or len(part) == 1
        pieces += [part] if whole else [part[i : i + 2] for i in range(len(part) - 1)]
    return pieces


class Stems(dict[str, str]):
    """Word → stem, filled as words come: each distinct word is stemmed once."""

    def __init__(self, code: str) -> None:
        super().__init__()
        name = language(code).stemmer
        if name:
            import Stemmer

            self._stem = Stemmer.Stemmer(name, 0).stemWord
        else:
            self._stem = str

    def __missing__(self, word: str) -> str:
        stem = self[word] = self._stem(word)
        return stem


# --- one language --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """A BM25 index over the documents of one language."""

    code: str
    dids: list[str]
    vocabulary: Mapping[str, int]
    stems: Stems
    bm25: Any

    def search(self, query: str, depth: int) -> dict[str, float]:
        """The best documents, best first; equal scores by document id, descending, as in trec_eval.

        Args:
            query: text in the index's language.
            depth: how many; fewer where fewer documents share a word with the query.

        Returns:
            document id → BM25 score (> 0).
        """
        known = (self.vocabulary.get(self.stems[term]) for term in terms(query, self.code))
        ids = [i for i in known if i is not None]
        if not ids:
            return {}
        scores = self.bm25.get_scores_from_ids(ids)
        bound = self._bound(scores, ids, depth)
        found = np.flatnonzero(scores >= bound if bound > 0 else scores > 0)
        if len(found) > depth:
            # All documents that tie with the last place stay in until their ids have been compared.
            worst = _last_place(scores[found], depth)
            found = found[scores[found] >= worst]
        ranked = sorted(((float(scores[i]), self.dids[i]) for i in found), reverse=True)
        return {did: score for score, did in ranked[:depth]}

    def _bound(self, scores: np.ndarray, ids: list[int], depth: int) -> float:
        """A score that the last place is sure to reach, so that few of many documents have to be looked at; or 0.

        It is the last place among the documents of one word, the rarest that has as many as are asked for.
        """
        starts = self.bm25.scores["indptr"]
        rows = [(size, i) for i in set(ids) if (size := int(starts[i + 1] - starts[i])) >= depth]
        if not rows:
            return 0.0
        size, rarest = min(rows)
        held = self.bm25.scores["indices"][starts[rarest] : starts[rarest] + size]
        return _last_place(scores[held], depth)


def _last_place(scores: np.ndarray, depth: int) -> float:
    """The score of place `depth`."""
    return np.partition(scores, len(scores) - depth)[len(scores) - depth]


def build_index(documents: Mapping[str, str], code: str, k1: float = K1, b: float = B) -> Index:
    """Indexes documents (id → text) of one language.

    Raises:
        CslabError: if no document holds a word.
    """
    bm25s = imported("bm25s")
    # It lowers its own logger to DEBUG when imported, which floods notebooks that log.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    stems, vocabulary = Stems(code), {}
    rows = [
        [vocabulary.setdefault(stems[term], len(vocabulary)) for term in terms(text, code)]
        for text in documents.values()
    ]
    if not vocabulary:
        raise CslabError(f"BM25: none of {len(rows)} documents in '{code}' holds a word; check their texts")
    bm25 = bm25s.BM25(k1=k1, b=b, method="lucene")
    bm25.index((rows, vocabulary), create_empty_token=False, show_progress=False)
    return Index(code, list(documents), vocabulary, stems, bm25)


def bm25_run(
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    language: str,
    depth: int,
    k1: float = K1,
    b: float = B,
) -> Run:
    """Ranks the documents of a language for queries of the same language.

    Returns:
        A run with every query id; a query that shares no word with any document has no candidates.

    Raises:
        CslabError: for a depth below 1.
    """
    if depth < 1:
        raise CslabError(f"BM25: depth {depth}; ask for at least one candidate")
    index = build_index(documents, language, k1, b)
    scores = {qid: index.search(text, depth) for qid, text in queries.items()}
    return Run("bm25", language, language, f"bm25({language})@{depth}", scores)


# --- language pairs ------------------------------------------------------------------------------------------


def candidates(
    collection: Collection,
    query_lang: str,
    doc_lang: str,
    protocol: str,
    depth: int,
    given: Mapping[str, Run] | None = None,
) -> Run:
    """The first-stage candidates of a language pair.

    Args:
        collection: queries and documents by language.
        query_lang: a language, or a pool (`languages.is_pool`); its queries are asked in the language of BM25 instead.
        doc_lang: a language.
        protocol: "english" or "own".
        depth: candidates per query, counted in the language of BM25.
        given: published runs by language, which stand in for our BM25 in that language.

    Returns:
        A run named "bm25" whose `first_stage` is `bm25(en)@depth` or `bm25(own)@depth`.

    Raises:
        CslabError: for an unknown protocol, where BM25's language has no documents or lacks a parallel query, or for a
            published run without an order that would have to be cut.
    """
    if protocol not in PROTOCOLS:
        raise CslabError(f"candidates: protocol '{protocol}' is not known; {nearest(protocol, PROTOCOLS)}")
    searched = "en" if protocol == "english" else doc_lang
    for code, texts, what in (
        (doc_lang, collection.documents, "documents"),
        (searched, collection.documents, "documents"),
        (searched, collection.queries, "queries"),
    ):
        if code not in texts:
            raise CslabError(
                f"{collection.name}: {protocol} candidates need {what} in '{code}'; it has {', '.join(texts)}"
            )
    published = (given or {}).get(searched)
    found = _cut(published, depth) if published else _searched(collection, searched, depth).scores
    asked = found if is_pool(query_lang) else collection.queries.get(query_lang, {})
    if lost := next((qid for qid in asked if qid not in found), None):
        raise CslabError(f"{collection.name}: query '{lost}' has no text in '{searched}', the language of BM25; add it")
    scores = {qid: found[qid] for qid in asked}
    if searched != doc_lang:
        scores = {qid: _carried(collection, ranked, doc_lang) for qid, ranked in scores.items()}
    provenance = "en" if protocol == "english" else "own"
    first_stage = published.first_stage if published else f"bm25({provenance})@{depth}"
    return Run("bm25", query_lang, doc_lang, first_stage, scores)


def _cut(run: Run, depth: int) -> dict[str, dict[str, float]]:
    """The best `depth` of each query of a run."""
    kept: dict[str, dict[str, float]] = {}
    for qid, found in run.scores.items():
        if len(found) > depth and len(set(found.values())) == 1:
            raise CslabError(
                f"first stage {run.first_stage}: its {len(found)} candidates have no order, so the best {depth} cannot "
                f"be told; set evaluation.depth to {len(found)} or more, and fewer queries"
            )
        kept[qid] = {did: found[did] for did in run.ranking(qid, depth)} if len(found) > depth else dict(found)
    return kept


def _carried(collection: Collection, ranked: Mapping[str, float], doc_lang: str) -> dict[str, float]:
    """English candidates as documents of another language; one reached twice keeps its better score."""
    carried: dict[str, float] = {}
    for did, score in ranked.items():
        for other in collection.counterparts(did, doc_lang):
            carried[other] = max(score, carried.get(other, score))
    return carried


# The last few runs of BM25: all pairs of an experiment share a handful. Texts are told apart by identity, and kept
# here so that an identity is not used again.
_RECENT: list[tuple[Any, Any, tuple[str, int], Run]] = []


def _searched(collection: Collection, code: str, depth: int) -> Run:
    queries, documents = collection.queries[code], collection.documents[code]
    for known_queries, known_documents, key, run in _RECENT:
        if known_queries is queries and known_documents is documents and key == (code, depth):
            return run
    run = bm25_run(queries, documents, code, depth)
    _RECENT.insert(0, (queries, documents, (code, depth), run))
    del _RECENT[8:]
    return run
