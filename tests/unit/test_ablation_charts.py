"""Charts of ablations draw what they are given."""

import pandas as pd

from cslab.evaluation.measures import COLUMNS
from cslab.workbench.ablation_charts import overlap_chart, variation_chart
from cslab.workbench.charts import figure


def test_gains_by_overlap_have_points_and_intervals():
    row = {"from": 0.0, "to": 0.1, "queries": 4, "overlap": 0.05, "value": 3.0, "low": 1.0, "high": 5.0}
    spec = overlap_chart(pd.DataFrame([row, row | {"overlap": 0.3}])).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rule", "rule", "line"]
    assert figure(overlap_chart(pd.DataFrame([row])), "Gain by overlap").png()[:4] == b"\x89PNG"


def test_variations_stand_in_a_panel_for_each_setting():
    rows = [(f"ML-CS p={p}", 1, kind, "en", "de", "q", "MRR@10", p) for p in (0.25, 1.0) for kind in ("MoIR", "CLIR")]
    spec = variation_chart(pd.DataFrame(rows, columns=COLUMNS)).to_dict()
    assert spec["facet"]["column"]["sort"] == ["MoIR", "CLIR"]
    assert spec["spec"]["encoding"]["y"]["sort"] == ["ML-CS p=0.25", "ML-CS p=1.0"]
