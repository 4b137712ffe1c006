"""The controls of the widgets in an open notebook, and moving each of them as a person would.

A control is a drop-down, a list, a text, a number, a box to tick, a handle of a slider or a button. `moved` tries
values until something shown by a widget changes, and puts the old value back; what changes the view only while another
control is set is moved under that `condition`. Buttons that open and close a part (folds) have been pressed by then.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

EXPLORERS = ".jp-OutputArea-output .widget-vbox:not(.jupyter-widgets .widget-vbox)"
# Numbers every control of an explorer, and tells what it is.
LISTED = """root => [...root.querySelectorAll("select, textarea, input, .noUi-handle, button.widget-button")]
  .filter(e => e.offsetParent !== null).map(e => {
    window.controls = (window.controls || 0) + 1;
    e.dataset.control = window.controls;
    const line = e.closest(".widget-inline-hbox");
    const kind = e.tagName === "SELECT" ? (e.closest(".widget-select") ? "list" : "drop-down")
      : e.matches(".cs-fold") ? "fold" : e.tagName === "BUTTON" ? "button" : e.matches(".noUi-handle") ? "slider"
      : e.type === "checkbox" ? "box" : e.type === "number" ? "number" : "text";
    const label = e.tagName === "BUTTON" ? e.title || e.innerText : kind === "box" ? e.parentElement.innerText
      : line.querySelector(".widget-label").innerText;
    return {number: window.controls, kind, label: label.trim(), enabled: !e.disabled && !e.closest("[disabled]"),
            upper: e.matches(".noUi-handle-upper")};
  })"""
# Everything that widgets show, but for the values of controls.
SHOWN = """() => [...document.querySelectorAll(
    ".jupyter-widgets .widget-html-content, .jupyter-widgets option, .jupyter-widgets button.widget-button")]
  .map(e => e.matches(".widget-html-content") ? e.innerHTML : `${e.text || ""}${e.title}${e.innerText}`).join("\\n")"""
STATUS = "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status"
TEXTS = {"word": "market"}
TEXT = "Where is the old market?"
STEPS = 5  # presses of an arrow key at a time
AT_REST = 1.0  # seconds without a change after which a kernel that is idle has nothing more to say


class Control(NamedTuple):
    """A control by its number in the page."""

    number: int
    kind: str
    label: str
    enabled: bool
    upper: bool

    def find(self, page: Any) -> Any:
        """Where it is."""
        return page.locator(f'[data-control="{self.number}"]')


def controls(page: Any, explorer: Any) -> list[Control]:
    """The controls of an explorer in the order of the page, whatever is folded away opened."""
    closed = explorer.locator(".cs-fold:has(.fa-caret-right)")
    while closed.count():
        closed.first.press("Enter")
        settle(page)
    return [Control(**found) for found in explorer.evaluate(LISTED)]


def shows_something_else(page: Any, act: Callable[[], object]) -> bool:
    """Whether a widget shows something else after an act, once the kernel is at rest."""
    before = page.evaluate(SHOWN)
    act()
    since = time.monotonic()
    while page.evaluate(SHOWN) == before:
        if page.evaluate(STATUS) != "idle":
            since = time.monotonic()
        if time.monotonic() - since > AT_REST:
            return False
        page.wait_for_timeout(50)
    settle(page)
    return True


def settle(page: Any) -> None:
    """Waits until the kernel has answered everything."""
    page.wait_for_timeout(100)
    page.wait_for_function(f"({STATUS})() === 'idle'")
    page.wait_for_timeout(50)


def moved(page: Any, control: Control) -> bool:
    """Whether moving a control changes what is shown; it is put back where it was, buttons apart."""
    act = {"drop-down": _chosen, "list": _chosen, "text": _typed, "number": _counted, "box": _ticked,
           "slider": _slid, "button": _pressed}[control.kind]  # fmt: skip
    found = control.find(page)
    assert found.count() == 1, f"{control.label} is gone"
    found.scroll_into_view_if_needed()
    changed = act(page, found, control)
    settle(page)
    return changed


def _tried(page: Any, values: list[Any], set_to: Callable[[Any], object], old: Any) -> bool:
    changed = any(shows_something_else(page, lambda v=value: set_to(v)) for value in values)
    set_to(old)
    return changed


def _chosen(page: Any, found: Any, _: Control) -> bool:
    old, count = found.evaluate("e => [e.selectedIndex, e.options.length]")
    return _tried(page, [n for n in range(count) if n != old], lambda n: found.select_option(index=n), old)


def _typed(page: Any, found: Any, control: Control) -> bool:
    text = TEXTS.get(control.label, TEXT)
    return _tried(page, [text], lambda text: (found.fill(text), found.blur()), found.input_value())


def _counted(page: Any, found: Any, _: Control) -> bool:
    old = int(found.input_value())
    values = [old + by for by in (1, -1, 1 - old, 2, 3, 5) if by and old + by >= 0]
    return _tried(page, values, lambda n: (found.fill(str(n)), found.press("Enter")), old)


def _ticked(page: Any, found: Any, _: Control) -> bool:
    changed = shows_something_else(page, found.click)
    found.click()
    return changed


def _slid(page: Any, found: Any, control: Control) -> bool:
    old = _value(found)
    for key in ("ArrowLeft", "ArrowRight")[:: 1 if control.upper else -1]:
        changed = any(shows_something_else(page, lambda k=key: _press(page, found, k)) for _ in range(4))
        while now := round(_value(found) - old, 6):
            _press(page, found, "ArrowLeft" if now > 0 else "ArrowRight", 1)
        if changed:
            return True
    return False


def _value(found: Any) -> float:
    return float(found.get_attribute("aria-valuenow"))


def _press(page: Any, found: Any, key: str, times: int = STEPS) -> None:
    found.focus()
    for _ in range(times):
        page.keyboard.press(key)
    settle(page)


def _pressed(page: Any, found: Any, _: Control) -> bool:
    return shows_something_else(page, found.click)


@contextmanager
def condition(page: Any, explorer: Any, wanted: Mapping[str, str]) -> Iterator[None]:
    """Sets drop-downs of an explorer by their labels for a while."""
    found = {label: explorer.locator(f".widget-dropdown:has(.widget-label:text-is('{label}')) select")
             for label in wanted}  # fmt: skip
    old = {label: select.evaluate("e => e.selectedIndex") for label, select in found.items()}
    for label, select in found.items():
        select.select_option(label=wanted[label])
        settle(page)
    yield
    for label, select in found.items():
        select.select_option(index=old[label])
        settle(page)


def reached_by_tab(page: Any, listed: list[Control]) -> list[int]:
    """The numbers of the controls that the tab key leads to from the first on, in that order."""
    listed[0].find(page).focus()
    reached = [listed[0].number]
    for _ in range(3 * len(listed)):
        page.keyboard.press("Tab")
        number = page.evaluate("() => Number(document.activeElement.dataset.control || 0)")
        if number and number not in reached:
            reached.append(number)
        if number == listed[-1].number:
            break
    return reached
