"""Widgets to try things out: switching on one's own sentence, words in lexicons.

Thin classes: controls whose values go to a pure function of `html`. Each has a static twin, `widget.static()`, the HTML
of what it shows at the moment; `show` displays the widget, and beside it the twin where no one sits in front of the
notebook, so that executed notebooks and reports say something without a kernel.

    show(SwitchExplorer(lab.lexicons(), examples=[("Where do foxes live?", "The fox lives in the old forest.")]))
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as w

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.choices import STOPWORDS, stopwords_of
from cslab.switching.draw import SIDES, Key
from cslab.switching.policy import POLICIES, Policy, policy_named, with_rate
from cslab.switching.share import Tally
from cslab.switching.switch import Switched, switch
from cslab.text import fold
from cslab.workbench import html
from cslab.workbench.explorer import Explorer, field, rate, shorten, show
from cslab.workbench.style import GREY, PALETTE, colour, language_name

__all__ = ["LexiconExplorer", "SwitchExplorer", "show"]

ORIGINAL = "no switching"
OWN = "own"  # the lexicons that an explorer begins with
LISTED = 200  # most entries of a picker


# --- switching -----------------------------------------------------------------------------------------------


class SwitchExplorer(Explorer):
    """Switches a query and a document as training would, by one policy or two side by side.

    Pick an example or type over it; `seed` and `epoch` change the draw, as they do from epoch to epoch in training.
    """

    def __init__(
        self,
        lexicons: Mapping[str, Lexicon],
        examples: Sequence[tuple[str, str]],
        policy: str = "ML-CS",
        other: str = ORIGINAL,
        encoder: Any = None,
        seed: int = 1,
        probability: float | None = None,
        further: Mapping[str, Mapping[str, Lexicon]] | None = None,
        example: int | None = 0,
    ) -> None:
        """Builds the widget.

        Args:
            lexicons: target language → lexicon from the language of the texts.
            examples: (query, document) texts to pick from.
            policy: a name in `POLICIES`, or `BL-CS en-de` for a pair; for texts of the lexicons' source language.
            other: a second policy to compare with, or `no switching`.
            encoder: a cross-encoder that scores the pair before and after switching, if given.
            seed: of the draws.
            probability: p that the two policies begin with, as a profile may set it, in place of the published one.
            further: name → lexicons of another source, to choose in place of the first.
            example: the number of the one to begin with; None: of the first twenty, that with most words switched.
        """
        if not lexicons or not examples:
            raise CslabError("SwitchExplorer: give at least one lexicon and one (query, document) example")
        self.held, self.encoder = {OWN: dict(lexicons), **(further or {})}, encoder
        self.which = field(w.Dropdown, "lexicons", OWN, "16rem", options=list(self.held))
        self.rate = {} if probability is None else dict.fromkeys((policy, other), probability)
        self.source = next(iter(lexicons.values())).source
        # What is asked for is offered too: if a lexicon is lacking the view says which, a wrong name is told at once.
        asked = [policy_named(name, self.source).name for name in (policy, other) if name != ORIGINAL]
        names = list(dict.fromkeys([*usable_policies(lexicons, self.source), *asked]))
        picks = [(f"{n + 1}. {shorten(q)}", n) for n, (q, _) in enumerate(examples[:LISTED])]
        self.examples = list(examples)
        self.example = field(w.Dropdown, "example", 0, "34rem", options=picks, label_width="5rem")
        self.texts = {
            side: field(w.Textarea, side, text, "34rem", rows=3, continuous_update=False, label_width="5rem")
            for side, text in zip(SIDES, examples[0], strict=True)
        }
        self.policy = field(w.Dropdown, "policy", policy, "16rem", options=names)
        self.other = field(w.Dropdown, "beside it", other, "16rem", options=[ORIGINAL, *names])
        targets = [code for code in lexicons if code != self.source]
        self.languages = {code: field(w.Checkbox, language_name(code), True, indent=False) for code in targets}
        start = self._published(policy)
        self.rates = {side: rate(f"p {side}", start.rate(side)) for side in SIDES}
        self.seed = field(w.BoundedIntText, "seed", seed, "9rem", min=0, max=10**6)
        self.epoch = field(w.BoundedIntText, "epoch", 0, "9rem", min=0, max=10**6)
        rows = [[self.example], [*self.texts.values()], [self.policy, self.other, self.seed, self.epoch]]
        rows += [[*([self.which] if further else []), *self.rates.values()], [*self.languages.values()]]
        super().__init__(rows)
        self.example.value = self._most_switched(range(min(20, len(picks)))) if example is None else example

    def _most_switched(self, numbers: Iterable[int]) -> int:
        """The example of which the first policy switches most words, the first of several."""
        policy, keys = self.policies()[0], {n: Key(self.seed.value, self.epoch.value, n) for n in numbers}

        def count(n: int) -> int:
            texts = zip(SIDES, self.examples[n], strict=True)
            return sum(len(switch(text, self.lexicons, policy, keys[n], side).spans) for side, text in texts)

        return max(keys, key=count)

    def react(self, control: w.Widget) -> None:
        """An example brings its texts, a policy its published p; BL-CS has languages of its own."""
        if control is self.example:
            for side, text in zip(SIDES, self.examples[control.value], strict=True):
                self.texts[side].value = text
        if control is self.policy:
            for side, slider in self.rates.items():
                slider.value = self._published(control.value).rate(side)
        fixed = all(name == ORIGINAL or name.startswith("BL-CS") for name in (self.policy.value, self.other.value))
        for code, box in self.languages.items():
            box.disabled = fixed or code not in self.lexicons

    @property
    def lexicons(self) -> Mapping[str, Lexicon]:
        """Those of the chosen source."""
        return self.held[self.which.value]

    @property
    def chosen(self) -> list[str]:
        """The languages that are ticked and that the chosen source has."""
        return [code for code, box in self.languages.items() if box.value and code in self.lexicons]

    def _published(self, name: str) -> Policy:
        """A policy with its published p, or with the profile's where it is one of the two asked for."""
        policy = policy_named(name, self.source)
        return with_rate(policy, self.rate[name]) if name in self.rate else policy

    def policies(self) -> list[Policy]:
        """The first policy with the sliders' p, then the second, if any, with its own; both in the ticked languages."""
        rates = {side: slider.value for side, slider in self.rates.items()}
        found = [replace(self._with_languages(self.policy.value), **rates)]
        return found if self.other.value == ORIGINAL else [*found, self._with_languages(self.other.value)]

    def _with_languages(self, name: str) -> Policy:
        policy = self._published(name)
        if policy.name.startswith("BL-CS") or set(policy.languages) == {self.source}:
            return policy
        if not self.chosen:
            raise CslabError("no language is ticked; tick at least one")
        kept = [self.source] if self.source in policy.languages else []
        return replace(policy, languages=(*kept, *self.chosen))

    def switched(self, policy: Policy, side: str) -> Switched:
        """One side of the example under a policy."""
        key = Key(self.seed.value, self.epoch.value, self.example.value)
        return switch(self.texts[side].value, self.lexicons, policy, key, side)

    def render(self) -> str:
        """Both sides under each policy, with requested p, coverage and realised share."""
        policies = self.policies()
        results = [{side: self.switched(policy, side) for side in SIDES} for policy in policies]
        titles = [f"{policy.name} (p = {policy.rate('query'):g} / {policy.rate('document'):g})" for policy in policies]
        if len(set(titles)) < len(titles):
            titles[1] += " again"
        views = {title: self._one(p, r) for title, p, r in zip(titles, policies, results, strict=True)}
        if self.other.value == ORIGINAL:
            plain = {side: Switched(self.texts[side].value) for side in SIDES}
            original = [html.switched_html(plain[side], self.source, side, legend=False) for side in SIDES]
            views |= {ORIGINAL: html.stack(*original, self._score(plain))}
        return html.columns(views)

    def _one(self, policy: Policy, result: Mapping[str, Switched]) -> str:
        tally = Tally(policy)
        for side in SIDES:
            tally.add(result[side], side)
        bars = []
        for side in filter(policy.rate, SIDES):  # where nothing is asked for, nothing was looked up
            tones = {"requested": GREY, "coverage": PALETTE[5], "realised": PALETTE[1]}
            bars += [(f"{side}: {name}", share, tones[name]) for name, share in tally.summary(side).items()]
        texts = [html.switched_html(result[side], self.source, side) for side in SIDES]
        shares = html.bars_html(bars, "shares of words") if bars else ""
        return html.stack(*texts, shares, self._score(result))

    def _score(self, result: Mapping[str, Switched]) -> str:
        if self.encoder is None:
            return ""
        from cslab.ranking.cross_encoder import score_pairs

        score = score_pairs(self.encoder, [(result["query"].text, result["document"].text)])[0]
        return f'<div class="cs-muted">score of the pair by {html.escape(self.encoder.name)}: {score:.2f}</div>'

    def settings(self) -> str:
        """Policies, p, languages, seed and epoch."""
        rates = ", ".join(f"p {side} {slider.value:g}" for side, slider in self.rates.items())
        names = ", ".join(map(language_name, self.chosen))
        source = f"{self.which.value} lexicons; " if len(self.held) > 1 else ""
        return f"{self.policy.value}, {rates}; {source}{names}; seed {self.seed.value}, epoch {self.epoch.value}"


def usable_policies(lexicons: Mapping[str, Lexicon], source: str) -> list[str]:
    """The published policies that serve texts of a language with these lexicons, and BL-CS into each language."""

    def serves(policy: Policy) -> bool:
        listed = source in STOPWORDS or not (policy.faithful or policy.words == "content")
        return listed and (source in lexicons or set(policy.languages) != {policy.source})

    named = [policy.name for policy in POLICIES.values() if serves(policy)]
    return [*named, *(f"BL-CS {source}-{code}" for code in lexicons if code != source)]


# --- lexicons ------------------------------------------------------------------------------------------------


class LexiconExplorer(Explorer):
    """A word and its ranked translations in every language, with score and source, and how much the lexicons cover."""

    def __init__(
        self,
        lexicons: Mapping[str, Lexicon],
        word: str | None = None,
        tokens: Iterable[str] = (),
        neighbours: Callable[[str], Mapping[str, Sequence[tuple[str, float]]]] | None = None,
        top: int = 5,
    ) -> None:
        """Builds the widget.

        Args:
            lexicons: target language → lexicon.
            word: the word to begin with (default: the most frequent that all lexicons have and that is no stop-word).
            tokens: running words of a collection, for coverage and for words to suggest.
            neighbours: word → language → (word, similarity), nearest first.
            top: translations shown per language.
        """
        if not lexicons:
            raise CslabError("LexiconExplorer: give at least one lexicon")
        self.lexicons, self.neighbours = dict(lexicons), neighbours
        counted: dict[str, int] = {}
        for token in map(fold, tokens):
            counted[token] = counted.get(token, 0) + 1
        self.coverage = _coverage(self.lexicons, counted)
        known = [set(lexicon) for lexicon in lexicons.values()]
        source = next(iter(lexicons.values())).source
        stop = stopwords_of(source) if source in STOPWORDS else frozenset()
        frequent = sorted(counted, key=lambda t: (t in stop, -counted[t])) or next(iter(lexicons.values()))
        everywhere = [t for t in frequent if len(t) > 2 and all(t in words for words in known)]
        suggested = everywhere[:LISTED] or list(next(iter(lexicons.values())))[:LISTED]
        self.word = field(w.Combobox, "word", word or suggested[0], "22rem", options=suggested, continuous_update=False)
        self.top = field(w.BoundedIntText, "translations", top, "12rem", min=1, max=20)
        super().__init__([[self.word, self.top]])

    def render(self) -> str:
        """Translations, neighbours and coverage."""
        word = self.word.value.strip()
        if not word:
            return html.note_html("Type a word, or pick one.", "info")
        near = self.neighbours(word) if self.neighbours else None
        source = next(iter(self.lexicons.values())).source
        view = html.lexicon_html(word, self.lexicons, near, source, self.top.value)
        return html.columns({"translations": view, "lexicons": self.coverage}) if self.coverage else view

    def settings(self) -> str:
        """The word, and how many translations are shown."""
        return f"“{self.word.value}”, at most {self.top.value} translations a language"


def _coverage(lexicons: Mapping[str, Lexicon], counted: Mapping[str, int]) -> str:
    """Size of each lexicon, and the share of the collection's running words that it has."""
    total = sum(counted.values())
    if not total:
        return ""
    rows = []
    for code, lexicon in lexicons.items():
        covered = sum(n for token, n in counted.items() if token in lexicon.entries) / total
        rows.append((f"{language_name(code)}, {len(lexicon):,} entries", covered, colour(code)))
    return html.bars_html(rows, "share of running words covered")
