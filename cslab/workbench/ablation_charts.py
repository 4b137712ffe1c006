"""Charts of ablations: gains by lexical overlap, and scores along the values of a setting.

Each takes a frame that `evaluation.breakdown` or a lab gives, and returns an Altair chart for `figure`.

    figure(overlap_chart(binned(gains)), "Gain of ML-CS over Zero-shot by lexical overlap")
    figure(variation_chart(lab.ablation("p"), "MRR@10"), "Means by setting and variation")
"""

import altair as alt
import pandas as pd

from cslab.evaluation.measures import SETTINGS, by_setting
from cslab.workbench.style import PALETTE


def overlap_chart(binned: pd.DataFrame, title: str = "gain × 100") -> alt.TopLevelMixin:
    """Means by lexical overlap with their intervals, as `evaluation.breakdown.binned` gives them."""
    base = alt.Chart(binned).encode(x=alt.X("overlap:Q", title="share of the query's words in the relevant document"))
    zero = alt.Chart(pd.DataFrame({"value": [0]})).mark_rule(strokeDash=[4, 4], color="#888888").encode(y="value:Q")
    bars = base.mark_rule(color=PALETTE[0]).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    points = base.mark_line(point={"color": PALETTE[0]}, color=PALETTE[0]).encode(
        y="value:Q", tooltip=["from", "to", "queries", alt.Tooltip("value:Q", format=".1f")]
    )
    return (zero + bars + points).properties(width=420, height=220)


def variation_chart(scores: pd.DataFrame, measure: str = "MRR@10") -> alt.TopLevelMixin:
    """Means × 100 of the systems of an ablation, a panel for each setting (MoIR, CLIR, MLIR)."""
    wide = by_setting(scores, measure)
    long = wide.reset_index().melt("system", var_name="setting", value_name="value")
    order = [kind for kind in SETTINGS if kind in wide]
    bars = alt.Chart(long).mark_bar(color=PALETTE[0]).encode(
        x=alt.X("value:Q", title=f"{measure} × 100"),
        y=alt.Y("system:N", sort=list(wide.index), title=None),
        tooltip=["system", "setting", alt.Tooltip("value:Q", format=".1f")],
    )  # fmt: skip
    return bars.properties(width=180).facet(column=alt.Column("setting:N", sort=order, title=None))
