"""Rankings of documents in many languages: is one language preferred, and are all versions of an answer found?

Reads runs over pools (MLIR), where a document id is `language:id`; writes rows of the tidy score table, one per query
with a relevant document, and a table of preference by language. A pool in which each document stands in one language
only has as a rule one relevant document per query: there PEER is always 1 and Max@R the rank of that document. The
pools of `settings.make_parallel_task` hold every document in every language.

Sources. PEER: 2405.00978; its abstract and the authors' program were at hand, the text of its definition was not.
Max@R and Complete@k: 2604.05684, from a published summary that quotes the formulas of Max@R; of Complete@k only the
name and its use were at hand.

    rows = score_fairness(run, task.qrels, system="ML-CS", seed=1, documents=len(task.documents))
    language_preference(run, task.qrels, k=10)
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from cslab.collections.trec import Run
from cslab.evaluation.measures import COLUMNS
from cslab.evaluation.significance import bootstrap_interval
from cslab.languages import MIXED, is_pool, setting
from cslab.store import CslabError

MEASURES = ("PEER@10", "Max@R", "Max@R(norm)", "Complete@10", "Preference@10")
_NAME = re.compile(r"(PEER|Complete|Preference)@([1-9]\d*)|(Max@R)|(Max@R\(norm\))")

Grades = Mapping[str, int]


def language_of(did: str) -> str:
    """The language of a document of a pool.

    >>> language_of("de:17:3")
    'de'
    """
    code, colon, rest = did.partition(":")
    if not (code and colon and rest):
        raise CslabError(f"document '{did}' names no language; ids in a pool are written language:id, such as de:{did}")
    return code


# --- measures of one ranking ---------------------------------------------------------------------------------


def peer(ranking: Sequence[str], grades: Grades, k: int = 10, weights: Mapping[int, float] | None = None) -> float:
    """Probability of equal expected rank at k: 1 where no language is preferred (2405.00978).

    For every grade, the Kruskal–Wallis test asks whether its documents have the same expected rank in all languages;
    PEER is the weighted mean of the p-values. Relevant documents that are not among the first k count as tied behind
    them. A grade seen in fewer than two languages has p = 1.

    The authors' program differs in two ways: it puts ranks in the whole list into the statistic where the test ranks
    the documents of a grade anew, and it lets a grade that a query lacks count as 0. Both agree where the documents of
    a grade stand together. The test compares means: with one document per language, p depends on their number only.

    Args:
        ranking: document ids, best first.
        grades: judgements of the query.
        k: how deep to look.
        weights: grade → weight (default: the same for every grade above 0). Grade 0 is that of all other documents.

    >>> round(peer(["en:1", "en:2", "en:3", "de:1", "de:2", "de:3"], dict.fromkeys(("en:1", "en:2", "en:3", "de:1",
    ...     "de:2", "de:3"), 1)), 4)       # H = 12/42 · (6²/3 + 15²/3) − 21 = 27/7
    0.0495
    """
    first = ranking[:k]
    missed = [d for d, grade in grades.items() if grade > 0 and d not in set(first)]
    groups: dict[int, dict[str, list[int]]] = {}
    for place, did in [*enumerate(first), *((len(first), d) for d in missed)]:
        groups.setdefault(max(0, grades.get(did, 0)), {}).setdefault(language_of(did), []).append(place)
    chosen = dict.fromkeys((g for g in groups if g > 0), 1.0) if weights is None else weights
    counted = {g: chosen[g] for g in groups if chosen.get(g, 0) > 0}
    if not counted:
        return math.nan
    return sum(w * _equal_ranks(list(groups[g].values())) for g, w in counted.items()) / sum(counted.values())


def _equal_ranks(groups: Sequence[Sequence[int]]) -> float:
    """p of the Kruskal–Wallis test; 1 for a single group or where all are tied."""
    if len(groups) < 2 or len({place for group in groups for place in group}) < 2:
        return 1.0
    return float(stats.kruskal(*groups).pvalue)


def max_rank(ranking: Sequence[str], grades: Grades, documents: int) -> int:
    """Max@R: how deep one must read to have seen every relevant document (2604.05684; lower is better).

    Relevant documents that a run does not hold are taken to stand at the very end of the pool.

    Args:
        ranking: document ids, best first.
        grades: judgements of the query.
        documents: size of the pool.

    >>> max_rank(["en:1", "en:2", "de:1"], {"en:1": 1, "de:1": 1}, documents=100)
    3
    """
    at = {did: rank for rank, did in enumerate(ranking, start=1)}
    return max(at.get(did, documents) for did, grade in grades.items() if grade > 0)


def max_rank_norm(ranking: Sequence[str], grades: Grades, documents: int) -> float:
    """Max@R on a logarithmic scale: 1 if the relevant documents R come first, 0 at the end of the pool D (2604.05684).

    (log |D| − log Max@R) / (log |D| − log |R|); the paper prints it ×100, as our tables do.

    >>> max_rank_norm(["en:1", "en:2", "en:3", "de:1"], {"en:1": 1, "de:1": 1}, documents=8)
    0.5
    """
    relevant = sum(grade > 0 for grade in grades.values())
    if relevant >= documents:
        return 1.0
    deepest = max_rank(ranking, grades, documents)
    return math.log(documents / deepest) / math.log(documents / relevant)


def complete(ranking: Sequence[str], grades: Grades, k: int = 10) -> float:
    """Complete@k: 1 if every relevant document is among the first k, else 0 (our reading of 2604.05684).

    >>> complete(["en:1", "en:2", "de:1"], {"en:1": 1, "de:1": 1}, k=2)
    0.0
    """
    return float({did for did, grade in grades.items() if grade > 0} <= set(ranking[:k]))


def preference(ranking: Sequence[str], grades: Grades, k: int = 10) -> dict[str, float]:
    """By language: its share of the first k less its share of the relevant documents (−1 to 1, in sum 0).

    >>> preference(["en:1", "en:2", "en:3", "de:1"], {"en:1": 1, "de:1": 1})
    {'en': 0.25, 'de': -0.25}
    """
    top, relevant = _shares(ranking[:k]), _shares([d for d, grade in grades.items() if grade > 0])
    return {code: top.get(code, 0.0) - relevant.get(code, 0.0) for code in dict.fromkeys([*top, *relevant])}


def _shares(dids: Sequence[str]) -> dict[str, float]:
    counts = Counter(map(language_of, dids))
    return {code: n / len(dids) for code, n in counts.items()}


# --- runs ----------------------------------------------------------------------------------------------------


def score_fairness(
    run: Run,
    qrels: Mapping[str, Grades],
    system: str,
    seed: int = 0,
    measures: Sequence[str] = MEASURES,
    qids: Iterable[str] | None = None,
    documents: int | None = None,
    weights: Mapping[int, float] | None = None,
) -> pd.DataFrame:
    """Scores every query of a run over a pool that has a relevant document.

    Args:
        run: a run whose documents are `language:id`.
        qrels: qid → did → grade.
        system: name for the table.
        seed: the system's training seed.
        measures: names such as those in `MEASURES`; `Preference@k` gives a row per language, `Preference@k(de)`.
        qids: the queries asked (default: those of the run).
        documents: size of the pool, needed by Max@R.
        weights: of the grades, for PEER.

    Returns:
        A frame with the columns of `measures.COLUMNS`. Max@R is a rank; the others lie in 0–1, preferences in −1–1.

    Raises:
        CslabError: for a run that is not over a pool, an unknown measure, or Max@R without the size of the pool.
    """
    if not is_pool(run.doc_lang):
        raise CslabError(f"run {run.name} is over '{run.doc_lang}' alone; these measures need a pool ('{MIXED}')")
    parsed = {name: _parse(name, documents) for name in measures}
    asked = [q for q in (qids if qids is not None else run.scores) if any(g > 0 for g in qrels.get(q, {}).values())]
    rankings = {q: run.ranking(q) if q in run.scores else [] for q in asked}
    met = {language_of(d) for q in asked for d in [*rankings[q], *qrels[q]]}
    found: list[tuple[str, str, float]] = []
    for q in asked:
        ranking, grades = rankings[q], qrels[q]
        for name, (kind, k) in parsed.items():
            if kind == "PEER":
                value = peer(ranking, grades, k, weights)
                found += [(q, name, value)] if not math.isnan(value) else []
            elif kind == "Complete":
                found.append((q, name, complete(ranking, grades, k)))
            elif kind == "Preference":
                gaps = preference(ranking, grades, k) if ranking else {}
                found += [(q, f"{name}({code})", gaps.get(code, 0.0)) for code in sorted(met) if ranking]
            else:
                deepest = max_rank if kind == "Max@R" else max_rank_norm
                found.append((q, name, float(deepest(ranking, grades, k))))
    head = (system, seed, setting(run.query_lang, run.doc_lang), run.query_lang, run.doc_lang)
    return pd.DataFrame([(*head, q, name, value) for q, name, value in found], columns=COLUMNS)


def _parse(name: str, documents: int | None) -> tuple[str, int]:
    """Kind of a measure and its number: the depth k or, for Max@R, the size of the pool."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise CslabError(f"measure '{name}' is not known; use PEER@k, Max@R, Max@R(norm), Complete@k or Preference@k")
    if match[1]:
        return match[1], int(match[2])
    if documents is None:
        raise CslabError(f"{name} needs the size of the pool; give documents=len(task.documents)")
    return name, documents


def language_preference(
    run: Run, qrels: Mapping[str, Grades], k: int = 10, qids: Iterable[str] | None = None
) -> pd.DataFrame:
    """Each language's share of the first k against its share of the relevant documents and of all candidates.

    Args:
        run: a run whose documents are `language:id`.
        qrels: qid → did → grade.
        k: how deep to look.
        qids: the queries asked (default: those of the run); those without results or relevant documents are left out.

    Returns:
        Rows by language, the most preferred first, ×100: `language, top, relevant, candidates`, `preference` (top less
        relevant), `low, high` (its 95 % bootstrap interval over queries), `queries`.

    Raises:
        CslabError: if no query has both results and a relevant document.
    """
    asked = [q for q in (qids if qids is not None else run.scores) if run.scores.get(q)]
    asked = [q for q in asked if any(g > 0 for g in qrels.get(q, {}).values())]
    if not asked:
        raise CslabError(f"run {run.name}: no query has both results and a relevant document; check the judgements")
    tops = [_shares(run.ranking(q, k)) for q in asked]
    relevant = [_shares([d for d, g in qrels[q].items() if g > 0]) for q in asked]
    offered = [_shares(list(run.scores[q])) for q in asked]
    rows = []
    for code in sorted({code for shares in (*offered, *relevant) for code in shares}):
        top, wanted, pool = (np.array([s.get(code, 0.0) for s in found]) for found in (tops, relevant, offered))
        low, high = bootstrap_interval(top - wanted)
        means = (top.mean(), wanted.mean(), pool.mean(), (top - wanted).mean(), low, high)
        rows.append((code, *(100 * value for value in means), len(asked)))
    columns = ["language", "top", "relevant", "candidates", "preference", "low", "high", "queries"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("preference", ascending=False, kind="stable").reset_index(drop=True)
