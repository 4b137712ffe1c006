"""Tasks: one query language, one document language (or a pool of many), candidates and judgements.

Reads a `Collection`; gives a `Task` that a re-ranker can run and a measure can score. The setting (MoIR, CLIR, MLIR)
follows from the languages. In MLIR the language of each query or document is drawn uniformly per id (2305.05295,
section 4.1: X-EN, EN-X, X-X), so a document stands in the pool in one language only and its id is `language:id` there.

    task = make_task(collection, "en", "xx", protocol="english", depth=15, seed=0)
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cslab.collections.collection import Collection
from cslab.collections.trec import Run
from cslab.languages import MIXED, is_pool, pool_of, setting
from cslab.ranking.first_stage import candidates
from cslab.store import CslabError


@dataclass(frozen=True)
class Task:
    """What a system is asked: queries (qid → text), documents (did → text), judgements and candidates to re-rank.

    Where languages are drawn, `asked_in` has that of each query, and a document's stands before its id.
    """

    query_lang: str
    doc_lang: str
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    candidates: Run
    asked_in: Mapping[str, str] = field(default_factory=dict)

    def language_of(self, side: str, key: str) -> str:
        """The language of a `query` or a `document` by its id."""
        if side == "query":
            return self.asked_in.get(key, self.query_lang)
        return key.partition(":")[0] if is_pool(self.doc_lang) else self.doc_lang

    @property
    def setting(self) -> str:
        """MoIR, CLIR or MLIR."""
        return setting(self.query_lang, self.doc_lang)

    @property
    def pair(self) -> str:
        """The languages as `query-document`."""
        return f"{self.query_lang}-{self.doc_lang}"

    def reachable(self) -> float:
        """Share of queries with a relevant document among the candidates: the ceiling of any re-ranker's MRR."""
        hits = (any(self.qrels[q].get(d, 0) > 0 for d in self.candidates.scores.get(q, {})) for q in self.queries)
        return sum(hits) / max(1, len(self.queries))


def draw(seed: int, kind: str, name: str, choices: Sequence[str]) -> str:
    """One of `choices`, uniformly, from a hash of (seed, kind, name): the same in any order and process."""
    digest = hashlib.blake2b(f"{seed}\t{kind}\t{name}".encode(), digest_size=8).digest()
    return choices[int.from_bytes(digest, "big") % len(choices)]


def sample_queries(collection: Collection, limit: int, seed: int = 0) -> list[str]:
    """A seeded sample of the judged queries, in the collection's order (all of them if there are no more).

    Queries that exist in every language come first. Languages that share no query with those before them, as in
    monolingual collections put together, are sampled for themselves.
    """
    judged = {q for by_query in collection.qrels.values() for q in by_query}
    chosen: list[str] = []
    seen: set[str] = set()
    for texts in collection.queries.values():
        ids = [q for q in texts if q in judged]
        if seen.isdisjoint(ids):
            kin = [other for other in collection.queries.values() if not set(ids).isdisjoint(other)]

            def order(q: str, kin: Sequence[Mapping[str, str]] = kin) -> tuple[bool, bytes]:
                return not all(q in other for other in kin), hashlib.blake2b(f"{seed}\t{q}".encode()).digest()

            kept = set(sorted(ids, key=order)[:limit])
            chosen += (q for q in ids if q in kept)
        seen.update(ids)
    return chosen


def make_task(
    collection: Collection,
    query_lang: str,
    doc_lang: str,
    protocol: str = "english",
    depth: int = 15,
    seed: int = 0,
    pool: Sequence[str] | None = None,
    given: Mapping[str, Run] | None = None,
) -> Task:
    """Builds the task of a language pair.

    Args:
        collection: queries and documents by language.
        query_lang: a language code, or a pool (`xx`, or `xx6`: its first six) for a language drawn per query.
        doc_lang: a language code, or a pool with a language drawn per document.
        protocol: "english" candidates for every language (the paper's), or the document language's "own".
        depth: candidates per query.
        seed: of the MLIR draws.
        pool: languages drawn from in MLIR (default: all that have queries and documents).
        given: published candidates by the language they were found in, in place of our BM25; a pool then holds only
            what they or the judgements name.

    Raises:
        CslabError: if the collection lacks a language, or no query has a judgement in this pair.
    """
    pool = list(pool or [c for c in collection.document_languages if c in collection.queries])
    for code, has in ((query_lang, collection.queries), (doc_lang, collection.documents)):
        if not is_pool(code) and code not in has:
            raise CslabError(f"collection {collection.name} has no '{code}'; it has {', '.join(has)}")
    queries, asked_in = _asked(collection, query_lang, pool, seed)
    judged = [collection.qrels[c] for c in (pool_of(doc_lang, pool) if is_pool(doc_lang) else [doc_lang])]
    if not any(q in rows for q in queries for rows in judged):
        raise CslabError(
            f"collection {collection.name}: no query in '{query_lang}' is judged on documents in '{doc_lang}'; "
            f"leave {query_lang}-{doc_lang} out of evaluation.pairs"
        )
    if is_pool(doc_lang):
        drawn_from = pool_of(doc_lang, pool)
        drawn = {did: draw(seed, "document", did, drawn_from) for did in _drawable(collection, given)}
        members = {did: [(code, d) for d in collection.counterparts(did, code)] for did, code in drawn.items()}
        made = _mixed(collection, (query_lang, doc_lang), protocol, depth, members, drawn_from, given)
        documents, qrels, run = made
    else:
        documents, qrels = collection.documents[doc_lang], collection.qrels[doc_lang]
        run = candidates(collection, query_lang, doc_lang, protocol, depth, given)
    queries = {q: text for q, text in queries.items() if q in qrels}
    return Task(
        query_lang, doc_lang, queries, documents, qrels, run, {q: asked_in[q] for q in queries if q in asked_in}
    )


def _asked(
    collection: Collection, query_lang: str, pool: Sequence[str], seed: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Queries by id and, where it is drawn, the language of each."""
    if not is_pool(query_lang):
        return dict(collection.queries[query_lang]), {}
    drawn_from = pool_of(query_lang, pool)
    codes = {q: draw(seed, "query", q, drawn_from) for q in next(iter(collection.queries.values()))}
    return {q: collection.queries[code][q] for q, code in codes.items()}, codes


def _drawable(collection: Collection, given: Mapping[str, Run] | None) -> Iterable[str]:
    """The English ids of a drawn pool: all, or those that published candidates and judgements name."""
    if not given:
        return collection.documents["en"]
    ranked = (found for run in given.values() for found in run.scores.values())
    judged = collection.qrels["en"].values()
    return dict.fromkeys(did for found in (*ranked, *judged) for did in found)


def make_parallel_task(
    collection: Collection, query_lang: str, pool: Sequence[str], protocol: str = "english", depth: int = 15
) -> Task:
    """Builds the task of a pool that holds every document in every language (2604.05684), for `fairness.py`.

    A query then has its relevant documents in all languages of the pool. Scores belong in a table of their own: the
    pair is written like that of a drawn pool, `en-xx`.

    Args:
        collection: queries and documents by language.
        query_lang: a language code.
        pool: languages of the documents.
        protocol: "english": the candidates are all versions of the first `depth` English documents, tied in score
            between languages; "own": the first `depth` of the languages' BM25 rankings, taken in turn.
        depth: see there.

    Raises:
        CslabError: if the collection lacks a language.
    """
    for code, has in ((query_lang, collection.queries), *((code, collection.documents) for code in pool)):
        if code not in has:
            raise CslabError(f"collection {collection.name} has no '{code}'; it has {', '.join(has)}")
    english = collection.documents["en"]
    members = {did: [(code, d) for code in pool for d in collection.counterparts(did, code)] for did in english}
    documents, qrels, run = _mixed(collection, (query_lang, MIXED), protocol, depth, members, pool)
    queries = {q: text for q, text in collection.queries[query_lang].items() if q in qrels}
    return Task(query_lang, MIXED, queries, documents, qrels, run)


# English id → its (language, id) in a pool
Members = Mapping[str, Sequence[tuple[str, str]]]


def _mixed(
    collection: Collection,
    pair: tuple[str, str],
    protocol: str,
    depth: int,
    members: Members,
    pool: Sequence[str],
    given: Mapping[str, Run] | None = None,
) -> tuple[dict[str, str], dict[str, dict[str, int]], Run]:
    """Documents, judgements and candidates of a pool."""
    held = {pair for pairs in members.values() for pair in pairs}
    documents = {f"{code}:{d}": collection.documents[code][d] for code, d in sorted(held)}
    qrels: dict[str, dict[str, int]] = {}
    for code in pool:
        for q, judged in collection.qrels[code].items():
            qrels.setdefault(q, {}).update({f"{code}:{d}": g for d, g in judged.items() if (code, d) in held})
    if protocol == "english":
        first = candidates(collection, "en", "en", "english", depth, given)
        scores = {q: _carry(ranked, members) for q, ranked in first.scores.items()}
    else:
        runs = {code: candidates(collection, code, code, "own", depth, given) for code in pool}
        first = next(iter(runs.values()))
        scores = {q: _interleave({c: r.ranking(q) for c, r in runs.items()}, held, depth) for q in first.scores}
    return documents, qrels, Run(first.name, *pair, first.first_stage, scores)


def _carry(ranked: Mapping[str, float], members: Members) -> dict[str, float]:
    carried: dict[str, float] = {}
    for did, score in ranked.items():
        for code, d in members[did]:
            carried[f"{code}:{d}"] = max(score, carried.get(f"{code}:{d}", score))
    return carried


def _interleave(rankings: Mapping[str, list[str]], held: set[tuple[str, str]], depth: int) -> dict[str, float]:
    """Rank by rank over the languages: BM25 scores of different languages do not compare."""
    kept = {code: [d for d in ranking if (code, d) in held] for code, ranking in rankings.items()}
    longest = max(map(len, kept.values()), default=0)
    order = [f"{code}:{ranking[i]}" for i in range(longest) for code, ranking in kept.items() if i < len(ranking)]
    return {d: 1.0 / (rank + 1) for rank, d in enumerate(order[:depth])}
