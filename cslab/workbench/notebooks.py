"""Runs the notebooks in order without a browser, and writes a report that opens from disk.

Reads `notebooks/NN_name.ipynb`; writes `outputs/<profile>/notebooks/NN_name.ipynb` (executed), `NN_name.html` (one
self-contained file), `NN.summary.json` (by the notebook's own last cell), `NN.run.json` (what it was made from), and
`outputs/<profile>/index.html`. A notebook whose source, parameters, profile, code and stages are unchanged is kept. The
first failure stops the run; the failed notebook stays to be looked at, and the same command goes on there. Notebooks
that do not read what others write run side by side where there are cores for it (metadata `cslab.after` of a notebook:
the numbers of those it needs; without it, all before it). One that shows a section that the profile lacks is left out
(metadata `cslab.needs`: a setting that would add the section).

    cslab notebooks --profile demo --from 03
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from cslab.config import Profile, load_profile, outputs_folder
from cslab.processes import cores
from cslab.resources import notebooks_folder
from cslab.store import CslabError, nearest, read_json, write_json
from cslab.workbench.execute import Notebook, run_one, stages
from cslab.workbench.parallel import side_by_side
from cslab.workbench.parameters import cell_parameters, check_parameters

CORES = 4  # of the machine, for each notebook that runs at the same time: training uses several


def run_notebooks(
    profile_name: str = "demo",
    settings: Sequence[str] = (),
    start: str | None = None,
    only: str | Sequence[str] | None = None,
    out: str | Path | None = None,
    html_only: bool = False,
    parameters: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    stream: TextIO | None = None,
    jobs: int | None = None,
) -> int:
    """Runs the notebooks whose inputs changed and writes the report.

    Args:
        profile_name: a profile's name or the path of its YAML file.
        settings: overrides `key=value` of the profile.
        start: number of the first notebook; it and those after it are run even if nothing changed.
        only: number or numbers of the notebooks to look at; others are left alone.
        out: folder of all outputs (default: see `cslab.resources`).
        html_only: write the HTML anew from the executed notebooks, run none.
        parameters: values for parameters of the notebooks' own; each must be declared by one of them.
        folder: where the notebooks are (default: `notebooks` of the clone, or of the wheel).
        stream: where progress goes (default: standard output).
        jobs: notebooks that may run at a time (default: one for each four cores, at least the profile's `jobs`).

    Returns:
        The exit status: 0, or 1 if a notebook failed.

    Raises:
        CslabError: for an unknown profile, key, parameter or notebook, before anything runs.
    """
    from cslab.workbench.pages import export_notebook
    from cslab.workbench.report import write_index

    stream = stream or sys.stdout
    profile = load_profile(profile_name, settings)
    given = {"PROFILE": profile_name, "SETTINGS": list(settings)}
    notebooks = choose(find_notebooks(folder, given, parameters or {}), start, only)
    home = Path(out or outputs_folder()) / profile.name
    executed = home / "notebooks"
    executed.mkdir(parents=True, exist_ok=True)
    count = cores()
    jobs = jobs or max(count // CORES, min(profile.jobs, count))
    threads = max(1, count // jobs) if jobs > 1 and len(notebooks) > 1 else None

    work = partial(_one, profile=profile, home=home, keep=start is None, threads=threads)
    if html_only:
        status = 0
        for notebook in notebooks:
            if (executed / notebook.path.name).is_file():
                export_notebook(executed / notebook.path.name, notebook.title)
    elif threads:
        status = side_by_side(notebooks, jobs, work, stream)
    else:
        status = next((1 for notebook in notebooks if work(notebook, stream=stream)), 0)
    if html_only and not any(executed.glob("*.html")):
        raise CslabError(f"{executed}: no executed notebooks; run `cslab notebooks --profile {profile_name}` first")
    index = write_index(home, profile)
    _print_results(executed, stream)
    print(f"report: {index}", file=stream, flush=True)
    return status


def _one(notebook: Notebook, profile: Profile, home: Path, keep: bool, threads: int | None, stream: TextIO) -> int:
    """Runs a notebook and writes its page, unless it is to be kept and nothing changed."""
    from cslab.workbench.pages import export_notebook

    if setting := notebook.lacks(profile):
        section = setting.partition(".")[0]
        what = f"{notebook.path.stem}: left out, profile '{profile.name}' has no section {section}"
        print(f"{what}; to see it, add one, or --set {setting}", file=stream, flush=True)
        return 0
    if keep and is_current(notebook, profile, home):
        print(f"{notebook.path.stem}: nothing changed, kept", file=stream, flush=True)
        return 0
    status = run_one(notebook, profile, home, stream, threads)
    export_notebook(home / "notebooks" / notebook.path.name, notebook.title)
    return status


# --- which ---------------------------------------------------------------------------------------------------


def find_notebooks(
    folder: str | Path | None, given: Mapping[str, Any], parameters: Mapping[str, Any]
) -> list[Notebook]:
    """The numbered notebooks of a folder with their parameters, checked.

    Args:
        folder: default: see `cslab.resources`.
        given: values for every notebook that declares them.
        parameters: values that at least one notebook must declare.

    Raises:
        CslabError: for a folder without notebooks, or a parameter that none declares.
    """
    folder = Path(folder or notebooks_folder())
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise CslabError(f"{folder}: no notebooks named NN_name.ipynb; give the folder that holds them")
    contents = {path: read_json(path) for path in paths}
    known = {path: cell_parameters(content, str(path)) for path, content in contents.items()}
    everywhere = {name: found for each in known.values() for name, found in each.items()}
    check_parameters(parameters, everywhere, "notebooks")
    found = []
    for path, content in contents.items():
        values = {name: v for name, v in {**given, **parameters}.items() if name in known[path]}
        check_parameters(values, known[path], str(path))
        found.append(Notebook(path, content, values))
    return found


def choose(notebooks: Sequence[Notebook], start: str | None, only: str | Sequence[str] | None) -> list[Notebook]:
    """The notebooks from a number on, or those of some numbers (`2`, `02` and `02_name` mean the same).

    Raises:
        CslabError: for a notebook that is not there.
    """
    numbers = [notebook.number for notebook in notebooks]

    def number(text: str) -> str:
        wanted = str(text).partition("_")[0].zfill(2)
        if wanted not in numbers:
            raise CslabError(f"notebook '{text}' is not there; {nearest(wanted, numbers)}")
        return wanted

    asked = [only] if isinstance(only, str) else only or numbers
    wanted = {number(text) for text in asked}
    first = number(start) if start is not None else numbers[0]
    return [notebook for notebook in notebooks if notebook.number in wanted and notebook.number >= first]


def is_current(notebook: Notebook, profile: Profile, home: Path) -> bool:
    """Whether the executed notebook is still what running it again would give.

    Its source, parameters, profile and the code are unchanged, and each stage that was there when it ended still is,
    and would not be made anew (for another input file, say).
    """
    executed = home / "notebooks"
    record = executed / f"{notebook.number}.run.json"
    kept = [executed / notebook.path.name, executed / f"{notebook.path.stem}.html", record]
    if not all(path.is_file() for path in kept):
        return False
    run, now = read_json(record), stages(home)
    if run["status"] != "done" or run["key"] != notebook.key(profile):
        return False
    if any(now.get(name) != key for name, key in run["stages"].items()):
        return False
    wanted = _wanted(profile, home) if run["stages"] else {}
    return all(wanted.get(name, key) == key for name, key in run["stages"].items())


def _wanted(profile: Profile, home: Path) -> dict[str, str]:
    """The keys that the stages of a profile would have if they were made now."""
    from cslab.stages import open_lab

    recipes = open_lab(profile, outputs=home.parent).recipes()
    return {recipe.path.relative_to(home).as_posix(): recipe.key for recipe in recipes}


# --- what a notebook leaves ----------------------------------------------------------------------------------


def finish(lab: Any, number: int, seen: str = "", **numbers: Any) -> None:
    """Writes the summary of a notebook and prints what was found; its last cell.

    Args:
        lab: an open lab (its `folder` is used).
        number: the notebook's number.
        seen: what was found, in a sentence or two made of figures; the report shows it beside the notebook's title.
        numbers: figures worth keeping: numbers, short texts, or frames; `results` is the table of the whole report.
            Empty ones are left out.
    """
    given = {"seen": seen} | numbers
    kept = {name: _plain(value) for name, value in given.items() if not (hasattr(value, "__len__") and not len(value))}
    path = Path(lab.folder) / "notebooks" / f"{number:02}.summary.json"
    write_json(path, kept)
    print("\n".join(filter(None, (seen, f"figures: {path.name}"))))


def _plain(value: Any) -> Any:
    if not isinstance(value, pd.DataFrame):
        return value
    frame = value if isinstance(value.index, pd.RangeIndex) else value.reset_index()
    return {"columns": [str(c) for c in frame.columns], "rows": frame.astype(object).to_numpy().tolist()}


def frame_of(value: Mapping[str, Any]) -> pd.DataFrame:
    """The frame that a summary holds."""
    return pd.DataFrame(value["rows"], columns=value["columns"])


def _print_results(executed: Path, stream: TextIO) -> None:
    """Prints the last `results` table among the summaries."""
    for path in sorted(executed.glob("[0-9][0-9].summary.json"), reverse=True):
        if table := read_json(path).get("results"):
            print(frame_of(table).to_string(index=False, float_format=lambda v: f"{v:.1f}"), file=stream)
            return
