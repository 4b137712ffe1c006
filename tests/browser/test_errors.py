"""The widgets that explain errors in a real JupyterLab: cells and bars open queries, filters, what-if and keys act."""

import re

import pytest

from tests.browser.chromium import LIMIT, lab, needs_chromium, run_all, tab
from tests.sample_notebooks import EXPLAIN, write_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A notebook that has been run in JupyterLab, in a browser, and the address."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "nb" / "05_errors.ipynb", *EXPLAIN)
    with lab(folder / "nb", folder) as address, tab(folder / "chromium", width=1400, height=2200) as found:
        page = found.page
        run_all(page, f"{address}/lab/tree/05_errors.ipynb?reset")
        page.wait_for_selector(".cslab .cs-contrast", timeout=3 * LIMIT)  # torch, transformers and the atlas
        page.get_by_text("ml-cs-s1").last.wait_for()
        page.keyboard.press("Control+b")  # the file browser goes
        yield found, address


def _view(page) -> str:
    """The view of the error explorer."""
    return page.locator(".widget-html-content:has(.cs-contrast)").first.inner_html()


def _changes(page, act) -> bool:
    before = _view(page)
    act()
    for _ in range(LIMIT // 250):  # a model may have to be loaded
        if page.locator(".cs-contrast").count() and _view(page) != before:
            return True
        page.wait_for_timeout(250)
    return False


def test_a_cell_of_the_matrix_opens_its_queries(opened):
    found, _ = opened
    page = found.page
    page.locator(".cs-contrast").first.scroll_into_view_if_needed()
    found.shot("errors")
    cell = page.locator("button[title^='English → Arabic:']").first
    assert re.match(r"[+-]\d", cell.inner_text())
    assert _changes(page, cell.click)
    assert "English → Arabic" in _view(page)
    assert page.locator(".cs-doc[lang=ar][dir=rtl]").count() > 0
    found.shot("errors-arabic")


def test_a_bar_opens_its_queries_and_keys_walk_through_them(opened):
    found, _ = opened
    page = found.page
    bar = page.locator("button[title^='English → German, wrong document']").first
    assert _changes(page, lambda: (bar.focus(), page.keyboard.press("Enter")))
    following = page.get_by_role("button", name="next query")
    assert _changes(page, lambda: (following.focus(), page.keyboard.press("Enter")))
    found.shot("errors-bar")


def test_filters_and_what_if_act(opened):
    found, _ = opened
    page = found.page
    page.get_by_text("Filters", exact=True).first.click()
    page.get_by_text("What if the query were another?", exact=True).first.click()
    text = page.locator(".widget-textarea textarea").first
    text.scroll_into_view_if_needed()
    assert _changes(page, lambda: (text.fill("Where is the old market?"), text.blur()))
    assert "Scored again for the edited query" in _view(page)
    policy = page.locator(".widget-dropdown:has-text('switch it by') select").first
    assert _changes(page, lambda: policy.select_option("ML-CS"))
    found.shot("errors-what-if")
    outcome = page.locator(".widget-dropdown:has-text('outcome') select").first
    assert _changes(page, lambda: outcome.select_option("found"))


def test_dark_theme_and_the_training_view(opened):
    found, _ = opened
    page = found.page
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    page.wait_for_timeout(500)
    ink = page.locator(".cs-doc").first.evaluate("e => getComputedStyle(e).color")
    assert min(int(part) for part in re.findall(r"\d+", ink)[:3]) > 150
    page.locator(".cs-contrast").first.scroll_into_view_if_needed()
    found.shot("errors-dark")
    drawn = page.locator(".cslab svg[aria-label^='dev score']").first
    drawn.scroll_into_view_if_needed()
    assert drawn.bounding_box()["width"] >= 200
    assert "about 0:00:50 left" in page.locator(".cslab:has-text('ml-cs-s1')").last.inner_text()
    found.shot("training-dark")


def test_nothing_is_asked_of_other_hosts_and_no_error_is_logged(opened):
    found, address = opened
    assert found.foreign(address, address.replace("http", "ws")) == []
    assert found.errors == []
