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
    title = f"{step.words} of {step.text.words} words changed · relevant document at rank {step.rank}"
    title += f" (was {before.rank}) · {step.rankings} model queries"
    text = html.switched_html(step.text, task.query_lang, title)
    sides = {"as asked": _ranking(task, found, qid, before, k)}
    return html.stack(text, html.columns(sides | {"as attacked": _ranking(task, found, qid, step, k)}))


def _ranking(task: Task, found: Attack, qid: str, step: Step, k: int) -> str:
    """The first k candidates and the first relevant one, wherever it is."""
    dids, relevant = found.candidates[qid], found.relevant[qid]
    order = sorted(range(len(dids)), key=lambda n: (step.scores[n], dids[n]), reverse=True)
    kept = [n for rank, n in enumerate(order, 1) if rank <= k or rank == step.rank]
    rows = []
    for n in kept:
        mark = ' <span class="cs-tag">relevant</span>' if relevant[n] else ""
        text = html.text_html(shorten(task.documents[dids[n]], 110), task.doc_lang)
        kind = ' class="cs-rel"' if relevant[n] else ""
        rows.append(
            f'<tr{kind}><td class="cs-n">{order.index(n) + 1}</td><td>{text}{mark}</td>'
            f'<td class="cs-n">{step.scores[n]:.2f}</td></tr>'
        )
    head = '<tr><th class="cs-n">rank</th><th>document</th><th class="cs-n">score</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def path_html(task: Task, found: Attack, qid: str) -> str:
    """All steps of an attack below one another: text, and a bar for where the relevant document stands."""
    steps, views, shown = found.steps[qid], [], set()
    for step in steps:
        if step.text.text not in shown:
            shown.add(step.text.text)
            views.append(html.switched_html(step.text, task.query_lang, legend=step is steps[-1]))
            label = f"{step.words} words changed: rank {step.rank} of {len(found.candidates[qid])}"
            views.append(html.bars_html([(label, step.rank / len(found.candidates[qid]), PALETTE[2])]))
    return html.stack(*views)


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
        first = next(iter(self.attacks.values()))
        most = max(1, len(next(iter(first.steps.values()))) - 1)
        self.ranker = field(w.Dropdown, "ranker", first.system, "22rem", options=list(self.attacks))
        self.query = field(w.Dropdown, "query", None, "40rem", options=self._picks(first.system))
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
        return f"{escape(self.ranker.value)}, {pair}, at most {self.words.value} words changed"

    def static(self) -> str:
        """Every step of the query, then the rankings at the last one."""
        path = path_html(self.task, self.attacks[self.ranker.value], self.query.value)
        return html.stack(path, super().static())


# --- charts --------------------------------------------------------------------------------------------------


def robust_curve(scores: pd.DataFrame, measure: str = "MRR@10", unit: str = "words changed") -> alt.TopLevelMixin:
    """Quality over the attack's budget, a line per ranker, each attacked by itself.

    Args:
        scores: `attack_scores` of several rankers, or `noise_scores`.
        measure: a measure of them; shown × 100.
        unit: of the budget.
    """
    table = curve(scores, measure)
    table = table[table["system"] == table["attacked"]]
    if table.empty:
        raise CslabError(f"robust_curve: no ranker is scored on its own attack by '{measure}'; attack it first")
    systems = list(dict.fromkeys(table["system"]))
    tones = alt.Scale(domain=systems, range=[PALETTE[i % len(PALETTE)] for i in range(len(systems))])
    whole = unit == "words changed"
    axis = alt.Axis(tickMinStep=1, format="d") if whole else alt.Axis()
    return alt.Chart(table, width=440, height=260).mark_line(point=True, strokeWidth=2).encode(
        x=alt.X("budget:Q", title=unit, axis=axis),
        y=alt.Y("value:Q", title=f"{measure} × 100", scale=alt.Scale(zero=True)),
        color=alt.Color("system:N", sort=systems, title=None, scale=tones),
        strokeDash=alt.StrokeDash("system:N", sort=systems, title=None, scale=alt.Scale(domain=systems)),
        tooltip=["system", "budget", alt.Tooltip("value:Q", format=".1f")],
    )  # fmt: skip


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
        y=alt.Y("system:N", sort=systems, title="read by"),
        tooltip=["system", "attacked", alt.Tooltip("lost:Q", format=".1f")],
    )
    scale = alt.Scale(domain=[0, max(1.0, float(lost["lost"].max()))], range=["#fdf6f0", "#e08a4b"])
    cells = base.mark_rect(stroke="white", strokeWidth=2).encode(
        color=alt.Color("lost:Q", title=f"{measure} lost", scale=scale)
    )
    return alt.layer(cells, base.mark_text(fontSize=12, color="black").encode(text="label:N"))


def gain_by_distance(table: pd.DataFrame, distance: str) -> alt.TopLevelMixin:
    """Mean gain of each test set and pair over one of its distances from the training text.

    Args:
        table: rows with `set`, `pair`, `gain` and the distance.
        distance: its column.
    """
    shown = table[["set", "pair", "gain", distance]].rename(columns={distance: "distance"}).dropna()
    sets = list(dict.fromkeys(shown["set"]))
    tones = alt.Scale(domain=sets, range=[PALETTE[i % len(PALETTE)] for i in range(len(sets))])
    points = alt.Chart(shown, width=420, height=260).mark_point(size=70, filled=True).encode(
        x=alt.X("distance:Q", title=distance, scale=alt.Scale(zero=False)),
        y=alt.Y("gain:Q", title="gain, × 100"),
        color=alt.Color("set:N", sort=sets, title=None, scale=tones),
        shape=alt.Shape("set:N", sort=sets, title=None, scale=alt.Scale(domain=sets)),
        tooltip=["set", "pair", alt.Tooltip("gain:Q", format=".1f"), alt.Tooltip("distance:Q", format=".2f")],
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"gain": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(y="gain:Q")
    return alt.layer(zero, points)
