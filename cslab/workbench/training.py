"""The training view: loss, dev score and speed of each ranker, live while a notebook trains and from finished logs.

Reads `log.jsonl` of the models' folders (rows with step, loss, pairs_per_s, seconds and, where dev queries are scored
during training, `dev`); writes nothing. The view is made of plain HTML and SVG lines, so it costs next to nothing
beside the training, and is its own static twin.

    with TrainingView(lab) as view:                 # follows the logs until the block ends
        stages = lab.train_all()
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from cslab.store import CslabError, read_jsonl
from cslab.workbench import html
from cslab.workbench.explorer import Explorer, headless, show_twin
from cslab.workbench.progress import clock
from cslab.workbench.style import PALETTE, escape

if TYPE_CHECKING:
    from cslab.stages import Lab
    from cslab.systems import System

PAUSE = 1.0  # seconds between two looks at the logs
WIDTH, HEIGHT = 200, 64  # of a small chart, in pixels
POINTS = 120  # most points of a line; steps between are averaged
SERIES = {"loss": "loss", "dev": "dev score", "pairs_per_s": "pairs per second"}

Rows = Sequence[Mapping[str, Any]]


def training_html(logs: Mapping[str, Rows], steps: int, caption: str = "") -> str:
    """Where each ranker is, with a small chart of each series of its log.

    Args:
        logs: name → rows of its log, oldest first; no rows for one that has not begun.
        steps: of a whole training.
        caption: a line above.
    """
    series = [name for name in SERIES if any(name in row for rows in logs.values() for row in rows)] or ["loss"]
    ranges = {name: _range([row[name] for rows in logs.values() for row in rows if name in row]) for name in series}
    head = "".join(f"<th>{SERIES[name]}</th>" for name in series)
    body = ""
    for number, (name, rows) in enumerate(logs.items()):
        tone = PALETTE[number % len(PALETTE)]
        charts = "".join(f"<td>{_chart(rows, s, steps, ranges[s], tone)}</td>" for s in series)
        body += f'<tr><td class="cs-name"><b>{escape(name)}</b><br>{_state(rows, steps)}</td>{charts}</tr>'
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    table = f"<table>{title}<thead><tr><th>ranker</th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return html.stack(f'<div class="cs-scroll">{table}</div>')


def _state(rows: Rows, steps: int) -> str:
    """Step, bar and time left (or taken) of a training."""
    if not rows:
        return '<span class="cs-muted">not begun</span>'
    step, seconds = rows[-1]["step"], rows[-1]["seconds"]
    share = min(1.0, step / steps)
    left = seconds / step * (steps - step)
    told = f"{clock(seconds)} in all" if step >= steps else f"about {clock(left)} left"
    bar = f'<span class="cs-bar"><i style="width:{100 * share:.1f}%;background-color:{PALETTE[1]}"></i></span>'
    return f'{bar}<span class="cs-muted">step {step:,} of {steps:,} · {told}</span>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _chart(rows: Rows, series: str, steps: int, limits: tuple[float, float], tone: str) -> str:
    """A line over the steps of a whole training, with its last value; all rankers share the scale."""
    found = [(row["step"], row[series]) for row in rows if series in row]
    if not found:
        return '<span class="cs-muted">–</span>'
    low, high = limits
    points = [((WIDTH - 6) * step / steps, (HEIGHT - 6) * (high - v) / (high - low) + 3) for step, v in thinned(found)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    said = (
        f"{SERIES[series]}: {_number(found[0][1])} to {_number(found[-1][1])}, scale {_number(low)} to {_number(high)}"
    )
    x, y = points[-1]
    return (
        f'<svg class="cs-lines" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{said}"><title>{said}</title><path d="M0 {HEIGHT - 0.5}H{WIDTH}" stroke-opacity=".3"/>'
        f'<polyline points="{line}" stroke="{tone}" stroke-width="2"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3" '
        f'fill="{tone}" stroke="none"/></svg><div class="cs-muted">{_number(found[-1][1])}</div>'
    )


def thinned(found: Sequence[tuple[float, float]], points: int = POINTS) -> list[tuple[float, float]]:
    """At most so many (step, value): means of neighbours; the last stays as it is.

    >>> thinned([(1, 2.0), (2, 4.0), (3, 5.0)], points=2)
    [(1.5, 3.0), (3, 5.0)]
    """
    width = -(-len(found) // points)
    groups = [found[start : start + width] for start in range(0, len(found), width)]
    means = [(sum(s for s, _ in group) / len(group), sum(v for _, v in group) / len(group)) for group in groups]
    return [*means[:-1], found[-1]]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a model's log, of a training under way as well; of a line that is being written, nothing.

    Args:
        folder: of the finished model; while it is made, it lies beside that under a hidden name.
    """
    for place in (folder.parent / f".{folder.name}.partial", folder):
        path = place / "log.jsonl"
        if not path.is_file():
            continue
        rows = []
        try:
            for _, row in read_jsonl(path, required=("step", "seconds")):
                rows.append(row)
        except CslabError:
            if place == folder:
                raise  # a finished log is whole
        return rows
    return []


def ranker_names(systems: Iterable["System"]) -> dict[str, str]:
    """Slug of each system's ranker → what it is called: its condition, pair, and seed where there are several."""
    rankers = [system.ranker for system in systems]
    several = len({ranker.seed for ranker in rankers}) > 1
    return {r.slug: " ".join(filter(None, (r.name, r.pair, f"seed {r.seed}" if several else ""))) for r in rankers}


class TrainingView(Explorer):
    """Follows the logs of a lab's rankers; a button looks again once the notebook is idle."""

    def __init__(self, lab: "Lab", pause: float = PAUSE) -> None:
        """Builds the widget.

        Args:
            lab: whose rankers are followed.
            pause: seconds between two looks at the logs.
        """
        self.lab, self.pause = lab, pause
        names = ranker_names(lab.systems())
        self.folders = {name: lab.folder / "models" / slug for slug, name in names.items()}
        again = w.Button(description="Look again", tooltip="Reads the logs anew")
        again.on_click(lambda _: self.refresh())
        self._over = threading.Event()
        super().__init__([[again]])

    def render(self) -> str:
        """Each ranker's place and curves."""
        return training_html({name: read_log(folder) for name, folder in self.folders.items()}, self.steps)

    @property
    def steps(self) -> int:
        """Steps of a whole training."""
        return self.lab.profile.training.steps

    def settings(self) -> str:
        """Which profile, and what the charts share."""
        return f"{self.lab.profile.name}: {len(self.folders)} rankers; charts of a column share one scale"

    def __enter__(self) -> "TrainingView":
        from IPython.display import display

        display(self.box)
        self._over.clear()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if not headless():  # no one would see it change
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self.refresh()
        show_twin(self)

    def _watch(self) -> None:
        while not self._over.wait(self.pause):
            self.refresh()
