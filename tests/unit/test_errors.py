"""The error explorer: what it knows of each query, how it lists them, what it shows, and what-if with a real model."""

import re
from dataclasses import replace

import ipywidgets as w
import pandas as pd
import pytest

from cslab.collections.trec import Run
from cslab.evaluation.settings import Task
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.workbench.cases import MISSED, ORDERS, Experiment, cases, cause_table, ordered, with_cause
from cslab.workbench.contrast import causes_html, contrast_html, marked
from cslab.workbench.errors import ErrorExplorer
from cslab.workbench.links import Links, Match
from tests.tiny import tiny_encoder
from tests.unit.test_html import well_formed

LEXICONS = {
    "de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("lives", "lebt"), ("forest", "Wald"), ("where", "wo")]),
    "ar": Lexicon.from_pairs("en", "ar", [("where", "أين"), ("forest", "غابة")]),
    "zh": Lexicon.from_pairs("en", "zh", [("forest", "森林")]),
}
QUERIES = {"q1": "Where lives Reineke?", "q2": "Which forest is old?", "q3": "Forest?", "q4": "What house?"}
GERMAN = {"d1": "Reineke lebt hier.", "d2": "Der Wald ist alt.", "d3": "Ein Haus.", "d4": "Das Haus <b>."}


def run(name, pair, **scores):
    query, document = pair.split("-")
    return Run(name, query, document, "bm25(en)@3", scores)


def experiment(encoder=None):
    first = {"q1": {"d1": 3.0, "d2": 2.0, "d3": 1.0}, "q2": {"d1": 3.0, "d2": 2.0, "d3": 1.0}}
    first |= {"q3": {"d1": 3.0, "d2": 2.0, "d3": 1.0}, "q4": {"d1": 1.0, "d2": 2.0}}
    second = first | {"q1": {"d1": 1.0, "d2": 2.0, "d3": 3.0}, "q2": {"d1": 1.0, "d2": 2.0, "d3": 0.0}}
    qrels = {"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d2": 1}, "q4": {"d3": 1}}
    tasks = {"en-de": Task("en", "de", QUERIES, GERMAN, qrels, run("bm25", "en-de", **first))}
    pool = {"de:d1": "Der Wald.", "ar:d2": "غابة", "de:d3": "Ein Wald <i>.", "ar:d4": "بيت"}
    scores = {"q2": {"de:d1": 2.0, "ar:d2": 1.0, "de:d3": 3.0, "ar:d4": 0.5}}
    tasks["en-xx"] = Task(
        "en", "xx", {"q2": "Which forest?"}, pool, {"q2": {"ar:d2": 1}}, run("bm25", "en-xx", **scores)
    )
    runs = {("en-de", "A"): run("A", "en-de", **first), ("en-de", "B"): run("B", "en-de", **second)}
    runs[("en-xx", "A")] = run("A", "en-xx", **scores)
    systems = {"en-de": ("A", "B"), "en-xx": ("A",)}
    given = None if encoder is None else lambda pair, name: encoder
    return Experiment(systems, tasks.__getitem__, lambda pair, name: runs[pair, name], LEXICONS, given)


def changes(explorer, control, value) -> bool:
    before = explorer.view.value
    control.value = value
    return explorer.view.value != before


# --- links ---------------------------------------------------------------------------------------------------


def test_words_are_looked_up_between_any_two_languages():
    links = Links(LEXICONS)
    assert links.translations("Wald", "de", "ar") == ("غابة",)
    assert links.translations("Wald", "de", "en") == ("forest",)
    assert links.translations("غابة", "xx", "de") == ("Wald",)
    assert links.translations("forest", "en", "ru") == ()
    assert links.translations("forest", "en", "en") == ()
    found = links.between("Which forest?", "en", "在古老的森林里", "zh")
    assert found.linked == {"森林": ("forest",)}
    assert links.coverage("Which old forest?", "en", ("de",)) == 0.5
    assert links.coverage("a?", "en", ("de",)) == 0.0


def test_marked_text_is_the_text():
    match = Match(frozenset({"wald"}), {"森林": ("forest",), "alt": ("old",)})
    assert marked("Wald <alt>", "de", match) == (
        '<b>Wald</b> &lt;<span class="cs-link" title="lexicon: old → alt">alt</span>&gt;'
    )
    assert 'title="lexicon: forest → 森林">森林</span>' in marked("在古老的森林里", "zh", match)


# --- cases ---------------------------------------------------------------------------------------------------


def test_each_query_has_its_ranks_causes_and_what_may_explain_them():
    table = cases(experiment(), "en-de", "A", "B", k=1)
    assert table["first"].tolist() == [1, 2, 2, pd.NA]
    assert table["second"].tolist() == [3, 1, 2, pd.NA]
    assert table["stage"].tolist() == [1, 2, 2, pd.NA]
    assert table["gain"].round(2).tolist() == [-0.67, 0.5, 0.0, 0.0]
    assert table["cause first"].tolist() == ["found", "wrong document", "wrong document", "first stage missed"]
    assert table["coverage"].round(2).tolist() == [0.5, 0.5, 1.0, 0.0]
    assert table["words"].tolist() == [3, 4, 1, 2]
    assert table.loc["q1", "overlap"] == pytest.approx(1 / 3)
    assert list(with_cause(table, "second", MISSED).index) == ["q1", "q3", "q4"]
    counts = cause_table(experiment(), "A")
    assert counts.loc["en-de"].tolist() == [1, 1, 0, 2]
    assert counts.loc["en-xx", "wrong language"] == 1
    assert cases(experiment(), "en-xx", "A", "A")["answer"].tolist() == ["ar"]


def test_orders():
    table = cases(experiment(), "en-de", "A", "B")
    assert [ordered(table, order).index[0] for order in ORDERS] == ["q1", "q1", "q2", "q4", "q4", "q1"]
    with pytest.raises(CslabError, match="did you mean 'differ most'"):
        ordered(table, "differ mst")


def test_unknown_pairs_and_systems_are_refused_with_what_there_is():
    for call, words in (
        (lambda: cases(experiment(), "en-ed", "A", "B"), "did you mean 'en-de'"),
        (lambda: ErrorExplorer(experiment(), "en-xx", "A", "B"), "B has no run for en-xx; A have"),
        (lambda: ErrorExplorer(experiment(), "de-en"), "not evaluated"),
        (lambda: Experiment({}, None, None), "at least one language pair"),
    ):
        with pytest.raises(CslabError, match=words):
            call()


# --- views ---------------------------------------------------------------------------------------------------


def test_two_rankings_are_marked_and_their_moves_drawn():
    found = experiment()
    runs = {name: found.run("en-de", name) for name in ("A", "B")}
    view = contrast_html(found.task("en-de"), "q1", runs, found.links, k=2, facts="<3 words>")
    well_formed(view)
    assert view.count("✓ relevant") == 1  # third in the second ranking, of which two are shown
    assert "relevant document at rank 3 of 3" in view
    assert view.count("<path ") == 3
    assert view.count("stroke-dasharray") == 2  # from or to a rank that is not shown
    assert "▲2" in view
    assert "<b>Reineke</b>" in view
    assert 'title="lexicon: lives → lebt">lebt</span>' in view
    assert "&lt;3 words&gt;" in view
    assert "relevant: d1 (German)" in view
    pool = contrast_html(found.task("en-xx"), "q2", {"A": found.run("en-xx", "A")}, found.links)
    assert '<div class="cs-doc" lang="ar" dir="rtl">' in pool
    assert "&lt;i&gt;" in pool
    with pytest.raises(CslabError, match="no query 'q9'"):
        contrast_html(found.task("en-de"), "q9", runs, found.links)


def test_bars_say_their_numbers_and_open_their_queries():
    view = causes_html(cause_table(experiment(), "A"), "Why", {("en-de", "wrong document"): [("Which <x>?", "en")]})
    well_formed(view)
    assert 'aria-label="found 1, first stage missed 1, wrong document 2"' in view
    assert "Which &lt;x&gt;?" in view
    assert "and 1 more" in view


# --- the widget ----------------------------------------------------------------------------------------------


def test_every_control_acts():
    explorer = ErrorExplorer(experiment())
    assert (explorer.first.value, explorer.second.value, explorer.query.value) == ("A", "B", "q1")
    assert "1 → 3" in explorer.query.options[0][0]
    assert explorer.selected.index.tolist() == ["q1"]
    assert changes(explorer, explorer.order, "second gains most")
    assert explorer.query.value == "q2"
    assert changes(explorer, explorer.query, "q4")
    assert "the first stage missed the answer" in explorer.view.value
    explorer.steps[0].click()
    assert explorer.query.value == "q3"
    explorer.step(9)
    assert explorer.query.value == explorer.query.options[-1][1]
    assert changes(explorer, explorer.documents, 1)
    assert changes(explorer, explorer.k, 3)
    assert changes(explorer, explorer.second, "A")
    assert changes(explorer, explorer.doc_lang, "xx")
    assert "many languages" in explorer.settings()
    assert changes(explorer, explorer.first, "B")
    assert "B has no run for en-xx" in explorer.view.value
    assert "B has no run" in explorer.static()
    explorer.open("en-de", "A", "B")
    assert "Reineke" in explorer.view.value


def test_filters_narrow_the_list():
    explorer = ErrorExplorer(experiment())
    filters = explorer.filters
    assert list(explorer.table.index) == ["q1", "q2", "q3", "q4"]
    filters.cause.value = MISSED
    assert list(explorer.table.index) == ["q1", "q3", "q4"]
    filters.which.value = "first"
    assert list(explorer.table.index) == ["q2", "q3", "q4"]
    filters.sliders["stage"].value = (2, 2)  # a range that is not the whole one
    filters.sliders["stage"].value = (1, 1)
    assert "No query passes" in explorer.view.value
    assert explorer.selected.empty
    assert filters.words() == "first: missed (any cause), first-stage rank 1 to 1"
    explorer.second.value = "A"  # another system starts afresh
    assert len(explorer.table) == 4
    filters.sliders["coverage"].value = (0.4, 0.6)
    assert list(explorer.table.index) == ["q1", "q2"]
    filters.sliders["words"].value = (4, 4)
    assert list(explorer.table.index) == ["q2"]


def test_bars_open_their_queries():
    explorer = ErrorExplorer(experiment(), second="A", first="A")
    buttons = [b for row in explorer.bars.rows.children for b in row.children[1].children]
    assert [b.description for b in buttons] == ["1", "1", "2", "1"]
    assert buttons[2].tooltip == "English → German, wrong document: 2 of 4"
    buttons[2].click()
    assert list(explorer.table.index) == ["q2", "q3"]
    assert explorer.bars.rows.children[0].children[1].children[2] is buttons[2]  # it keeps the focus
    buttons[3].click()
    assert explorer.pair == "en-xx"
    explorer.open("en-de", "B", "A")
    buttons[3].click()
    assert "B has no run for en-xx" in explorer.view.value


def test_the_static_twin_names_the_missed_queries_and_shows_the_first():
    twin = ErrorExplorer(experiment()).static()
    well_formed(twin)
    assert "A and B, English → German; queries: differ most; an answer is found if it is first" in twin
    assert twin.count("<details open>") == 1
    assert "Why B misses" in twin
    assert "What if" not in twin


def test_what_if_scores_an_edited_and_a_switched_query_with_the_model(tmp_path):
    from cslab.ranking.cross_encoder import score_pairs

    encoder = tiny_encoder(tmp_path)
    explorer = ErrorExplorer(experiment(encoder))
    whatif = explorer.whatif
    assert whatif.edit.value == "Where lives Reineke?"
    assert changes(explorer, whatif.edit, "where is the fox")
    assert "Scored again" in explorer.view.value
    expected = score_pairs(encoder, [("where is the fox", GERMAN["d1"])])[0]
    assert f"{expected:.2f}" in explorer.view.value
    assert changes(explorer, whatif.policy, "Wiki-CS")
    assert changes(explorer, whatif.policy, "BL-CS de-en")
    assert "BL-CS en-de" not in whatif.policy.options
    drawn = {whatif.edit.value}
    for seed in range(2, 12):
        whatif.seed.value = seed
        drawn.add(whatif.edit.value)
    assert len(drawn) > 3
    explorer.experiment = whatif.experiment = replace(
        whatif.experiment, read=lambda pair, name, task: replace(task, queries=dict.fromkeys(task.queries, "hen"))
    )
    whatif.edit.value = "what was typed"
    assert f"{score_pairs(encoder, [('hen', GERMAN['d1'])])[0]:.2f}" in explorer.view.value  # as the system reads it
    whatif.edit.value = " "
    assert "the query is empty" in explorer.view.value
    explorer.query.value = "q2"
    assert whatif.edit.value == QUERIES["q2"]
    assert "Scored again" not in explorer.view.value
    assert "What if the first of these were switched by ML-CS?" in explorer.static()


def test_controls_are_labelled_for_keyboard_and_screen_reader():
    explorer = ErrorExplorer(experiment())
    assert all(control.description for control in explorer._controls)
    sliders = [c for c in explorer._controls if isinstance(c, (w.FloatRangeSlider, w.IntRangeSlider))]
    assert len(sliders) == 4
    assert not any(slider.continuous_update for slider in sliders)
    assert not re.search(r"<script|https?:", explorer.static())


def test_folded_parts_are_opened_and_closed_by_buttons():
    explorer = ErrorExplorer(experiment())
    for part, opened in ((explorer.bars.box, True), (explorer.filters.box, False), (explorer.whatif.box, False)):
        head, inner = part.children
        assert (inner.layout.display is None) == opened
        head.click()
        assert (inner.layout.display is None) == (not opened)
        assert head.icon == ("caret-right" if opened else "caret-down")
