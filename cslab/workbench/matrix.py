"""The matrix view: one system on every pair of languages, or what it gains over another, with marks of significance.

Reads the tidy score table. A cell is a button: it opens the pair in an error explorer. The static twin is a table with
the same numbers.

    explorer = ErrorExplorer(experiment_of(lab))
    show(MatrixExplorer(lab.scores(), "ML-CS", "Zero-shot", errors=explorer))
    show(explorer)
"""

from collections.abc import Sequence

import ipywidgets as w
import pandas as pd

from cslab.evaluation.measures import RANKS, by_pair
from cslab.evaluation.significance import compare
from cslab.languages import is_pool
from cslab.store import CslabError, nearest
from cslab.workbench import html
from cslab.workbench.contrast import pair_name
from cslab.workbench.errors import ErrorExplorer
from cslab.workbench.explorer import Explorer, field
from cslab.workbench.style import language_name

NOTHING = "no other system"
LOW, HIGH = "#f2f7fc", "#4a97c9"  # up to a middle blue only: black numbers stay readable
LOSS, SAME, GAIN = "#998ec3", "#f7f7f7", "#f1a340"  # purple and orange, told apart by colour-blind readers, too
LEVEL = 0.05


def cells(scores: pd.DataFrame, system: str, baseline: str | None = None, measure: str = "MRR@10") -> pd.DataFrame:
    """The cells of the matrix of a system, or of its difference to a baseline.

    Args:
        scores: the tidy table.
        system: a system of it.
        baseline: another one; None for the system's own values.
        measure: a measure of the table; values are ×100.

    Returns:
        Index `pair`; columns `value`, `queries`, `mark` (a star where the paired t-test, Holm-corrected over the cells,
        is below 0.05) and `p` (missing without a baseline).

    Raises:
        CslabError: for a system or measure that the table does not have, or two systems that share no pair.
    """
    known = list(dict.fromkeys(scores["system"]))
    for name in (system, *([baseline] if baseline else [])):
        if name not in known:
            raise CslabError(f"the scores have no system '{name}'; {nearest(name, known)}")
    if baseline is None or baseline == system:
        table = by_pair(scores[scores["system"] == system], measure).set_index("pair")
        return table[["value", "queries"]].assign(mark="", p=float("nan"))
    found = compare(scores[scores["system"].isin([system, baseline])], baseline, measure, rounds=0)
    if found.empty:
        raise CslabError(f"{system} and {baseline} were scored on no common pair; choose another system")
    table = found.set_index("pair").rename(columns={"difference": "value", "p_holm": "adjusted"})
    table["mark"] = (table["adjusted"] < LEVEL).map({True: "*", False: ""})
    value = table["value"] / 100 if measure in RANKS else table["value"]
    return table.assign(value=value, p=table["adjusted"])[["value", "queries", "mark", "p"]]


def languages(pairs: Sequence[str], side: int) -> list[str]:
    """The languages of one side of the pairs in their order, pools last."""
    found = list(dict.fromkeys(pair.split("-")[side] for pair in pairs))
    return sorted(found, key=is_pool)


def label(row: pd.Series, signed: bool) -> str:
    """The number that a cell shows."""
    return f"{row['value']:+.1f}{row['mark']}" if signed else f"{row['value']:.1f}"


def shade(value: float, table: pd.DataFrame, signed: bool) -> str:
    """The colour of a value among those of its table.

    >>> table = pd.DataFrame({"value": [-10.0, 0.0, 5.0]})
    >>> shade(0.0, table, True), shade(-10.0, table, True), shade(5.0, table, False)
    ('#f7f7f7', '#998ec3', '#4a97c9')
    """
    if signed:
        most = max(1.0, float(table["value"].abs().max()))
        return _mix(SAME, GAIN if value > 0 else LOSS, abs(value) / most)
    low, high = float(table["value"].min()), float(table["value"].max())
    return _mix(LOW, HIGH, (value - low) / max(high - low, 1e-9))


def _mix(one: str, other: str, share: float) -> str:
    parts = [[int(tone[i : i + 2], 16) for i in (1, 3, 5)] for tone in (one, other)]
    mixed = (round(a + share * (b - a)) for a, b in zip(*parts, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def matrix_html(table: pd.DataFrame, caption: str, signed: bool) -> str:
    """The cells as a table, query languages as rows.

    Args:
        table: `cells`.
        caption: what the numbers are.
        signed: whether they are differences.
    """
    asked, told = languages(list(table.index), 0), languages(list(table.index), 1)
    head = "".join(f'<th scope="col" class="cs-n">{html.escape(language_name(code))}</th>' for code in told)
    body = ""
    for query in asked:
        row = f'<th scope="row">{html.escape(language_name(query))}</th>'
        for document in told:
            row += _cell(table, f"{query}-{document}", signed)
        body += f"<tr>{row}</tr>"
    corner = '<th class="cs-muted">query \\ document</th>'
    table = f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table>"
    return html.stack(f'<div class="cs-head">{html.escape(caption)}</div>', f'<div class="cs-scroll">{table}</div>')


def _cell(table: pd.DataFrame, pair: str, signed: bool) -> str:
    if pair not in table.index:
        return '<td class="cs-n cs-muted">–</td>'
    row = table.loc[pair]
    hover = html.escape(told(row, pair, signed))
    style = f"background:{shade(row['value'], table, signed)};color:#000"
    return f'<td class="cs-n" style="{style}" title="{hover}">{html.escape(label(row, signed))}</td>'


def told(row: pd.Series, pair: str, signed: bool) -> str:
    """A cell in words."""
    p = f", p = {row['p']:.2g} (Holm)" if signed else ""
    return f"{pair_name(pair)}: {label(row, signed)}{p}, {row['queries']} queries"


class MatrixExplorer(Explorer):
    """Language pairs as a grid of buttons, as bright as the values; each opens its queries."""

    def __init__(
        self,
        scores: pd.DataFrame,
        system: str | None = None,
        baseline: str | None = None,
        measure: str | None = None,
        errors: ErrorExplorer | None = None,
    ) -> None:
        """Builds the widget.

        Args:
            scores: the tidy table.
            system: shown first (default: the first of the table).
            baseline: the system that it is compared with; None shows the values themselves.
            measure: shown first (default: the first of the table).
            errors: an explorer that cells open.

        Raises:
            CslabError: for a table without rows, or names that it does not have.
        """
        if scores.empty:
            raise CslabError("MatrixExplorer: the score table has no row; score a run first")
        self.scores, self.errors, self.pressed = scores, errors, ""
        systems, measures = (list(dict.fromkeys(scores[column])) for column in ("system", "measure"))
        system, measure = system or systems[0], measure or measures[0]
        cells(scores, system, baseline, measure)
        self.system = field(w.Dropdown, "system", system, "18rem", options=systems)
        others = [NOTHING, *systems]
        self.baseline = field(w.Dropdown, "compared with", baseline or NOTHING, "22rem", options=others)
        self.measure = field(w.Dropdown, "measure", measure, "14rem", options=measures)
        self.grid = w.GridBox(layout=w.Layout(grid_gap="2px", margin="6px 0", overflow="auto"))
        super().__init__([[self.system, self.baseline, self.measure], [self.grid]])

    @property
    def signed(self) -> bool:
        """Whether differences are shown."""
        return self.baseline.value not in (NOTHING, self.system.value)

    @property
    def table(self) -> pd.DataFrame:
        """The cells that are shown."""
        return cells(self.scores, self.system.value, self.baseline.value if self.signed else None, self.measure.value)

    def react(self, control: w.Widget) -> None:
        """Other numbers: no cell is chosen any more."""
        self.pressed = ""

    def press(self, pair: str) -> None:
        """What a cell does: opens its pair in the error explorer, and says its numbers below the grid."""
        self.pressed = pair
        if self.errors is not None:
            try:
                self.errors.open(pair, self.baseline.value if self.signed else None, self.system.value)
            except CslabError as error:
                self.view.value = html.note_html(str(error), "error")
                return
        self.view.value = self._said()

    def render(self) -> str:
        """Fills the grid; gives the line below it."""
        old, self.grid.children = self.grid.children, ()
        for widget in old:
            widget.close()
        table = self.table
        asked, answered = languages(list(table.index), 0), languages(list(table.index), 1)
        self.grid.layout.grid_template_columns = f"8rem repeat({len(answered)}, minmax(4.2rem, 7.5rem))"
        found: list[w.Widget] = [w.Label("query \\ document"), *(w.Label(language_name(code)) for code in answered)]
        for query in asked:
            found.append(w.Label(language_name(query)))
            found += [self._button(table, f"{query}-{document}") for document in answered]
        self.grid.children = found
        return self._said()

    def _button(self, table: pd.DataFrame, pair: str) -> w.Widget:
        layout = w.Layout(width="auto", height="2.1rem", margin="0")
        if pair not in table.index:
            return w.Button(description="–", disabled=True, tooltip=f"{pair_name(pair)} was not scored", layout=layout)
        row = table.loc[pair]
        style = {"button_color": shade(row["value"], table, self.signed), "text_color": "black"}
        shown = label(row, self.signed)
        button = w.Button(description=shown, tooltip=told(row, pair, self.signed), layout=layout, style=style)
        button.on_click(lambda _: self.press(pair))
        return button

    def _said(self) -> str:
        opened = ", opened in the error explorer" if self.errors is not None else ""
        said = f"{told(self.table.loc[self.pressed], self.pressed, self.signed)}{opened}. " if self.pressed else ""
        return html.stack(f'<div class="cs-muted">{html.escape(said + self.settings())}</div>')

    def settings(self) -> str:
        """What the numbers are."""
        measure = self.measure.value + (" × 100" if self.measure.value not in RANKS else "")
        if not self.signed:
            return f"{measure} of {self.system.value}"
        star = f"* where p < {LEVEL:g} (paired t-test over queries, Holm)"
        return f"{measure}: {self.system.value} less {self.baseline.value}; {star}"

    def static(self) -> str:
        """The grid as a table."""
        try:
            return matrix_html(self.table, self.settings(), self.signed)
        except CslabError as error:
            return html.note_html(str(error), "error")
