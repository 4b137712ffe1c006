"""Views as HTML: the text inside is exactly the record's, escaped, with language and direction, and no script."""

import re
from html import unescape
from html.parser import HTMLParser

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from cslab.languages import LANGUAGES, SEEN
from cslab.lexicon.lexicon import Lexicon
from cslab.switching.draw import Key
from cslab.switching.policy import Policy
from cslab.switching.switch import switch
from cslab.workbench import html
from cslab.workbench.style import PALETTE, STYLE, colour, language_name, page

LEXICONS = {
    "de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("lives", "lebt")]),
    "ar": Lexicon.from_pairs("en", "ar", [("fox", "ثعلب"), ("lives", "يعيش")]),
    "ru": Lexicon.from_pairs("en", "ru", [("fox", "лиса", 0.5, "<muse>"), ("lives", "живёт")]),
}
POLICY = Policy(languages=("de", "ar", "ru"), query=1.0, document=1.0)
EVERYTHING = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60)


class Parsed(HTMLParser):
    """Balance of tags, and the text inside the first element of a class."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in ("br", "img", "meta", "link", "input", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def shown(view: str) -> str:
    """The plain text in the box of a switched text."""
    box = re.search(r'<div class="cs-text"[^>]*>(.*?)</div>', view, re.DOTALL).group(1)
    return unescape(re.sub(r"<[^>]*>", "", box))


def well_formed(view: str) -> Parsed:
    parsed = Parsed(view)
    assert parsed.open == []
    assert "script" not in parsed.tags
    assert not any(name.startswith("on") for attributes in parsed.attributes for name in attributes)
    return parsed


@given(EVERYTHING, EVERYTHING)
def test_switched_text_is_shown_to_the_letter(before, after):
    result = switch(f"{before} fox {after} lives", LEXICONS, POLICY, Key(1), "query")
    view = html.switched_html(result, title=before)
    # A parser may turn line ends and NUL into others; the escaped source must give the text back.
    assert shown(view) == unescape(html.escape(result.text))
    assert "<script" not in view


def test_spans_say_language_direction_source_and_score():
    results = [switch("The fox lives.", LEXICONS, POLICY, Key(seed), "query") for seed in range(20)]
    result = next(r for r in results if {s.language for s in r.spans} >= {"ar", "ru"})
    view = html.switched_html(result)
    well_formed(view)
    assert '<bdi lang="ar" dir="rtl">' in view
    assert 'data-code="ru"' in view
    assert '<div class="cs-text" lang="en" dir="ltr">' in view
    assert "Arabic (ar) 1" in view
    span = next(s for s in result.spans if s.language == "ru")
    assert html.escape(f"{span.source} → {span.target} · Russian · score {span.score:.3g} · {span.method}") in view


def test_nothing_switched_is_said():
    view = html.switched_html(switch("None here", LEXICONS, POLICY, Key(1), "query"))
    assert "nothing switched" in view


def test_escaping_of_every_part():
    evil = "<img src=x onerror=alert(1)>\"'&"
    frame = pd.DataFrame({evil: [evil, None], "n": [1.25, float("nan")]}, index=[evil, "b"])
    for view in (
        html.table_html(frame, evil),
        html.note_html(evil, evil),
        html.columns({evil: html.note_html("x")}),
        html.bars_html([(evil, 0.5, evil)], evil),
        html.lexicon_html(evil, {"de": Lexicon.from_pairs("en", "de", [(evil, evil)])}, {"de": [(evil, 0.5)]}),
        html.legend_html([evil]),
        page(evil, html.note_html(evil)),
    ):
        assert "<img" not in view
        well_formed(view)


def test_tables_align_numbers_and_mark_the_best():
    frame = pd.DataFrame({"MoIR": [36.04, 35.0], "queries": [1200, 300]}, index=pd.Index(["a", "b"], name="system"))
    view = html.table_html(frame, "MRR", best=True)
    assert '<td class="cs-n cs-best">36.0</td>' in view
    assert '<td class="cs-n">35.0</td>' in view
    assert "1,200" in view
    assert '<th scope="col">system</th>' in view
    assert "reset" not in html.table_html(frame.reset_index(drop=True))


def test_translations_in_several_languages():
    view = html.lexicon_html("Fox", LEXICONS, {"en": [("wolf", 0.71)], "de": []})
    well_formed(view)
    assert '<bdi lang="ar" dir="rtl">ثعلب</bdi>' in view
    assert "0.5 &lt;muse&gt;" in view
    assert "nearest words" in view
    assert "no entry" in html.lexicon_html("unheard", LEXICONS)


def test_colours_differ_among_the_languages_of_the_paper():
    seen = [colour(code) for code in (*SEEN, "fr", "es", "pt")]
    assert len(set(seen)) == len(seen)
    assert all(colour(code) in PALETTE for code in LANGUAGES if code != "en")
    assert colour("tlh") in PALETTE
    assert language_name("xx") == "many languages"


def test_a_page_asks_nothing_of_other_hosts():
    text = page("Title", html.note_html("a") + html.note_html("b"))
    assert text.count(STYLE) == 1
    assert "http" not in text
    well_formed(text.removeprefix("<!DOCTYPE html>"))


def test_a_deviation_over_seeds_follows_its_own_cell():
    frame = pd.DataFrame({"system": ["b", "a"], "MoIR": [60.0, 50.0]})
    spread = pd.DataFrame({"system": ["b", "a"], "MoIR": [0.3, None]})
    table = html.table_html(frame, index=False, best=True, deviations=spread)
    assert 'cs-best">60.0 ± 0.3<' in table
    assert ">50.0<" in table
    assert html.table_html(frame, index=False) == html.table_html(frame, index=False, deviations=pd.DataFrame())
