"""Charts: aggregated before drawing, drawn without a network, with a text alternative."""

import base64
import json
import subprocess
import sys

import altair as alt
import numpy as np
import pandas as pd
import pytest

from cslab.evaluation.measures import COLUMNS
from cslab.languages import setting
from cslab.store import CslabError
from cslab.workbench import charts


def tidy(systems=("Zero-shot", "ML-CS"), pairs=("en-en", "en-de", "de-ar", "xx-xx"), queries=40):
    generator, rows = np.random.default_rng(0), []
    for number, system in enumerate(systems):
        for pair in pairs:
            query, document = pair.split("-")
            for q in range(queries):
                value = float(np.clip(0.2 + 0.2 * number + 0.1 * generator.standard_normal(), 0, 1))
                rows.append((system, 1, setting(query, document), query, document, f"q{q}", "MRR@10", value))
    return pd.DataFrame(rows, columns=COLUMNS)


TALLY = [
    {"side": side, "language": code, "requested": 0.5, "coverage": 0.6, "drawn": 50, "switched": 15, "realised": 0.1}
    for side in ("query", "document")
    for code in ("de", "ar")
]
CHARTS = {
    "heat map": lambda: charts.heat_map(tidy(), "ML-CS"),
    "two heat maps": lambda: charts.heat_map(tidy(), ["Zero-shot", "ML-CS"]),
    "difference": lambda: charts.difference_map(tidy(), "ML-CS", "Zero-shot"),
    "bars": lambda: charts.settings_bars(tidy()),
    "switching": lambda: charts.realised_share_chart(TALLY),
    "coverage": lambda: charts.coverage_chart(pd.DataFrame({"language": ["de"], "tokens": [0.5], "types": [0.25]})),
    "training": lambda: charts.training_curve({"a": [{"step": s, "loss": 1 / s} for s in range(1, 2000)]}),
}


def values_of(chart) -> list[dict]:
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_small_and_draws(name):
    chart = CHARTS[name]()
    assert len(values_of(chart)) <= 160
    png = charts.figure(chart, name).png()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(png) < 400_000


def test_heat_map_holds_the_means_of_the_pairs():
    scores = tidy()
    found = {(r["query"], r["document"]): r for r in values_of(charts.heat_map(scores, "ML-CS"))}
    rows = scores[(scores["system"] == "ML-CS") & (scores["doc_lang"] == "de")]
    assert found["English", "German"]["value"] == pytest.approx(100 * rows["value"].mean())
    assert found["many languages", "many languages"]["queries"] == 40
    assert len(found) == 4


def test_the_difference_is_signed_and_starred():
    rows = values_of(charts.difference_map(tidy(), "ML-CS", "Zero-shot"))
    assert all(row["label"].startswith("+") and row["label"].endswith("*") for row in rows)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(CslabError, match="did you mean 'ML-CS'"):
        charts.heat_map(tidy(), "ML-SC")
    with pytest.raises(CslabError, match="did you mean 'MRR@10'"):
        charts.heat_map(tidy(), "ML-CS", "MRR@1")
    with pytest.raises(CslabError, match="caption is empty"):
        charts.figure(charts.heat_map(tidy(), "ML-CS"), " ")
    with pytest.raises(CslabError, match="log is empty"):
        charts.training_curve({"a": []})


def test_bars_leave_out_what_was_scored_on_some_pairs_only():
    scores = pd.concat([tidy(), tidy(("BL-CS",), ("en-de",))])
    assert {row["system"] for row in values_of(charts.settings_bars(scores))} == {"Zero-shot", "ML-CS"}


def test_long_logs_are_averaged():
    rows = values_of(charts.training_curve({"a": [{"step": s, "loss": 2.0} for s in range(1, 1501)]}))
    assert len(rows) == 150
    assert {row["loss"] for row in rows} == {2.0}


def test_output_holds_a_picture_a_specification_for_jupyterlab_and_the_caption():
    spec = charts.styled(CHARTS["heat map"]()).to_dict()
    data, metadata = charts.bundle(spec, "What <is> seen", caption="c", main=True)
    assert base64.b64decode(data["image/png"])[:4] == b"\x89PNG"
    assert data[charts.LAB_TYPE]["$schema"].endswith("/v5.json")
    assert metadata["image/png"]["alt"] == data["text/plain"] == "What <is> seen"
    assert metadata["cslab"] == {"caption": "c", "main": True}
    json.dumps(data)


def test_bare_altair_charts_use_the_offline_renderer_too():
    data = alt.Chart(pd.DataFrame({"a": [1]})).mark_bar().encode(x="a:Q")._repr_mimebundle_(None, None)
    data = data[0] if isinstance(data, tuple) else data
    assert {charts.LAB_TYPE, "image/png"} <= data.keys()
    assert "text/html" not in data


def test_missing_fonts_are_said(monkeypatch):
    monkeypatch.setattr(charts.shutil, "which", lambda name: None)
    assert charts.font_notice("Fuchs ثعلب лиса") is None
    assert "Chinese, Hindi" in charts.font_notice({"values": ["狐狸", "लोमड़ी"]})


def test_html_views_do_not_load_the_charts():
    code = "import sys, cslab.workbench.html; sys.exit('altair' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
