"""The notebooks with widgets in a real JupyterLab, run on the smoke profile: every control acts, by mouse and by keys.

Screenshots of each widget, light and dark, go to `outputs/browser`.
"""

import re
from types import SimpleNamespace

import pytest

from cslab.workbench.cases import MISSED
from tests.browser.chromium import FAILED, needs_chromium, open_notebook, run_all, tab
from tests.browser.conftest import LIVE, LIVE_STEPS
from tests.browser.controls import EXPLORERS, Control, condition, controls, moved, reached_by_tab
from tests.smoke import NUMBERED

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

INTERACTIVE = [path for path in NUMBERED if "show(" in path.read_text(encoding="utf-8")]
# Controls that do something only while others are set: the list of misses of the first or the second system, say.
CONDITIONS = {"of": {"outcome": MISSED}, "draw": {"switch it by": "ML-CS"}}
# Controls without an effect on a pair of single languages or in the smoke profile; what they do is seen elsewhere.
IDLE = {"language of the answer"}


@pytest.fixture(scope="module", params=INTERACTIVE, ids=lambda path: path.stem)
def opened(request, browser, served):
    """A notebook that has been run in JupyterLab: its tab, page and explorers."""
    name = request.param.name
    with tab(browser, width=1400, height=2200) as found:
        page = found.page
        run_all(page, f"{served}/lab/tree/{name}?reset")
        explorers = page.locator(EXPLORERS).all()
        yield SimpleNamespace(name=request.param.stem, tab=found, page=page, explorers=explorers, address=served)
        page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def _shots(opened, kind: str) -> None:
    for number, explorer in enumerate(opened.explorers, 1):
        opened.tab.shot(f"{opened.name}-{number}-{kind}", explorer)


def test_every_widget_and_chart_is_drawn(opened):
    assert opened.explorers
    for explorer in opened.explorers:
        assert explorer.bounding_box()["width"] > 500
        assert explorer.locator(".cslab").count()
        assert explorer.locator(".cs-error").count() == 0
    for chart in opened.page.locator(".vega-embed").all():
        assert chart.bounding_box()["width"] > 100
        caption = chart.locator("xpath=following::div[@class='cs-caption'][1]")
        assert len(caption.inner_text()) > 10
    _shots(opened, "light")


def test_the_tab_key_leads_to_every_control_in_order(opened):
    for explorer in opened.explorers:
        listed = _enabled(opened.page, explorer)
        assert reached_by_tab(opened.page, listed) == [control.number for control in listed]


def test_every_control_changes_what_is_shown(opened):
    page, idle = opened.page, []
    for explorer in opened.explorers:
        for control in _enabled(page, explorer):
            if control.kind in ("button", "fold") or control.label in IDLE:
                continue
            with condition(page, explorer, CONDITIONS.get(control.label, {})):
                if not moved(page, control):
                    idle.append(control)
        # From the last: the next query of the whole list comes before bars that shorten it. Pressed ones are made anew.
        for place in reversed(range(len(_enabled(page, explorer, "button")))):
            control = _enabled(page, explorer, "button")[place]
            if not moved(page, control):
                idle.append(control)
    assert idle == []
    _shots(opened, "moved")


def _enabled(page, explorer, kind: str = "") -> list[Control]:
    return [found for found in controls(page, explorer) if found.enabled and kind in ("", found.kind)]


def test_views_are_readable_in_the_dark_theme(opened):
    page = opened.page
    _theme(page, "JupyterLab Dark", light="false")
    for explorer in opened.explorers:
        for ink in explorer.locator(".cs-text, .cs-doc, .widget-label").all()[:20]:
            colour = ink.evaluate("e => getComputedStyle(e).color")
            assert min(int(part) for part in re.findall(r"\d+", colour)[:3]) > 150, ink.inner_text()
    _shots(opened, "dark")
    _theme(page, "JupyterLab Light", light="true")


def _theme(page, name: str, light: str) -> None:
    page.evaluate("name => jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
    page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
    page.wait_for_timeout(500)


def test_nothing_is_asked_of_other_hosts_and_no_error_is_logged(opened):
    assert opened.tab.foreign(opened.address, opened.address.replace("http", "ws")) == []
    assert opened.tab.errors == []


def test_the_training_view_moves_while_a_ranker_trains(browser, served):
    with tab(browser, width=1400, height=1600) as found:
        page = found.page
        open_notebook(page, f"{served}/lab/tree/{LIVE}?reset")
        page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
        seen = page.locator(f"{EXPLORERS} .cslab", has_text=f"of {LIVE_STEPS}").first
        seen.wait_for()
        begun = seen.inner_text()
        assert "about" in begun, "time left"
        page.wait_for_function(f"document.body.innerText.includes('step {LIVE_STEPS} of {LIVE_STEPS}')")
        assert seen.locator("polyline").count() >= 2
        page.get_by_text("figures: 04.summary.json").wait_for()
        found.shot("live-training", page.locator(EXPLORERS).first)
        assert page.locator(FAILED).count() == 0
        page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")
