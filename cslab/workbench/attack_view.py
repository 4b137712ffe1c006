"""An attack one can watch: the query changing word by word, and the relevant document falling.

From an `Attack` (or several rankers' attacks on the same queries) to HTML and charts; the explorer has a slider for the
words changed, and its static twin shows every step below the other.

    show(AttackExplorer(made.task, made.found))
    figure(robust_curve(made.scores), "MRR@10 by words changed")
"""

from collections.abc import Mapping

import ipywidgets as w
import pandas as pd

from cslab.evaluation.attacks import Attack, Step, curve
from cslab.evaluation.settings import Task
from cslab.robustness import words_text
from cslab.store import CslabError
from cslab.workbench import html
from cslab.workbench.explorer import Explorer, field, shorten
from cslab.workbench.imports import quick_schemas
from cslab.workbench.style import PALETTE, escape, language_name

with quick_schemas():
    import altair as alt


# --- views ---------------------------------------------------------------------------------------------------


def falls(found: Attack) -> list[str]:
    """Query ids, those first whose relevant document falls furthest, in ranks and then in loss."""

    def key(q: str) -> tuple[float, float]:
        steps = found.steps[q]
        return steps[0].rank - steps[-1].rank, steps[0].loss - steps[-1].loss

    return sorted((q for q, steps in found.steps.items() if steps[0].rank), key=key)


def step_html(task: Task, found: Attack, qid: str, words: int, k: int = 5) -> str:
    """A query with so many words changed, and what the ranker makes of it, beside what it made of the original.

    Raises:
        CslabError: for a query that was not attacked.
    """
    if qid not in found.steps:
        raise CslabError(f"the attack holds no query '{qid}'; take one of its steps")
    steps = found.steps[qid]
    step, before = steps[min(words, len(steps) - 1)], steps[0]
    title = f"{step.words} of {words_text(step.text.words)} changed · relevant document at rank {step.rank}"
    title += f" (was {before.rank}) · {step.rankings} model queries"
    return html.stack(html.switched_html(step.text, task.query_lang, title), _rankings(task, found, qid, step, k))


def _rankings(task: Task, found: Attack, qid: str, step: Step, k: int) -> str:
    """What a ranker makes of a query as it was asked, and beside it at a step of the attack."""
    sides = {"as asked": found.steps[qid][0], "as attacked": step}
    return html.columns({name: _ranking(task, found, qid, shown, k) for name, shown in sides.items()})


def _ranking(task: Task, found: Attack, qid: str, step: Step, k: int) -> str:
    """The first k candidates and the first relevant one, wherever it is."""
    dids, relevant = found.candidates[qid], found.relevant[qid]
    order = sorted(range(len(dids)), key=lambda n: (step.scores[n], dids[n]), reverse=True)
    kept = [n for rank, n in enumerate(order, 1) if rank <= k or rank == step.rank]
    rows = []
    for n in kept:
        mark = ' <span class="cs-tag">relevant</span>' if relevant[n] else ""
        text = html.text_html(shorten(task.documents[dids[n]], 180), task.doc_lang)
        kind = ' class="cs-rel"' if relevant[n] else ""
        rows.append(
            f'<tr{kind}><td class="cs-n">{order.index(n) + 1}</td><td>{text}{mark}</td>'
            f'<td class="cs-n">{step.scores[n]:.2f}</td></tr>'
        )
    head = '<tr><th class="cs-n">rank</th><th>document</th><th class="cs-n">score</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def path_html(task: Task, found: Attack, qid: str, k: int = 5) -> str:
    """All steps of an attack below one another, and what the ranker makes of the last."""
    steps, count = found.steps[qid], len(found.candidates[qid])
    views = {
        step.text.text: html.switched_html(
            step.text,
            task.query_lang,
            f"{words_text(step.words)} changed: relevant document at rank {step.rank} of {count}",
            legend=step is steps[-1],
        )
        for step in steps
    }
    return html.stack(*views.values(), _rankings(task, found, qid, steps[-1], k))


class AttackExplorer(Explorer):
    """Watch an attack: pick a ranker and a query, and move the slider from word to word."""

    def __init__(self, task: Task, attacks: Mapping[str, Attack], words: int = 0) -> None:
        """Builds the widget.

        Args:
            task: what was attacked.
            attacks: ranker → attack.
            words: words changed at first; 0 for as many as there are.
        """
        if not attacks:
            raise CslabError("AttackExplorer: give at least one attack")
        self.task, self.attacks = task, dict(attacks)
        ranker, first = next(iter(self.attacks.items()))
        most = max(1, len(next(iter(first.steps.values()))) - 1)
        self.ranker = field(w.Dropdown, "ranker", ranker, "22rem", options=list(self.attacks))
        self.query = field(w.Dropdown, "query", None, "40rem", options=self._picks(ranker))
        options = {"min": 0, "max": most, "continuous_update": False}
        self.words = field(w.IntSlider, "words changed", words or most, "22rem", **options)
        self.query.value = falls(first)[0]
        super().__init__([[self.ranker, self.words], [self.query]])

    def _picks(self, system: str) -> list[tuple[str, str]]:
        found = self.attacks[system]
        listed = []
        for q in falls(found):
            steps = found.steps[q]
            listed.append((f"{steps[0].rank} → {steps[-1].rank}  {shorten(steps[0].text.text)}", q))
        if not listed:
            raise CslabError("AttackExplorer: no query has a relevant document among its candidates; attack others")
        return listed

    def react(self, control: w.Widget) -> None:
        """Another ranker falls on other queries."""
        if control is self.ranker:
            held, self.query.options = self.query.value, self._picks(self.ranker.value)
            self.query.value = held

    def render(self) -> str:
        """The query and the rankings at the slider's number of words."""
        return step_html(self.task, self.attacks[self.ranker.value], self.query.value, self.words.value)

    def settings(self) -> str:
        """Ranker, languages and words changed."""
        pair = f"{language_name(self.task.query_lang)} → {language_name(self.task.doc_lang)}"
        return f"{self.ranker.value}, {pair}, at most {self.words.value} words changed"

    def static(self) -> str:
        """Every step of the query, then the rankings at the last one."""
        path = path_html(self.task, self.attacks[self.ranker.value], self.query.value)
        return html.stack(f'<div class="cs-muted">{escape(self.settings())}</div>', path)


# --- charts --------------------------------------------------------------------------------------------------


def robust_curve(scores: pd.DataFrame, measure: str = "MRR@10", unit: str = "words changed") -> alt.TopLevelMixin:
    """Quality over the attack's budget, a line per system, each attacked by itself.

    Systems trained by a robust method (`ML-CS+fgm`) stand in one panel with their condition's others.

    Args:
        scores: `attack_scores` of several systems, or `noise_scores`.
        measure: a measure of them; shown × 100.
        unit: of the budget.
    """
    table = curve(scores, measure)
    table = table[table["system"] == table["attacked"]]
    if table.empty:
        raise CslabError(f"robust_curve: no ranker is scored on its own attack by '{measure}'; attack it first")
    # `ML-CS + teacher+fgm`: a condition may have a plus in its name, with blanks around it.
    parts = table["system"].str.extract(r"^(.*?)(?:\+(?! )(.*))?$").fillna("")
    panels = table.groupby(parts[0])["system"].nunique().max() > 1
    methods = parts[1].replace("", "plain")
    if set(methods.str.rpartition("+")[2]) == {"vocab"}:  # what all have says nothing
        methods = methods.str.removesuffix("vocab").str.removesuffix("+").replace("", "plain")
    table = table.assign(panel=parts[0], line=methods if panels else table["system"])
    lines = list(dict.fromkeys(table["line"]))
    tones = alt.Scale(domain=lines, range=[PALETTE[i % len(PALETTE)] for i in range(len(lines))])
    axis = alt.Axis(values=sorted(set(table["budget"])), format="~g")
    chart = alt.Chart(table, width=300 if panels else 440, height=260).mark_line(point=True, strokeWidth=2).encode(
        x=alt.X("budget:Q", title=unit, axis=axis),
        y=alt.Y("value:Q", title=f"{measure} × 100", scale=alt.Scale(zero=True)),
        color=alt.Color("line:N", sort=lines, title=None, scale=tones),
        strokeDash=alt.StrokeDash("line:N", sort=lines, title=None, scale=alt.Scale(domain=lines)),
        tooltip=["system", "budget", alt.Tooltip("value:Q", format=".1f")],
    )  # fmt: skip
    column = alt.Column("panel:N", title=None, sort=list(dict.fromkeys(parts[0])))
    return chart.facet(column=column) if panels else chart


def transfer_map(scores: pd.DataFrame, measure: str = "MRR@10") -> alt.TopLevelMixin:
    """What is lost at the full budget: rows read the texts that were found on the ranker of the column."""
    table = curve(scores, measure)
    keys = ["system", "attacked"]
    start = table[table["budget"] == table["budget"].min()].set_index(keys)["value"]
    end = table[table["budget"] == table["budget"].max()].set_index(keys)["value"]
    lost = (start - end).rename("lost").reset_index()
    systems = list(dict.fromkeys(lost["system"]))
    lost["label"] = lost["lost"].map("{:.1f}".format)
    base = alt.Chart(lost, width=alt.Step(72), height=alt.Step(34)).encode(
        x=alt.X("attacked:N", sort=systems, title="texts found on", axis=alt.Axis(labelAngle=-35)),
        y=alt.Y("system:N", sort=systems, title="read by", axis=alt.Axis(maxExtent=300)),
        tooltip=["system", "attacked", alt.Tooltip("lost:Q", format=".1f")],
    )
    scale = alt.Scale(domain=[0, max(1.0, float(lost["lost"].max()))], range=["#fdf6f0", "#e08a4b"])
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(
        color=alt.Color("lost:Q", title=f"{measure} lost", scale=scale)
    )
    return alt.layer(cells, base.mark_text(fontSize=12, color="black").encode(text="label:N"))
