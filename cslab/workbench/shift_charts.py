"""Charts of domain shift: gains on each collection, and over its distance from the training text.

From the tables of `cslab.domain_shift` to Altair charts; writes nothing.

    figure(gain_intervals(gain_table(scores, ["ML-CS"], "Zero-shot")), "gain over Zero-shot on each collection")
"""

import pandas as pd

from cslab.store import CslabError
from cslab.workbench.imports import quick_schemas
from cslab.workbench.style import PALETTE

with quick_schemas():
    import altair as alt


def gain_intervals(table: pd.DataFrame) -> alt.TopLevelMixin:
    """Gains of systems with their intervals, a panel per setting, a mark per collection.

    Args:
        table: rows of `gain_table`.
    """
    if table.empty:
        raise CslabError("gain_intervals: no gains to draw; give systems that differ from the baseline")
    sets, systems = list(dict.fromkeys(table["set"])), list(dict.fromkeys(table["system"]))
    colour = alt.Color("set:N", sort=sets, title=None, scale=_tones(sets))
    place = alt.YOffset("set:N", sort=sets)
    rows = alt.Y("system:N", sort=systems, title=None)
    points = alt.Chart().mark_point(size=60, filled=True, opacity=1).encode(
        x=alt.X("gain:Q", title="gain × 100"), y=rows, yOffset=place, color=colour,
        shape=alt.Shape("set:N", sort=sets, title=None, scale=alt.Scale(domain=sets)),
        tooltip=["system", "set", "setting", "queries", *(alt.Tooltip(f"{c}:Q", format=".1f") for c in _SPAN)],
    )  # fmt: skip
    spans = alt.Chart().mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=rows, yOffset=place, color=colour)
    zero = alt.Chart().mark_rule(strokeDash=[4, 4], color="#808080").encode(x=alt.datum(0))
    layers = alt.layer(zero, spans, points, data=table).properties(width=250, height=alt.Step(16))
    kinds = [kind for kind in ("MoIR", "CLIR", "MLIR") if kind in set(table["setting"])]
    return layers.facet(column=alt.Column("setting:N", title=None, sort=kinds))


_SPAN = ("gain", "low", "high")


def gain_by_distance(table: pd.DataFrame, distance: str) -> alt.TopLevelMixin:
    """Mean gain of each test set and pair over one of its distances from the training text.

    Args:
        table: rows with `set`, `pair`, `gain` and the distance.
        distance: its column.
    """
    shown = table[["set", "pair", "gain", distance]].rename(columns={distance: "distance"}).dropna()
    sets = list(dict.fromkeys(shown["set"]))
    points = alt.Chart(shown, width=420, height=260).mark_point(size=70, filled=True).encode(
        x=alt.X("distance:Q", title=distance, scale=alt.Scale(zero=False)),
        y=alt.Y("gain:Q", title="gain, × 100"),
        color=alt.Color("set:N", sort=sets, title=None, scale=_tones(sets)),
        shape=alt.Shape("set:N", sort=sets, title=None, scale=alt.Scale(domain=sets)),
        tooltip=["set", "pair", alt.Tooltip("gain:Q", format=".1f"), alt.Tooltip("distance:Q", format=".2f")],
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"gain": [0.0]})).mark_rule(strokeDash=[4, 4]).encode(y="gain:Q")
    return alt.layer(zero, points)


def _tones(sets: list[str]) -> alt.Scale:
    return alt.Scale(domain=sets, range=[PALETTE[i % len(PALETTE)] for i in range(len(sets))])
