"""Tables of papers, made from the tidy score table.

Everything is ×100. What is returned is a frame; `formats.py` writes it as Markdown, LaTeX or CSV.

    print(to_latex(paper_table(scores, baseline="Zero-shot")))
    print(to_markdown(with_deviation(scores)))         # 24.0 ± 0.3 over seeds
"""

import pandas as pd

from cslab.evaluation.measures import SETTINGS, by_pair, by_setting, deviations, of_measure
from cslab.evaluation.significance import compare
from cslab.store import CslabError, nearest

CORRECTIONS = {"holm": "p_holm", "bonferroni": "p_bonferroni", "none": "p"}


def with_deviation(scores: pd.DataFrame, measure: str = "MRR@10", digits: int = 1) -> pd.DataFrame:
    """`by_setting` with the standard deviation over seeds (n − 1) as `24.0 ± 0.3`; a single seed has none."""
    means, spread = by_setting(scores, measure), deviations(scores, measure)

    def cell(system: str, kind: str) -> str | None:
        mean, deviation = means.loc[system, kind], spread.loc[system, kind]
        if pd.isna(mean):
            return None
        return f"{mean:.{digits}f}" + ("" if pd.isna(deviation) else f" ± {deviation:.{digits}f}")

    cells = {kind: [cell(system, kind) for system in means.index] for kind in means}
    return pd.DataFrame(cells, index=means.index, dtype=object)


def matrix(scores: pd.DataFrame, system: str, measure: str = "MRR@10") -> pd.DataFrame:
    """Query language (rows) × document language (columns): means of one system, missing where it was not scored."""
    _known(scores, system)
    table = by_pair(of_measure(scores, measure), measure)
    table = table[table["system"] == system]
    wide = table.pivot_table(index="query_lang", columns="doc_lang", values="value", sort=False)
    wide.columns.name = None
    return wide[list(dict.fromkeys(table["doc_lang"]))]


def paper_table(
    scores: pd.DataFrame,
    baseline: str | None = "Zero-shot",
    measure: str = "MRR@10",
    level: float = 0.05,
    correction: str = "bonferroni",
    digits: int = 1,
) -> pd.DataFrame:
    """Systems as rows, language pairs as columns, an average after each setting; marked where significant.

    An asterisk says that a system differs from the baseline on that pair (paired t-test on per-query values averaged
    over seeds, corrected over all systems and pairs of the table). A system that was not scored on every pair of a
    setting has no average there, since it would not compare.

    Args:
        scores: the tidy table.
        baseline: the system that others are tested against; None for no tests.
        measure: a measure of the table.
        level: of significance.
        correction: "bonferroni" (the paper's), "holm" or "none".
        digits: decimals.

    Raises:
        CslabError: for an unknown baseline, measure or correction.
    """
    if correction not in CORRECTIONS:
        raise CslabError(f"correction '{correction}' is not known; {nearest(correction, list(CORRECTIONS))}")
    if baseline is not None:
        _known(scores, baseline)
    table = by_pair(scores, measure)
    marked = _marked(scores, baseline, measure, level, CORRECTIONS[correction])
    columns: dict[str, dict[str, str]] = {}
    for kind in (s for s in SETTINGS if s in set(table["setting"])):
        part = table[table["setting"] == kind].pivot_table(index="system", columns="pair", values="value", sort=False)
        for pair, values in part.items():
            columns[str(pair)] = {
                s: f"{v:.{digits}f}" + "*" * ((s, pair) in marked) for s, v in values.items() if pd.notna(v)
            }
        whole = part.dropna().mean(axis=1)
        columns[f"{kind} avg"] = {s: f"{v:.{digits}f}" for s, v in whole.items()}
    systems = pd.Index(list(dict.fromkeys(table["system"])), name="system")
    return pd.DataFrame({c: [cells.get(s) for s in systems] for c, cells in columns.items()}, systems, dtype=object)


def _marked(scores: pd.DataFrame, baseline: str | None, measure: str, level: float, column: str):
    """The (system, pair) that differ from the baseline."""
    found = compare(scores, baseline, measure, rounds=0) if baseline is not None else pd.DataFrame()
    if found.empty:
        return set()
    sure = found[found[column] < level]
    return set(zip(sure["system"], sure["pair"], strict=True))


def _known(scores: pd.DataFrame, system: str) -> None:
    systems = list(dict.fromkeys(scores["system"]))
    if system not in systems:
        raise CslabError(f"the scores have no system '{system}'; {nearest(system, systems)}")
