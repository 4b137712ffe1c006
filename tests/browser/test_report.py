"""Every page of a report, opened from disk in Chromium with the network blocked, shows each chart and static twin."""

import re

import pytest

from cslab.store import read_json
from tests.browser.chromium import needs_chromium, tab
from tests.smoke import NUMBERED, WIDGET

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_chromium]

SIZES = "[...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().width, i.alt])"
GROUND = "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"


@pytest.fixture(scope="module", params=[False, True], ids=["light", "dark"])
def opened(request, browser):
    """A tab without a network."""
    with tab(browser, request.param, offline=True) as found:
        found.dark = request.param
        yield found


def _outputs(path) -> list[dict]:
    """What the cells of an executed notebook have put out, as data by type."""
    return [
        output["data"] for cell in read_json(path)["cells"] for output in cell.get("outputs", ()) if "data" in output
    ]


@pytest.mark.parametrize("name", [path.stem for path in NUMBERED])
def test_a_page_shows_every_chart_and_twin(smoke, opened, name):
    found, page = _outputs(smoke.home / "notebooks" / f"{name}.ipynb"), opened.page
    opened.errors.clear()
    page.goto(f"file://{smoke.home / 'notebooks' / f'{name}.html'}")
    charts = [data for data in found if "image/png" in data and "text/html" not in data]
    twins = [data for data in found if 'class="cslab"' in "".join(data.get("text/html", ""))]
    drawn = page.evaluate(SIZES)
    assert len(drawn) >= len(charts)
    assert all(size > 0 and shown > 0 and text for size, shown, text in drawn)
    assert len([1 for size, *_ in drawn if size > 100]) >= len(charts)
    assert page.locator(".cs-caption").count() >= len(charts)
    views = page.locator(".cslab:not(.cslab .cslab)")
    assert views.count() >= len(twins) >= sum(WIDGET in data for data in found)
    assert all(view.is_visible() and view.inner_text().strip() for view in views.all())
    assert page.locator(".cs-error").count() == 0
    _is_readable(opened)
    opened.shot(f"report-{name}-{'dark' if opened.dark else 'light'}", full_page=True)


def test_the_index_leads_to_every_page(smoke, opened):
    page = opened.page
    opened.errors.clear()
    page.goto(f"file://{smoke.home / 'index.html'}")
    drawn = page.evaluate(SIZES)
    assert drawn
    assert all(size > 100 and text for size, _, text in drawn)
    links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    assert {f"notebooks/{path.stem}.html" for path in NUMBERED} <= set(links)
    assert all((smoke.home / link).is_file() for link in links if not link.startswith("#"))
    assert all(page.locator(link).count() == 1 for link in links if link.startswith("#"))
    assert page.locator(".cs-found li").count() == len(NUMBERED)
    _is_readable(opened)
    opened.shot(f"report-index-{'dark' if opened.dark else 'light'}", full_page=True)
    page.locator("a[href$='03_switch_text.html']").first.click()
    page.get_by_role("link", name="all notebooks").click()
    assert "cslab: smoke" in page.title()


def _is_readable(opened) -> None:
    """No line runs off the page, ink and ground differ, nothing was asked for, no error was logged."""
    page = opened.page
    assert page.evaluate("document.body.scrollWidth <= window.innerWidth")
    assert [_light(colour) for colour in page.evaluate(GROUND)] == [not opened.dark, opened.dark]
    assert opened.foreign("file:") == []
    assert opened.errors == []


def test_static_twins_open_their_queries_without_a_kernel(smoke, opened):
    page = opened.page
    page.goto(f"file://{smoke.home / 'notebooks' / '05_evaluate.html'}")
    assert page.locator(".cs-contrast").first.is_visible()
    assert page.locator(".cs-lines path").count() > 5
    assert page.locator("select, .jupyter-widgets").count() == 0  # controls need a kernel and are left out
    assert page.locator("td[title^='English → Arabic']").first.is_visible()
    missed = page.locator("details:has(> summary:text-is('queries missed'))").first
    missed.locator("summary").focus()
    page.keyboard.press("Enter")
    assert missed.locator("li").first.is_visible()
    page.get_by_text("What if the first of these were switched").click()
    assert page.get_by_text("Scored again for the edited query").is_visible()


def test_right_to_left_text_reads_from_the_right(smoke, opened):
    page = opened.page
    page.goto(f"file://{smoke.home / 'notebooks' / '03_switch_text.html'}")
    arabic = page.locator('.cs-s bdi[lang="ar"]').first
    assert arabic.evaluate("e => getComputedStyle(e).direction") == "rtl"


def _light(colour: str) -> bool:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) > 3 * 128
