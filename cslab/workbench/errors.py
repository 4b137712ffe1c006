"""The error explorer: which queries two systems rank differently, why one is missed, and what would have helped.

Pick languages and systems; the bars say how many queries were missed for which cause, and open them; the list is in the
order of the difference, and filters narrow it. The view shows both rankings side by side. Edit the query, or let a
policy switch its words, and both models score its candidates again.

    explorer = ErrorExplorer(experiment_of(lab), "en-de", "Zero-shot", "ML-CS")
    show(explorer, main=True)
    explorer.table, explorer.selected                     # what is listed and chosen, as frames
"""

from collections.abc import Sequence

import ipywidgets as w
import pandas as pd

from cslab.evaluation.breakdown import CAUSES
from cslab.languages import pair as split_pair
from cslab.store import CslabError
from cslab.switching.switch import Switched
from cslab.workbench import html
from cslab.workbench.cases import ORDERS, Experiment, cases, cause_table, ordered
from cslab.workbench.contrast import TONES, causes_html, causes_key, contrast_html, pair_name
from cslab.workbench.explorer import Explorer, field, folded, shorten
from cslab.workbench.filters import ANY, Filters
from cslab.workbench.style import language_name
from cslab.workbench.whatif import WhatIf

LISTED = 200  # most queries listed
SHOWN = 4  # queries that the static twin shows in full
NAMED = 4  # queries that it names for each cause


class ErrorExplorer(Explorer):
    """Two systems on one language pair, query by query; bars, filters and what-if around two rankings."""

    def __init__(
        self,
        experiment: Experiment,
        pair: str | None = None,
        first: str | None = None,
        second: str | None = None,
        k: int = 1,
        documents: int = 5,
    ) -> None:
        """Builds the widget.

        Args:
            experiment: what can be compared.
            pair: the language pair to begin with (default: the first).
            first, second: the systems to begin with (default: the first two of the pair).
            k: the rank up to which an answer counts as found.
            documents: shown of each ranking.

        Raises:
            CslabError: for a pair or system that the experiment does not have.
        """
        pair = pair or experiment.pairs[0]
        self.experiment = experiment
        names = list(dict.fromkeys(name for found in experiment.systems.values() for name in found))
        own = experiment.systems.get(pair, ())
        first = first or next(iter(own), None)
        second = second or next((name for name in own if name != first), first)
        for name in (first, second):
            experiment.check(pair, name)
        query, document = split_pair(pair)
        self.query_lang = field(w.Dropdown, "queries in", query, "15rem", options=self._languages(0))
        self.doc_lang = field(w.Dropdown, "documents in", document, "16rem", options=self._languages(1, query))
        self.first = field(w.Dropdown, "first", first, "14rem", options=names)
        self.second = field(w.Dropdown, "second", second, "14rem", options=names)
        self.order = field(w.Dropdown, "order", ORDERS[0], "17rem", options=ORDERS)
        self.k = field(w.BoundedIntText, "found up to rank", k, "12rem", min=1, max=1000)
        self.documents = field(w.BoundedIntText, "documents shown", documents, "12rem", min=1, max=50)
        self.bars = _Bars(self._open)
        self.filters, self.whatif = Filters(), WhatIf(experiment)
        self.query = w.Select(description="query", rows=7, layout=w.Layout(width="100%"),
                              style={"description_width": "3.5rem"})  # fmt: skip
        # JupyterLab keeps the arrow keys of a list for itself; Enter on a button it leaves alone.
        self.steps = [self._step(label, by) for label, by in (("previous query", -1), ("next query", 1))]
        self._fit()
        rows = [[self.query_lang, self.doc_lang, self.first, self.second], [self.order, self.k, self.documents]]
        super().__init__([*rows, [self.bars.box], [self.filters.box], [self.query], self.steps, [self.whatif.box]])

    def _languages(self, side: int, query: str | None = None) -> list[tuple[str, str]]:
        """Languages of one side; of documents, those evaluated with a query language."""
        found = [split_pair(pair) for pair in self.experiment.pairs]
        codes = dict.fromkeys(codes[side] for codes in found if query in (None, codes[0]))
        return [(language_name(code), code) for code in codes]

    def _step(self, label: str, by: int) -> w.Button:
        button = w.Button(description=label, tooltip=f"Shows the {label} of the list", layout=w.Layout(width="10rem"))
        button.on_click(lambda _: self.step(by))
        return button

    # --- state -----------------------------------------------------------------------------------------------

    @property
    def pair(self) -> str:
        """The chosen language pair."""
        return f"{self.query_lang.value}-{self.doc_lang.value}"

    @property
    def whole(self) -> pd.DataFrame:
        """All queries of the pair that both systems ranked (see `cases.cases`)."""
        chosen = (self.pair, self.first.value, self.second.value, self.k.value)
        return self.experiment.once(("cases", *chosen), lambda: cases(self.experiment, *chosen))

    @property
    def table(self) -> pd.DataFrame:
        """The queries that the filters let through, in the chosen order."""
        return ordered(self.filters.apply(self.whole), self.order.value)

    @property
    def selected(self) -> pd.DataFrame:
        """The row of the query that is shown (none if nothing is listed)."""
        return self.whole.loc[[self.query.value]] if self.query.value else self.whole.iloc[:0]

    def open(self, pair: str, first: str | None = None, second: str | None = None, cause: str = ANY) -> None:
        """Goes to a language pair, and perhaps to other systems and one cause of the second.

        Raises:
            CslabError: for a pair or system that was not evaluated.
        """
        first, second = first or self.first.value, second or self.second.value
        for name in (first, second):
            self.experiment.check(pair, name)
        self._reacting = True
        try:
            query, document = split_pair(pair)
            self.query_lang.value = query
            self.doc_lang.options = self._languages(1, query)
            self.doc_lang.value, self.first.value, self.second.value = document, first, second
            self._fit(cause)
        finally:
            self._reacting = False
        self.refresh()

    def step(self, by: int) -> None:
        """Goes to another query of the list, so many further down; stays at its ends."""
        listed = [qid for _, qid in self.query.options]
        if listed:
            self.query.value = listed[min(max(listed.index(self.query.value) + by, 0), len(listed) - 1)]

    def _open(self, pair: str, cause: str) -> None:
        """What a bar does: the queries that the second system missed for a cause."""
        try:
            self.open(pair, cause=cause)
        except CslabError as error:
            self.view.value = html.note_html(str(error), "error")

    def react(self, control: w.Widget) -> None:
        """Other languages or systems list other queries; another query comes as it was asked."""
        if control is self.query_lang:
            kept = self.doc_lang.value
            self.doc_lang.options = self._languages(1, self.query_lang.value)
            codes = [code for _, code in self.doc_lang.options]
            self.doc_lang.value = kept if kept in codes else codes[0]
        if control in (self.query_lang, self.doc_lang, self.first, self.second, self.k):
            self._fit()
        elif control not in (self.query, self.documents, *self.whatif.controls):
            self._fill()
        elif control is self.query:
            self._ask()
        elif control in self.whatif.controls:
            self.whatif.react(control)

    def _fit(self, cause: str = ANY) -> None:
        """Sets bars and filters to the pair and the systems; what cannot be compared is said in the view."""
        try:
            self.filters.fit(self.whole)
            self.bars.fill(cause_table(self.experiment, self.second.value, self.k.value), self.second.value)
        except CslabError:
            self.query.options = ()
            self.bars.fill(pd.DataFrame(columns=list(CAUSES)), self.second.value)
            return
        self.filters.which.value, self.filters.cause.value = "second", cause
        self._fill()

    def _fill(self) -> None:
        """Lists the queries: rank in the first and in the second system, and the text."""
        table = self.table
        texts = self.experiment.task(self.pair).queries
        rows = table.head(LISTED)[["first", "second"]].itertuples(name=None)
        self.query.options = [(f"{_rank(a):>3} → {_rank(b):<3}  {_isolated(texts[q])}", q) for q, a, b in rows]
        self.query.value = self.query.options[0][1] if self.query.options else None
        self._ask()

    def _ask(self) -> None:
        if self.query.value is not None:
            task = self.experiment.task(self.pair)
            qid = self.query.value
            self.whatif.ask(task.queries[qid], task.language_of("query", qid), qid)

    # --- view ------------------------------------------------------------------------------------------------

    def render(self) -> str:
        """The chosen query with both rankings, as asked or as edited."""
        for name in (self.first.value, self.second.value):
            self.experiment.check(self.pair, name)
        count = f'<div class="cs-muted">{len(self.table)} of {len(self.whole)} queries listed</div>'
        if self.query.value is None:
            return html.note_html("No query passes the filters; widen them.", "warning")
        return html.stack(count, self._contrast(self.query.value, self.whatif.change))

    def _contrast(self, qid: str, change: Switched | None = None) -> str:
        task, names = self.experiment.task(self.pair), dict.fromkeys([self.first.value, self.second.value])
        runs = {name: self.experiment.run(self.pair, name) for name in names}
        options = {"k": self.documents.value, "facts": self._facts(qid)}
        if change is None:
            return contrast_html(task, qid, runs, self.experiment.links, **options)
        after = self.whatif.scored(task, qid, runs, change)
        view = contrast_html(task, qid, after, self.experiment.links, change=change, **options)
        return html.stack(self.whatif.told(task, qid, runs, after), view)

    def _facts(self, qid: str) -> str:
        row = self.whole.loc[qid]
        stage = f"first-stage rank {row['stage']}" if pd.notna(row["stage"]) else "missed by the first stage"
        shares = f"{row['overlap']:.0%} of its words in the answer, lexicons know {row['coverage']:.0%}"
        return f"{row['words']} words, {shares} · {stage}"

    def settings(self) -> str:
        """Systems, languages, order and filters."""
        filters = self.filters.words()
        said = f"{self.first.value} and {self.second.value}, {pair_name(self.pair)}; queries: {self.order.value}"
        found = "first" if self.k.value == 1 else f"among the first {self.k.value}"
        return f"{said}; an answer is found if it is {found}{'; ' + filters if filters else ''}"

    def static(self) -> str:
        """Bars with the queries they stand for, the first of the listed queries, and one of them switched."""
        head = f'<div class="cs-muted">{html.escape(self.settings())}</div>'
        try:
            table = cause_table(self.experiment, self.second.value, self.k.value)
            caption = f"Why {self.second.value} misses: queries by cause"
            bars = causes_html(table, caption, self._named(list(table.index)))
            views = self._queries(list(self.table.index[:SHOWN]))
        except CslabError as error:
            return html.stack(head, html.note_html(str(error), "error"))
        return html.stack(head, bars, *views)

    def _queries(self, qids: Sequence[str]) -> list[str]:
        """Queries with both rankings, the first opened; that one also with its words switched, if models are there."""
        task = self.experiment.task(self.pair)
        views = [
            _folded(shorten(task.queries[qid], 90), self._contrast(qid, None if n else self.whatif.change), not n)
            for n, qid in enumerate(qids)
        ]
        policies = self.whatif.offers(task.language_of("query", qids[0])) if qids else []
        if policies:
            switched = self.whatif.switch(task.queries[qids[0]], qids[0], policies[0])
            title = f"What if the first of these were switched by {policies[0]}?"
            views.append(_folded(title, self._contrast(qids[0], switched)))
        return views

    def _named(self, pairs: Sequence[str]) -> dict[tuple[str, str], list[tuple[str, str]]]:
        """Some queries of each pair and cause, with their language."""
        found = {}
        for pair in pairs:
            task = self.experiment.task(pair)
            held = self.experiment.causes(pair, self.second.value, self.k.value)
            for cause in CAUSES[1:]:
                qids = held.index[held["cause"] == cause][:NAMED]
                found[pair, cause] = [(task.queries[qid], task.language_of("query", qid)) for qid in qids]
        return found


class _Bars:
    """A row of buttons for each language pair, as wide as the shares of their causes."""

    def __init__(self, opened) -> None:
        """Args: `opened`, called with (pair, cause) when a bar is pressed."""
        self.opened = opened
        self.drawn: tuple[str, pd.DataFrame] | None = None
        self.title = w.HTML()
        self.rows = w.VBox(layout=w.Layout(max_height="15rem", overflow="auto"))
        inner = w.VBox([self.title, self.rows, w.HTML(html.stack(causes_key()))])
        self.box = folded("Why queries are missed", inner, opened=True)

    def fill(self, table: pd.DataFrame, system: str) -> None:
        """Draws the bars of a system; those that are there already stay, so that the one pressed keeps the focus."""
        if self.drawn and self.drawn[0] == system and self.drawn[1].equals(table):
            return
        self.drawn = (system, table)
        self.title.value = html.stack(
            f'<div class="cs-muted">{html.escape(system)}: queries by cause; press a bar to list them</div>'
        )
        old = self.rows.children
        self.rows.children = [self._row(str(pair), counts) for pair, counts in table.iterrows()]
        for row in old:
            row.close()

    def _row(self, pair: str, counts: pd.Series) -> w.Widget:
        total, buttons = max(1, int(counts.sum())), []
        for cause, n in counts.items():
            if not n:
                continue
            layout = w.Layout(width=f"{100 * n / total:.2f}%", min_width="1.6rem", margin="0", height="1.6rem")
            style = {"button_color": TONES[cause], "text_color": "black"}
            shown = f"{pair_name(pair)}, {cause}: {n} of {total}"
            button = w.Button(description=str(n), tooltip=shown, layout=layout, style=style)
            button.on_click(lambda _, cause=cause: self.opened(pair, cause))
            buttons.append(button)
        label = w.Label(pair_name(pair), layout=w.Layout(width="15rem", flex="0 0 auto"))
        bar = w.HBox(buttons, layout=w.Layout(flex="1 1 auto", min_width="0"))
        return w.HBox([label, bar], layout=w.Layout(width="100%", flex="0 0 auto"))


def _folded(title: str, view: str, opened: bool = False) -> str:
    return f"<details{' open' * opened}><summary>{html.escape(title)}</summary>{html.bare(view)}</details>"


def _rank(value: object) -> str:
    return "–" if pd.isna(value) else str(value)


def _isolated(text: str) -> str:
    """A text whose direction does not turn that of what stands before it."""
    return f"\u2068{shorten(text, 110)}\u2069"
