"""Charts that need no network: interactive in JupyterLab, a picture everywhere else.

From the tidy score table, counts of switching, coverage and training logs to Altair charts; everything is aggregated
before it is drawn. `figure` shows a chart with a caption that is also its text alternative, as Vega-Lite 5 (what
JupyterLab knows) and as PNG (for saved notebooks, reports and other viewers). Importing this module makes bare Altair
charts do the same, in place of Altair's renderers, which load scripts from another host.

    figure(heat_map(lab.scores(), "ML-CS"), "MRR@10 of ML-CS by query and document language")
"""

import base64
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cslab.evaluation.measures import SETTINGS, by_pair, by_setting
from cslab.evaluation.significance import bootstrap_interval, compare
from cslab.languages import is_pool
from cslab.store import CslabError, nearest
from cslab.workbench.imports import quick_schemas
from cslab.workbench.style import PALETTE, colour, escape, language_name

with quick_schemas():
    import altair as alt

LAB_TYPE = "application/vnd.vegalite.v5+json"
LAB_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # a name, not an address that anything asks
SCALE = 2  # pixels of a picture per point: sharp on dense screens
FONT = "DejaVu Sans, Noto Sans, Liberation Sans, Arial, sans-serif"
# First code point of scripts that fonts of a bare machine lack, and a language to ask fontconfig for.
_SCRIPTS = ((0x0900, 0x0DFF, "hi"), (0x0E00, 0x0E7F, "th"), (0x1780, 0x17FF, "km"), (0x3040, 0x30FF, "ja"),
            (0x4E00, 0x9FFF, "zh"), (0xAC00, 0xD7AF, "ko"))  # fmt: skip


# --- showing -------------------------------------------------------------------------------------------------


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart in the workbench's look: white ground (readable in dark themes, too), one font, quiet axes."""
    return (
        chart.configure(background="white", padding=12, font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=220, gridColor="#e5e5e5"
        )
        .configure_legend(labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=260, titleLimit=260)
        .configure_header(labelFontSize=13, titleFontSize=12, titleFontWeight="normal")
        .configure_title(fontSize=13, fontWeight="normal")
    )


def picture(spec: Mapping[str, Any]) -> tuple[bytes, int, int]:
    """PNG of a specification, with its width and height in points."""
    import vl_convert

    png = vl_convert.vegalite_to_png(dict(spec), scale=SCALE)
    width, height = struct.unpack(">II", png[16:24])
    return png, width // SCALE, height // SCALE


def bundle(spec: Mapping[str, Any], alt_text: str = "chart", **marks: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Data and metadata of an output cell that holds a chart."""
    png, width, height = picture(spec)
    data = {LAB_TYPE: {**spec, "$schema": LAB_SCHEMA}, "image/png": base64.b64encode(png).decode()}
    metadata = {"image/png": {"width": width, "height": height, "alt": alt_text}}
    return data | {"text/plain": alt_text}, metadata | ({"cslab": marks} if marks else {})


def _render(spec: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    return bundle(spec)[0]


alt.renderers.register("cslab", _render)
alt.renderers.enable("cslab")


@dataclass(frozen=True)
class Figure:
    """A chart with a caption; `main` figures go into the report's first page."""

    chart: alt.TopLevelMixin
    caption: str
    main: bool = False

    def _ipython_display_(self) -> None:
        from IPython.display import HTML, display

        spec = styled(self.chart).properties(description=self.caption).to_dict()
        data, metadata = bundle(spec, self.caption, caption=self.caption, main=self.main)
        display(data, metadata=metadata, raw=True)
        lines = [self.caption, *(f"Note: {note}" for note in [font_notice(spec)] if note)]
        style = "font-size:.88em;opacity:.8;max-width:46rem;margin:.2em 0 .8em"
        display(HTML("".join(f'<div class="cs-caption" style="{style}">{escape(line)}</div>' for line in lines)))

    def png(self) -> bytes:
        """The picture."""
        return picture(styled(self.chart).to_dict())[0]


def figure(chart: alt.TopLevelMixin, caption: str, main: bool = False) -> Figure:
    """Shows a chart with a caption, which is also what a screen reader says of it.

    Args:
        chart: any Altair chart.
        caption: one or two sentences: what is drawn, and what to see in it.
        main: whether the report shows it on its first page.

    Raises:
        CslabError: for an empty caption.
    """
    if not caption.strip():
        raise CslabError("figure: the caption is empty; say what is drawn and what to see in it")
    return Figure(chart, caption, main)


def font_notice(value: Any) -> str | None:
    """Says which scripts of a chart's text the machine has no font for, if any: pictures show boxes for them."""
    needed = {code for first, last, code in _SCRIPTS if any(first <= ord(c) <= last for c in set(str(value)))}
    if not needed:
        return None
    lacking = sorted(language_name(code) for code in needed if not _has_font(code))
    return f"no font for {', '.join(lacking)} here; install fonts-noto-core, fonts-noto-cjk" if lacking else None


def _has_font(code: str) -> bool:
    if not shutil.which("fc-list"):
        return False
    found = subprocess.run(["fc-list", f":lang={code}", "family"], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip())


# --- scores --------------------------------------------------------------------------------------------------


def _names(codes: Iterable[str]) -> dict[str, str]:
    """Codes in the order given, pools last, with the names that axes show."""
    ordered = list(dict.fromkeys(codes))
    ordered.sort(key=is_pool)
    return {code: language_name(code) for code in ordered}


def _of_systems(scores: pd.DataFrame, systems: Sequence[str], measure: str) -> None:
    for known, asked, kind in ((scores["system"], systems, "system"), (scores["measure"], [measure], "measure")):
        for name in asked:
            if name not in set(known):
                raise CslabError(f"the scores have no {kind} '{name}'; {nearest(name, sorted(set(known)))}")


def heat_map(scores: pd.DataFrame, system: str | Sequence[str], measure: str = "MRR@10") -> alt.TopLevelMixin:
    """Query language × document language; one map per system, all on one scale.

    Args:
        scores: the tidy table.
        system: a system, or several.
        measure: a measure of the table; shown × 100.
    """
    systems = [system] if isinstance(system, str) else list(system)
    _of_systems(scores, systems, measure)
    table = by_pair(scores, measure)
    low, high = 10 * (table["value"].min() // 10), table["value"].max()
    # Up to a middle blue only: black numbers stay readable on it.
    scale = alt.Scale(domain=[low, high], range=["#f2f7fc", "#4a97c9"])
    return _map(table[table["system"].isin(systems)], systems, f"{measure} × 100", scale)


def difference_map(
    scores: pd.DataFrame, system: str, baseline: str, measure: str = "MRR@10", level: float = 0.05
) -> alt.TopLevelMixin:
    """What a system gains over a baseline, query language × document language; a star where it is significant.

    Args:
        scores: the tidy table.
        system, baseline: systems of it.
        measure: a measure of the table; shown × 100.
        level: of the paired t-test, Holm-corrected over the pairs of the map.
    """
    _of_systems(scores, [system, baseline], measure)
    found = compare(scores[scores["system"].isin([system, baseline])], baseline, measure)
    table = found.assign(value=found["difference"], mark=(found["p_holm"] < level).map({True: "*", False: ""}))
    table[["query_lang", "doc_lang"]] = table["pair"].str.split("-", n=1, expand=True)
    table["sign"] = "+"
    # Half as far again as the data: the darkest colours of the scheme leave no number readable.
    most = 1.5 * max(1.0, float(table["value"].abs().max()))
    scale = alt.Scale(scheme="purpleorange", domain=[-most, most])
    return _map(table, [system], f"gain over {baseline}", scale)


def _map(table: pd.DataFrame, systems: Sequence[str], title: str, scale: alt.Scale) -> alt.TopLevelMixin:
    """A labelled heat map of rows with system, query_lang, doc_lang, value, and perhaps sign and mark."""
    queries, documents = _names(table["query_lang"]), _names(table["doc_lang"])
    rows = table.assign(query=table["query_lang"].map(queries), document=table["doc_lang"].map(documents))
    number = "{:+.1f}" if "sign" in rows else "{:.1f}"
    rows["label"] = rows["value"].map(number.format) + rows.get("mark", "")
    kept = [c for c in ("system", "query", "document", "value", "label", "queries") if c in rows]
    angled = alt.Axis(labelAngle=-35)

    def one(part: pd.DataFrame) -> alt.LayerChart:
        base = alt.Chart(part[kept], width=alt.Step(54), height=alt.Step(34)).encode(
            x=alt.X("document:N", sort=list(documents.values()), title="language of the documents", axis=angled),
            y=alt.Y("query:N", sort=list(queries.values()), title="language of the queries"),
            tooltip=[c for c in kept if c != "label"],
        )
        shades = alt.Color("value:Q", title=title, scale=scale)
        cells = base.mark_rect(stroke="white", strokeWidth=2).encode(color=shades)
        return alt.layer(cells, base.mark_text(fontSize=12, color="black").encode(text="label:N"))

    if len(systems) == 1:
        return one(rows)
    # Panels of their own: a facet draws axes for an empty place of its last row, too.
    maps = [one(rows[rows["system"] == name]).properties(title=name) for name in systems]
    return alt.concat(*maps, columns=2)


def settings_bars(scores: pd.DataFrame, measure: str = "MRR@10") -> alt.TopLevelMixin:
    """Systems by setting (MoIR, CLIR, MLIR) with 95 % bootstrap intervals over queries.

    Systems that were scored on some pairs only are left out, as in `by_setting`.
    """
    kept = list(by_setting(scores, measure).index)
    rows = scores[(scores["measure"] == measure) & scores["system"].isin(kept)]
    per_query = rows.groupby(["system", "setting", "qid"], sort=False)["value"].mean()
    found = []
    for (system, kind), values in per_query.groupby(level=[0, 1], sort=False):
        low, high = bootstrap_interval(values.to_numpy(), rounds=500)
        found.append(
            {"system": system, "setting": kind, "value": 100 * values.mean(), "low": 100 * low, "high": 100 * high}
        )
    table = pd.DataFrame(found)
    settings = [s for s in SETTINGS if s in set(table["setting"])]
    tones = [PALETTE[i % len(PALETTE)] for i in range(len(kept))]
    base = alt.Chart(table, width=alt.Step(26), height=240).encode(
        x=alt.X("system:N", sort=kept, title=None, axis=alt.Axis(labelAngle=-35)), tooltip=list(table.columns)
    )
    bars = base.mark_bar().encode(
        y=alt.Y("value:Q", title=f"{measure} × 100", scale=alt.Scale(zero=True)),
        color=alt.Color("system:N", sort=kept, scale=alt.Scale(domain=kept, range=tones), legend=None),
    )
    lines = base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q")
    text = base.mark_text(dy=-6, fontSize=11).encode(y="high:Q", text=alt.Text("value:Q", format=".1f"))
    return alt.layer(bars, lines, text).facet(column=alt.Column("setting:N", sort=settings, title=None))


# --- switching, lexicons, training ---------------------------------------------------------------------------


_SHARES = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1])


def _language_scale(codes: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=[language_name(c) for c in codes], range=[colour(c) for c in codes])


def realised_share_chart(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> alt.TopLevelMixin:
    """Of the words that drew a language, how many were switched (bar), and how many should be: p × coverage (tick).

    Args:
        rows: `Tally.rows()`: side, language, requested, coverage, drawn, switched.
    """
    table = pd.DataFrame(rows)
    table["switched share"] = table["switched"] / table["drawn"].clip(lower=1)
    table["expected share"] = table["requested"] * table["coverage"]
    codes = list(dict.fromkeys(table["language"]))
    table["language"] = table["language"].map(language_name)
    most = max(0.1, float(table[["switched share", "requested"]].to_numpy().max()))
    base = alt.Chart(table, width=230, height=alt.Step(24)).encode(
        y=alt.Y("language:N", sort=[language_name(c) for c in codes], title=None),
        tooltip=["side", "language", "requested", "coverage", "expected share", "switched share", "drawn"],
    )
    bars = base.mark_bar().encode(
        x=alt.X(
            "switched share:Q",
            title="switched, of the words drawn",
            axis=alt.Axis(format="%", tickCount=5),
            scale=alt.Scale(domain=[0, most]),
        ),
        color=alt.Color("language:N", scale=_language_scale(codes), legend=None),
    )
    ticks = base.mark_tick(color="black", thickness=3, size=18).encode(x="expected share:Q")
    return alt.layer(bars, ticks).facet(column=alt.Column("side:N", title=None, sort=["query", "document"]))


def coverage_chart(coverage: pd.DataFrame) -> alt.TopLevelMixin:
    """Share of a collection's words that each lexicon has.

    Args:
        coverage: columns `language` and one per way of counting (`tokens`, `types` …) with shares between 0 and 1.
    """
    codes = list(dict.fromkeys(coverage["language"]))
    counts = [c for c in coverage.columns if c != "language"]
    table = coverage.melt("language", counts, "counted", "share")
    table["language"] = table["language"].map(language_name)
    base = alt.Chart(table, width=260, height=alt.Step(24)).encode(
        y=alt.Y("language:N", sort=[language_name(c) for c in codes], title=None), tooltip=list(table.columns)
    )
    bars = base.mark_bar().encode(
        x=alt.X("share:Q", title="covered", axis=_SHARES, scale=alt.Scale(domain=[0, 1])),
        color=alt.Color("language:N", scale=_language_scale(codes), legend=None),
    )
    text = base.mark_text(align="left", dx=4, fontSize=11).encode(x="share:Q", text=alt.Text("share:Q", format=".0%"))
    return alt.layer(bars, text).facet(column=alt.Column("counted:N", title=None, sort=counts))


def training_curve(
    log: Mapping[str, Iterable[Mapping[str, Any]]] | pd.DataFrame, points: int = 150
) -> alt.TopLevelMixin:
    """Loss by training step, a line per system.

    Args:
        log: system → rows of `log.jsonl` (step, loss), or a frame with system, step and loss.
        points: most points drawn per line; steps between are averaged.

    Raises:
        CslabError: for an empty log.
    """
    if isinstance(log, pd.DataFrame):
        rows = log[["system", "step", "loss"]]
    else:
        rows = pd.DataFrame([(name, r["step"], r["loss"]) for name, found in log.items() for r in found],
                            columns=["system", "step", "loss"])  # fmt: skip
    if rows.empty:
        raise CslabError("training_curve: the log is empty; train first, or give the folder's log.jsonl")
    systems = list(dict.fromkeys(rows["system"]))
    width = max(1, -(-int(rows["step"].max()) // points))
    binned = rows.assign(step=((rows["step"] - 1) // width + 1) * width)
    table = binned.groupby(["system", "step"], sort=False, as_index=False)["loss"].mean()
    tones = [PALETTE[i % len(PALETTE)] for i in range(len(systems))]
    return alt.Chart(table, width=520, height=240).mark_line(strokeWidth=2).encode(
        x=alt.X("step:Q", title="training step"),
        y=alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=False)),
        color=alt.Color("system:N", sort=systems, title=None, scale=alt.Scale(domain=systems, range=tones)),
        strokeDash=alt.StrokeDash("system:N", sort=systems, title=None, scale=alt.Scale(domain=systems)),
        tooltip=["system", "step", alt.Tooltip("loss:Q", format=".4f")],
    )  # fmt: skip
