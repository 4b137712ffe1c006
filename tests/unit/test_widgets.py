"""Widgets, driven from Python as a user drives them: every control changes the view, and the twin shows the same."""

import re

import ipywidgets as w
import pytest

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.workbench.execute import HEADLESS
from cslab.workbench.explorer import Explorer
from cslab.workbench.widgets import ORIGINAL, LexiconExplorer, SwitchExplorer, show

LEXICONS = {
    "de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("lives", "lebt"), ("forest", "Wald"), ("fox", "Füchsin")]),
    "ar": Lexicon.from_pairs("en", "ar", [("fox", "ثعلب"), ("lives", "يعيش"), ("forest", "غابة")]),
}
EXAMPLES = [("Where is the fox?", "The fox lives in the old forest."), ("Who lives there?", "A fox, says the forest.")]


@pytest.fixture
def switching():
    return SwitchExplorer(LEXICONS, EXAMPLES)


def changes(explorer, control, value) -> bool:
    before = explorer.view.value
    control.value = value
    return explorer.view.value != before


def test_every_control_of_the_switch_explorer_changes_the_view(switching):
    assert changes(switching, switching.rates["document"], 1.0)
    assert changes(switching, switching.rates["query"], 1.0)
    assert changes(switching, switching.texts["query"], "my own fox <b>")
    assert "my own" in switching.view.value
    assert "<b>" not in re.sub("</?bdi", "", switching.view.value)
    assert changes(switching, switching.example, 1)
    assert switching.texts["query"].value == "Who lives there?"
    assert changes(switching, switching.languages["ar"], False)
    assert 'lang="ar"' not in switching.view.value
    assert changes(switching, switching.policy, "CoSDA-ML")
    assert switching.rates["query"].value == 0.8
    assert changes(switching, switching.other, "ML-CS")
    assert "ML-CS (p = 0.5 / 0.5)" in switching.view.value
    seen = set()
    for seed in range(10):
        switching.seed.value = seed
        seen.add(switching.view.value)
    for epoch in range(10):
        switching.epoch.value = epoch
        seen.add(switching.view.value)
    assert len(seen) > 5


def test_the_draw_is_that_of_training(switching):
    from cslab.switching.draw import Key
    from cslab.switching.switch import switch

    switching.seed.value, switching.epoch.value = 7, 3
    policy = switching.policies()[0]
    expected = switch(EXAMPLES[0][1], LEXICONS, policy, Key(7, 3, 0), "document")
    assert switching.switched(policy, "document") == expected


def test_bilingual_policies_have_languages_of_their_own(switching):
    switching.policy.value = "BL-CS en-ar"
    assert all(box.disabled for box in switching.languages.values())
    assert switching.rates["query"].value == 0.0
    switching.rates["document"].value = 1.0
    assert 'lang="ar"' in switching.view.value
    assert 'lang="de"' not in switching.view.value
    switching.policy.value = "ML-CS"
    assert not any(box.disabled for box in switching.languages.values())


def test_texts_of_another_language_than_english():
    pairs = [("der", "the"), ("Fuchs", "fox"), ("lebt", "lives"), ("Wald", "forest")]
    lexicons = {
        "en": Lexicon.from_pairs("de", "en", pairs),
        "ru": Lexicon.from_pairs("de", "ru", [("Fuchs", "лиса"), ("Wald", "лес")]),
        "de": Lexicon.from_pairs("de", "de", [("Wald", "Forst")]),
    }
    explorer = SwitchExplorer(lexicons, [("Wo lebt der Fuchs?", "Der Fuchs lebt im Wald.")], "BL-CS de-en", "ML-CS")
    explorer.rates["document"].value = 1.0
    assert "The" in explorer.view.value
    assert "Fox" in explorer.view.value
    assert 'class="cs-text" lang="de"' in explorer.view.value
    assert list(explorer.languages) == ["en", "ru"]
    for name in explorer.policy.options:
        explorer.policy.value = name
        explorer.rates["document"].value = 1.0
        assert 'cs-error"' not in explorer.view.value, name
    explorer.policy.value = "RS-DA"
    assert set(explorer.policies()[0].languages) == {"de"}
    polish = {"en": Lexicon.from_pairs("pl", "en", [("lis", "fox")])}
    offered = SwitchExplorer(polish, [("lis", "lis")]).policy.options
    assert "ML-CS" in offered
    assert not {"Wiki-CS", "ML-CS faithful", "RS-DA"} & set(offered), "no stop-words, no synonyms"


def test_a_policy_is_offered_by_any_name_that_is_known():
    both = SwitchExplorer(LEXICONS, EXAMPLES, "BL-CS de-ar")
    assert both.policies()[0].rate("query") == 0.5
    assert 'cs-error"' not in both.view.value
    with pytest.raises(CslabError, match="policy 'MLCS' is not known"):
        SwitchExplorer(LEXICONS, EXAMPLES, other="MLCS")


def test_a_mistake_is_a_note_in_the_view(switching):
    for box in switching.languages.values():
        box.value = False
    assert "tick at least one" in switching.view.value
    assert 'cs-error"' in switching.static()


def test_two_equal_policies_stand_side_by_side(switching):
    switching.other.value = "ML-CS"
    assert "ML-CS (p = 0.5 / 0.5) again" in switching.view.value


def test_p_begins_at_the_profiles_and_follows_the_policy():
    explorer = SwitchExplorer(LEXICONS, EXAMPLES, "ML-CS", "BL-CS en-de", probability=0.2)
    assert "ML-CS (p = 0.2 / 0.2)" in explorer.view.value
    assert "BL-CS en-de (p = 0 / 0.2)" in explorer.view.value
    explorer.policy.value = "CoSDA-ML"
    assert explorer.rates["query"].value == 0.8
    explorer.policy.value = "ML-CS"
    assert explorer.rates["query"].value == 0.2


def test_lexicons_of_another_source_can_be_chosen():
    names = {"de": Lexicon.from_pairs("en", "de", [("fox", "Reineke")])}
    explorer = SwitchExplorer(LEXICONS, EXAMPLES, further={"names": names})
    for side in explorer.rates:
        explorer.rates[side].value = 1.0
    assert "own lexicons; German, Arabic" in explorer.settings()
    assert changes(explorer, explorer.which, "names")
    assert "Reineke" in explorer.view.value
    assert "names lexicons; German;" in explorer.settings()
    assert explorer.languages["ar"].disabled
    explorer.which.value = "own"
    assert not explorer.languages["ar"].disabled


def test_it_may_begin_with_the_example_that_tells_most():
    plain = ("Nothing of it.", "Is known.")
    explorer = SwitchExplorer(LEXICONS, [plain, plain, EXAMPLES[0]], probability=1.0, example=None)
    assert explorer.example.value == 2
    assert explorer.texts["query"].value == EXAMPLES[0][0]
    assert SwitchExplorer(LEXICONS, [plain, EXAMPLES[0]], example=1).texts["document"].value == EXAMPLES[0][1]


def test_scores_of_an_encoder_are_shown(tmp_path):
    from tests.tiny import tiny_encoder

    explorer = SwitchExplorer(LEXICONS, EXAMPLES, encoder=tiny_encoder(tmp_path))
    assert explorer.view.value.count("score of the pair by tiny-0") == 2


def test_the_static_twin_shows_the_view_and_its_settings(switching):
    switching.policy.value = "M3P"
    twin = switching.static()
    assert "M3P, p query 0.8, p document 0.8; German, Arabic; seed 1, epoch 0" in twin
    assert "The " in twin
    assert "<script" not in twin


def test_show_adds_the_twin_only_where_no_one_looks_on(switching, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *args, **options: shown.append((*args, options)))
    monkeypatch.delenv(HEADLESS, raising=False)
    show(switching)
    assert shown == [(switching.box, {})]
    monkeypatch.setenv(HEADLESS, "1")
    show(switching, main=True)
    twin, options = shown[-1]
    assert options["metadata"] == {"cslab": {"main": True, "caption": switching.settings()}}
    assert twin.data == switching.static()


def test_the_lexicon_explorer_looks_words_up_and_counts_coverage():
    tokens = ["The", "fox", "lives", "in", "the", "Forest", "The", "fox"]
    explorer = LexiconExplorer(LEXICONS, tokens=tokens, neighbours=lambda word: {"en": [(word + "es", 0.5)]})
    assert explorer.word.value == "fox"
    assert explorer.word.options == ("fox", "lives", "forest")
    assert "German, 3 entries" in explorer.view.value
    assert "50.0 %" in explorer.view.value
    assert "foxes" in explorer.view.value
    assert "Füchsin" in explorer.view.value
    assert changes(explorer, explorer.top, 1)
    assert "Füchsin" not in explorer.view.value
    assert changes(explorer, explorer.word, "Forest")
    assert "غابة" in explorer.view.value
    assert changes(explorer, explorer.word, "unheard")
    assert "no entry" in explorer.view.value
    assert changes(explorer, explorer.word, " ")
    assert "Type a word" in explorer.view.value
    assert LexiconExplorer(LEXICONS).word.value in LEXICONS["de"]
    articles = {"de": Lexicon.from_pairs("en", "de", [("the", "der"), ("fox", "Fuchs")])}
    assert LexiconExplorer(articles, tokens=tokens).word.value == "fox", "stop-words come last"


@pytest.mark.parametrize(
    "build",
    [
        lambda: SwitchExplorer({}, EXAMPLES),
        lambda: SwitchExplorer(LEXICONS, []),
        lambda: LexiconExplorer({}),
    ],
)
def test_nothing_to_explore_is_refused(build):
    with pytest.raises(CslabError, match="at least one"):
        build()


def test_controls_are_labelled_for_keyboard_and_screen_reader(switching):
    for explorer in (switching, LexiconExplorer(LEXICONS)):
        assert isinstance(explorer, Explorer)
        assert all(c.description for c in explorer._controls)
        sliders = [c for c in explorer._controls if isinstance(c, w.FloatSlider)]
        assert not any(c.continuous_update for c in sliders)


def test_no_switching_is_offered_as_the_other_side(switching):
    assert switching.other.value == ORIGINAL
    assert "nothing switched" not in switching.view.value.split(ORIGINAL)[1]
