"""The report, opened from disk in Chromium with every request written down: nothing is broken, nothing is asked."""

import io

import pytest

from cslab.workbench.notebooks import run_notebooks
from tests.browser.chromium import needs_chromium, tab
from tests.sample_notebooks import EXPLAIN, EXPLORE, FINISH, write_notebook

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_notebook(
        folder / "notebooks" / "03_switch_text.ipynb", *EXPLORE, FINISH.format(number=3, figures="words=5, share=0.5")
    )
    write_notebook(folder / "notebooks" / "05_evaluate.ipynb", *EXPLAIN, FINISH.format(number=5, figures="queries=40"))
    out = folder / "outputs"
    assert run_notebooks("demo", folder=folder / "notebooks", out=out, stream=io.StringIO()) == 0
    return out / "demo"


@pytest.mark.parametrize("dark", [False, True])
def test_pages_show_everything_from_disk(report, tmp_path, dark):
    with tab(tmp_path, dark) as opened:
        page = opened.page
        for name in ("index.html", "notebooks/03_switch_text.html"):
            page.goto(f"file://{report / name}")
            opened.shot(f"{name.split('/')[-1]}-{'dark' if dark else 'light'}", full_page=True)
            pictures = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt])")
            assert pictures
            assert all(width > 100 and alt for width, alt in pictures)
            assert page.locator('.cs-s bdi[lang="ar"][dir="rtl"]').count() > 0
            assert page.evaluate("document.body.scrollWidth <= window.innerWidth")
            ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
            assert (_light(ground), _light(ink)) == ((False, True) if dark else (True, False))
        links = page.evaluate("[...document.links].map(a => a.href)")
        assert all(link.startswith("file://") for link in links)
        assert opened.foreign("file:") == []
        assert opened.errors == []


def test_static_twins_open_their_queries_without_a_kernel(report, tmp_path):
    with tab(tmp_path, width=1000) as opened:
        page = opened.page
        page.goto(f"file://{report / 'notebooks' / '05_evaluate.html'}")
        assert page.locator(".cs-contrast").first.is_visible()
        assert page.locator(".cs-lines path").count() > 10
        assert page.get_by_text("compared with").count() == 0  # controls need a kernel and are left out
        assert page.locator("td[title^='English → Arabic']").first.is_visible()
        missed = page.locator("details:has(> summary:text-is('queries missed'))").first
        missed.locator("summary").focus()
        page.keyboard.press("Enter")
        assert missed.locator("li").first.is_visible()
        page.get_by_text("What if the first of these were switched").click()
        assert page.get_by_text("Scored again for the edited query").is_visible()
        assert page.locator("svg[aria-label^='dev score']").first.is_visible()
        assert page.evaluate("document.body.scrollWidth <= window.innerWidth")
        opened.shot("report-errors", full_page=True)
        assert opened.foreign("file:") == []
        assert opened.errors == []


def test_links_of_the_index_lead_to_files(report, tmp_path):
    with tab(tmp_path) as opened:
        opened.page.goto(f"file://{report / 'index.html'}")
        opened.page.get_by_role("link", name="03 · Switching").click()
        assert opened.page.get_by_role("heading", name="Try it").is_visible()
        opened.page.get_by_role("link", name="all notebooks").click()
        assert "cslab: demo" in opened.page.title()


def _light(colour: str) -> bool:
    return sum(int(part) for part in colour[4:-1].split(",")) > 3 * 128
