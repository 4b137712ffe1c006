"""The index page that sums a run up: results, what each notebook found, its main charts and key figures.

Reads `NN_*.ipynb`, `NN.summary.json` and `NN.run.json` of `outputs/<profile>/notebooks`; writes
`outputs/<profile>/index.html`. Nothing in it asks another host for anything.

    write_index(Path("outputs/demo"), load_profile("demo"))
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cslab.config import Profile
from cslab.store import atomic_open, read_json
from cslab.workbench.html import bare, note_html, table_html
from cslab.workbench.notebooks import frame_of
from cslab.workbench.progress import clock
from cslab.workbench.style import escape, page

LONG = 20_000  # characters of a view that is folded
SETTINGS = (
    "MoIR: query and documents in one language. CLIR: in two. MLIR: a language is drawn for each query or document "
    "(<code>xx</code>). The best of a column is in bold."
)
ONE_SEED = "One seed: differences are those between these models, and another seed may give others."
ENGLISH_ORDER = "BM25 is the first stage: its order of the English texts, kept for every language, hence one number."


def write_index(home: Path, profile: Profile) -> Path:
    """Writes `index.html` of a profile's folder: results, what was found, and each notebook with its main views."""
    folder = home / "notebooks"
    runs = [read_json(path) for path in sorted(folder.glob("[0-9][0-9].run.json"))]
    summaries = {run["notebook"]: _summary(folder, run["notebook"]) for run in runs}
    about = f"<p>{escape(profile.about)}</p>" if profile.about else ""
    parts = [f"<h1>cslab: {escape(profile.name)}</h1>{about}", _status(runs)]
    parts += [_results(home, summaries.values(), profile), _found(runs, summaries)]
    parts += [_section(folder, run, summaries[run["notebook"]]) for run in runs]
    path = home / "index.html"
    with atomic_open(path) as handle:
        handle.write(page(f"cslab: {profile.name}", "\n".join(parts)))
    return path


def _summary(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name[:2]}.summary.json"
    return read_json(path) if path.is_file() else {}


def _status(runs: list[Mapping[str, Any]]) -> str:
    """One line on how the run went."""
    if not runs:
        return note_html("No notebook has been run yet.", "warning")
    failed = [run for run in runs if run["status"] != "done"]
    last = max(run["finished"] for run in runs)
    if failed:
        return note_html(f"{failed[0]['notebook']} failed ({last}): {failed[0]['error']}", "error")
    total = clock(sum(run["seconds"] for run in runs))
    times = f"their times add up to {total}, though some ran side by side"
    return note_html(f"All {len(runs)} notebooks ran through; {times}; the last ended {last}.")


def _results(home: Path, summaries: Iterable[Mapping[str, Any]], profile: Profile) -> str:
    """The table of systems by setting, from the stage that scores; else the last table named `results`."""
    frame, spread, caption, legend = None, None, "", ""
    for path in sorted(home.glob("scores/*/summary.json")):
        scored = read_json(path)
        if scored.get("table"):
            frame = _by_system(scored["table"])
            # In the order of the table, whatever the order in the file.
            spread = (
                _by_system({name: scored["spread"].get(name, {}) for name in scored["table"]})
                if "spread" in scored
                else None
            )
            caption = f"{scored.get('measure', '')} × 100, mean over the language pairs of each setting"
            order = ENGLISH_ORDER if profile.evaluation.protocol == "english" else ""
            legend = f'<p class="cs-caption">{SETTINGS} {order} {_origin(home, scored.get("seeds", 1))}</p>'
    for summary in summaries:
        if frame is None and "results" in summary:
            frame = frame_of(summary["results"])
    if frame is None:
        return ""
    return f"<h2>Results</h2>{table_html(frame, caption, index=False, best=True, deviations=spread)}{legend}"


def _by_system(cells: Mapping[str, Mapping[str, float | None]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(cells, orient="index").rename_axis("system").reset_index()


def _origin(home: Path, seeds: int) -> str:
    """How many seeds, and on what machine and in which precision the rankers were trained."""
    said = f"± is the standard deviation over {seeds} seeds." if seeds > 1 else ONE_SEED
    for folder in sorted(path.parent for path in home.glob("models/*/manifest.json")):
        made, versions = read_json(folder / "summary.json"), read_json(folder / "manifest.json")["versions"]
        where = f"{made['device']} of {versions.get('machine', 'a machine')}, torch {versions.get('torch', '')}"
        return f"{said} Trained in {made['precision']} on {escape(where)}."
    return said


def _found(runs: list[Mapping[str, Any]], summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """What each notebook found, in a sentence of its own; a contents of the page as well."""
    items = "".join(
        f'<li><a href="#n{run["notebook"][:2]}">{_title(run)}</a>'
        f"<br>{escape(summaries[run['notebook']].get('seen', ''))}</li>"
        for run in runs
    )
    return f'<h2>What was found</h2><ul class="cs-found">{items}</ul>' if items else ""


def _section(folder: Path, run: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """A notebook: link, question, status, what was found, main views, key figures."""
    good, name = run["status"] == "done", run["notebook"]
    mark = f'<span class="{"cs-ok" if good else "cs-bad"}">{"✓ done" if good else "✗ failed"}</span>'
    head = (
        f'<h2 id="n{escape(name[:2])}"><a href="notebooks/{escape(name.removesuffix(".ipynb"))}.html">'
        f"{_title(run)}</a></h2>"
    )
    cells = read_json(folder / name)["cells"] if (folder / name).is_file() else []
    question = _question(cells)
    asked = f"<p>{escape(question)}</p>" if question else ""
    seen = note_html(summary["seen"]) if "seen" in summary else ""
    foot = (
        f'<p class="cs-caption">{mark} in {clock(run["seconds"])} · <a href="notebooks/{escape(name)}">notebook file'
        "</a></p>"
    )
    return f"<section>{head}{asked}{seen}{''.join(highlights(cells))}{_figures(summary)}{foot}</section>"


def _title(run: Mapping[str, Any]) -> str:
    """Number and title of a notebook."""
    return f"{escape(run['notebook'][:2])} · {escape(run['title'])}"


def _figures(summary: Mapping[str, Any]) -> str:
    """The figures of a summary, folded."""
    plain = {k: v for k, v in summary.items() if k != "seen" and not _is_table(v)}
    tables = {k: v for k, v in summary.items() if k != "results" and _is_table(v)}
    rows = "".join(f"<tr><td>{_label(k)}</td><td>{escape(_number(v))}</td></tr>" for k, v in plain.items())
    body = f"<table>{rows}</table>" if rows else ""
    body += "".join(table_html(frame_of(v), k.replace("_", " "), index=False) for k, v in tables.items())
    return f'<details class="cslab"><summary>figures</summary>{body}</details>' if body else ""


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"columns", "rows"}


def _label(name: str) -> str:
    return escape(name.replace("_", " "))


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_number(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _question(cells: Iterable[Mapping[str, Any]]) -> str:
    """What a notebook asks: the paragraph of its first cell that says so."""
    first = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
    asked = re.search(r"\*\*Question:\*\*\s*(.+?)(?:\n\s*\n|\Z)", first, re.DOTALL)
    return " ".join(asked.group(1).split()).replace("`", "") if asked else ""


def highlights(cells: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The outputs that an executed notebook marked as main ones, as HTML; long views folded under their captions."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            marks = output.get("metadata", {}).get("cslab", {})
            if not marks.get("main"):
                continue
            data, caption = output["data"], escape(marks.get("caption", ""))
            if "image/png" in data:
                picture = re.sub(r"\s", "", "".join(data["image/png"]))
                source = f"data:image/png;base64,{picture}"
                size = output["metadata"].get("image/png", {})
                width = f' width="{int(size["width"])}"' if "width" in size else ""
                yield f'<figure><img src="{source}" alt="{caption}"{width}><figcaption>{caption}</figcaption></figure>'
            elif "text/html" in data:
                view = bare("".join(data["text/html"]))
                opened = "" if len(view) > LONG else " open"
                yield f'<details class="cs-view"{opened}><summary>{caption}</summary>{view}</details>'
