"""What the widgets have in common: controls above a view, a static twin, and how both are shown.

An explorer's controls hold values; `render` turns these into HTML by the pure functions of `html`. Any change of a
control makes the view anew. Nothing here knows what is explored.

    show(SwitchExplorer(lexicons, examples))
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

from cslab.store import CslabError
from cslab.workbench import html
from cslab.workbench.execute import HEADLESS


def show(widget: "Explorer", main: bool = False) -> None:
    """Displays a widget; in a run without a person in front of it, its static twin as well.

    Args:
        widget: an explorer of this module.
        main: whether the report shows the twin on its first page.
    """
    from IPython.display import display

    display(widget.box)
    show_twin(widget, main)


def show_twin(widget: "Explorer", main: bool = False) -> None:
    """Displays the static twin of a widget, if no one sits in front of the notebook."""
    from IPython.display import HTML, display

    if headless():
        marks = {"cslab": {"main": True, "caption": widget.settings()}}
        display(HTML(widget.static()), metadata=marks if main else None)


def headless() -> bool:
    """Whether the notebook runs without a person in front of it."""
    return bool(os.environ.get(HEADLESS))


class Explorer:
    """A column of controls above a view; any change of a control makes the view anew."""

    def __init__(self, rows: Sequence[Sequence[w.Widget]], below: Sequence[w.Widget] = ()) -> None:
        """Args: `rows` of controls above the view, and what stands `below` it."""
        self.view = w.HTML()
        self._reacting = False
        lines = [line(row) for row in rows]
        self.box = w.VBox([*lines, self.view, *below], layout=w.Layout(width="100%", max_width="72rem"))
        self._controls = [control for row in rows for control in controls_of(row)]
        for control in self._controls:
            control.observe(self._changed, "value")
        self.refresh()

    def render(self) -> str:
        """The view of the controls' present values."""
        raise NotImplementedError

    def settings(self) -> str:
        """The controls' present values in words, for the static twin."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Makes the view anew; a mistake is shown in its place."""
        self.view.value = self._view()

    def static(self) -> str:
        """The view as HTML that needs no kernel, with the settings it was made from."""
        return html.stack(f'<div class="cs-muted">{html.escape(self.settings())}</div>', self._view())

    def _view(self) -> str:
        try:
            return self.render()
        except CslabError as error:
            return html.note_html(str(error), "error")

    def react(self, control: w.Widget) -> None:
        """Sets other controls after one was changed (nothing by default)."""

    def _changed(self, change: Mapping[str, Any]) -> None:
        if self._reacting:
            return
        self._reacting = True
        try:
            self.react(change["owner"])
        finally:
            self._reacting = False
        self.refresh()


def line(row: Sequence[w.Widget]) -> w.Widget:
    """Controls in a line that breaks where there is no room; a single box stays as it is."""
    if len(row) == 1 and isinstance(row[0], w.Box):
        return row[0]
    return w.HBox(list(row), layout=w.Layout(flex_flow="row wrap", align_items="center"))


def controls_of(row: Sequence[w.Widget]) -> list[w.Widget]:
    """The widgets of a row, and of boxes in it, that hold a value."""
    inner = [w for box in row if hasattr(box, "children") for w in controls_of(box.children)]
    return [
        control for control in row if hasattr(control, "value") and not isinstance(control, (w.HTML, w.Label))
    ] + inner


def folded(title: str, inner: w.Box, opened: bool = False) -> w.VBox:
    """A box below a button that opens and closes it; unlike the head of an accordion, keys reach the button."""
    layout = w.Layout(width="auto", margin="4px 0", align_self="flex-start")
    head = w.Button(description=title, tooltip=f"{title}: open or close", layout=layout)
    head.add_class("cs-fold")

    def turn(shown: bool) -> None:
        head.icon = "caret-down" if shown else "caret-right"
        inner.layout.display = None if shown else "none"

    turn(opened)
    head.on_click(lambda _: turn(inner.layout.display == "none"))
    return w.VBox([head, inner])


def field(kind: type[w.Widget], label: str, value: Any, width: str = "auto", **options: Any) -> w.Widget:
    """A control with its whole label in front of it."""
    style = {"description_width": options.pop("label_width", "initial")}
    layout = w.Layout(width=width, margin="2px 14px 2px 0")
    return kind(value=value, description=label, style=style, layout=layout, **options)


def rate(label: str, value: float) -> w.FloatSlider:
    """A slider for a probability; it acts when it is let go."""
    options = {"min": 0.0, "max": 1.0, "step": 0.05, "continuous_update": False, "readout_format": ".2f"}
    return field(w.FloatSlider, label, value, "20rem", **options)


def shorten(text: str, width: int = 70) -> str:
    """The beginning of a text, for a line in a picker."""
    return text if len(text) <= width else text[: width - 1] + "…"
