"""Widgets and charts in a real JupyterLab: every control acts, nothing is asked of another host, no error is logged."""

import re

import pytest

from tests.browser.chromium import lab, needs_chromium, run_all, tab
from tests.sample_notebooks import EXPLORE, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook that has been run in JupyterLab, in a browser."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "nb" / "03_switch.ipynb", *EXPLORE)
    with lab(folder / "nb", folder) as address, tab(folder / "chromium", width=1500, height=1600) as opened:
        page = opened.page
        run_all(page, f"{address}/lab/tree/03_switch.ipynb?reset")
        page.wait_for_selector(".widget-text input[list]")
        page.wait_for_selector(".vega-embed canvas, .vega-embed svg")
        page.keyboard.press("Control+b")  # the file browser goes
        yield opened, address


def _view(page, number=0):
    return page.locator(".widget-vbox > .widget-html .widget-html-content").nth(number)


def _changes(page, act, number=0) -> bool:
    before = _view(page, number).inner_html()
    act()
    page.wait_for_timeout(200)
    for _ in range(40):
        if _view(page, number).inner_html() != before:
            return True
        page.wait_for_timeout(250)
    return False


def test_every_control_of_the_switch_explorer_acts(notebook):
    opened, _ = notebook
    page = opened.page
    explorer = page.locator(".widget-vbox").first
    explorer.scroll_into_view_if_needed()
    assert explorer.locator(".cs-s").count() > 5
    opened.shot("lab-switch-explorer")
    sliders = explorer.locator(".widget-slider .noUi-handle")
    for number in (0, 1):
        assert _changes(page, lambda n=number: (sliders.nth(n).focus(), [page.keyboard.press("ArrowRight")] * 6))
    selects = explorer.locator("select")
    assert _changes(page, lambda: selects.nth(0).select_option(index=1))
    assert "favourite drink" in explorer.locator("textarea").nth(0).input_value()
    assert _changes(page, lambda: selects.nth(1).select_option("M3P"))
    assert _changes(page, lambda: selects.nth(2).select_option("no switching"))
    assert _changes(page, lambda: explorer.locator("input[type=checkbox]").nth(0).click())
    assert explorer.locator('bdi[lang="de"]').count() == 0
    typed = explorer.locator("textarea").nth(0)
    assert _changes(page, lambda: (typed.fill("My own garden <b>"), typed.blur()))
    assert "My own" in _view(page).inner_text() or "garden" not in _view(page).inner_text()
    seed = explorer.locator("input[type=number]").nth(0)
    changed = [_changes(page, lambda n=n: (seed.fill(str(n)), seed.press("Enter"))) for n in (2, 3, 4)]
    assert any(changed)
    opened.shot("lab-switch-explorer-moved")


def test_the_lexicon_explorer_finds_another_word(notebook):
    opened, _ = notebook
    box = opened.page.locator(".widget-text input[list]").first
    box.scroll_into_view_if_needed()
    assert _changes(opened.page, lambda: (box.fill("market"), box.press("Enter")), number=1)
    assert "Markt" in _view(opened.page, 1).inner_text()
    opened.shot("lab-lexicon-explorer")


def test_the_chart_is_drawn_by_jupyterlab_and_captioned(notebook):
    opened, _ = notebook
    drawn = opened.page.locator(".vega-embed canvas, .vega-embed svg").first
    drawn.scroll_into_view_if_needed()
    assert drawn.bounding_box()["width"] > 200
    assert opened.page.get_by_text("Words switched (bars)").first.is_visible()
    opened.shot("lab-chart")


def test_views_are_readable_in_the_dark_theme(notebook):
    opened, _ = notebook
    page = opened.page
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    page.locator(".widget-vbox").first.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    ink = _view(page).locator(".cs-text").first.evaluate("e => getComputedStyle(e).color")
    assert min(int(part) for part in re.findall(r"\d+", ink)[:3]) > 150
    opened.shot("lab-dark")


def test_nothing_is_asked_of_other_hosts_and_no_error_is_logged(notebook):
    opened, address = notebook
    assert opened.foreign(address, address.replace("http", "ws")) == []
    assert opened.errors == []
