"""Robust training as a table: name → what it does, where it is from, what it costs, and how to make it.

A method is an adversary that the loop calls in place of the plain step. One on text and one on embeddings combine:
`worst-of-k+fgm` chooses the text, then moves its embeddings. Settings are those of the row's `defaults`, given by name
or, in profiles, in the method's name: `fgm(epsilon=0.05)+worst-of-k(k=2)`. `clean` is the weight of the clean loss
wherever it is a choice, and the two parts of the objective weigh 1 together. `epsilon` is a share of the norm of a
pair's embeddings; which one serves is chosen on held-out training questions (`cslab.radius`).

    given = Given(encoder, pairs, texts, max_length=96, lexicons=lexicons)
    train(encoder, pairs, texts, settings, folder, adversary=adversary("fgm", given, epsilon=0.05))

>>> [round(cost(name), 2) for name in ("fgm", "freelb", "worst-of-k", "worst-of-k+fgm")]
[2.0, 3.0, 2.33, 3.33]
>>> steps_within(300, "compute", "freelb")
100
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from cslab.store import CslabError, nearest
from cslab.training.ball import Ball
from cslab.training.flips import GradientGuided
from cslab.training.loop import Adversary
from cslab.training.perturbed import FreeLB, Perturbed, Smooth
from cslab.training.variants import Chooser, Fresh, Given, OnText, SourceTexts, WorstOf

Settings = Mapping[str, Any]
Kind = Literal["none", "embeddings", "text"]

# Costs in clean steps: a forward pass, a backward pass to the embeddings alone, and one to the weights too.
FORWARD, TO_EMBEDDINGS, TO_WEIGHTS = 1 / 3, 1 / 3, 2 / 3
ASCENT = FORWARD + TO_EMBEDDINGS

_BALL = {"epsilon": 0.02, "norm": "l2", "relative": True}
_MOVES = _BALL | {"moved": "text"}  # text, or for image–text models image or both


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        name: as settings call it.
        what: what it does, in a line.
        reference: where it is from.
        kind: whether it works on embeddings or on text.
        make: (given, settings) → an adversary on embeddings, or a chooser of text.
        cost: settings → clean steps that one of its steps takes, without what `clean` adds to a text method.
        defaults: its settings.
    """

    name: str
    what: str
    reference: str
    kind: Kind
    make: Callable[[Given, Settings], Adversary | Chooser | None]
    cost: Callable[[Settings], float]
    defaults: Settings = field(default_factory=dict)


def _ball(settings: Settings) -> dict[str, Any]:
    """What methods on embeddings share."""
    rest = {name: value for name, value in settings.items() if name not in _BALL}
    return {"ball": Ball(**{name: settings[name] for name in _BALL})} | rest


def _random(given: Given, s: Settings) -> Adversary:
    return Perturbed(special=given.special, steps=0, step=0.0, start=1.0, **_ball(s))


def _fgm(given: Given, s: Settings) -> Adversary:
    return Perturbed(special=given.special, steps=1, step=1.0, start=0.0, **_ball(s))


def _worst(given: Given, s: Settings) -> Chooser:
    return WorstOf(given.variants(s["policy"]), s["k"], given.padding())


def _guided(given: Given, s: Settings) -> Chooser:
    ids = given.ids()
    if ids.tokens.why:
        raise CslabError(f"gradient-guided: {ids.tokens.why}; use worst-of-k, or another policy")
    switched = isinstance(given.texts, SourceTexts) and given.texts.switcher is not None
    return GradientGuided(ids, given.pairs, s["share"], switched)


def _pgd_cost(s: Settings) -> float:
    # With a clean loss and a start at the text itself, the first ascent comes with the clean pass.
    ascents = s["steps"] - (1 if s["clean"] and not s["start"] else 0)
    return 1 + ascents * ASCENT + (1 if s["clean"] else 0)


ROBUST: dict[str, Method] = {
    row.name: row
    for row in (
        Method("none", "the plain step", "", "none", lambda given, s: None, lambda s: 1.0),
        Method(
            "rs-rp",
            "embeddings moved at random within the ball",
            "2104.08645 (RS-RP)",
            "embeddings",
            _random,
            lambda s: 2.0 if s["clean"] else 1.0,
            _MOVES | {"clean": 0.0},
        ),
        Method(
            "fgm",
            "one step along the gradient, to the edge of the ball",
            "1605.07725; for rankers 2301.10576",
            "embeddings",
            _fgm,
            lambda s: _pgd_cost({"steps": 1, "start": 0.0, **s}),
            _MOVES | {"clean": 0.5},
        ),
        Method(
            "pgd",
            "projected gradient ascent within the ball, then the loss at its end",
            "1706.06083; 2104.08645 (RT-ADV)",
            "embeddings",
            lambda given, s: Perturbed(special=given.special, **_ball(s)),
            _pgd_cost,
            _MOVES | {"steps": 3, "step": 0.5, "start": 0.5, "clean": 0.0},
        ),
        Method(
            "freelb",
            "the mean loss along the ascent; weights learn from every pass",
            "1909.11764",
            "embeddings",
            lambda given, s: FreeLB(special=given.special, **_ball(s)),
            lambda s: s["steps"] + (1.0 if s["clean"] else 0.0),
            _MOVES | {"steps": 3, "step": 0.5, "start": 0.5, "clean": 0.0},
        ),
        Method(
            "smart",
            "the clean loss and the largest change of the logits within the ball",
            "1911.03437; VAT (1704.03976)",
            "embeddings",
            lambda given, s: Smooth(special=given.special, **_ball(s)),
            lambda s: 2.0 + s["steps"] * ASCENT,
            _MOVES | {"steps": 1, "step": 1.0, "start": 0.01, "weight": 1.0, "divergence": "bernoulli"},
        ),
        Method(
            "worst-of-k",
            "of k switched variants of each pair, the one with the largest loss",
            "worst-of-k of 1712.02779, over switched text",
            "text",
            _worst,
            lambda s: 1 + s["k"] * FORWARD if s["k"] > 1 else 1.0,
            {"k": 4, "policy": None, "clean": 0.0},
        ),
        Method(
            "gradient-guided",
            "the words and translations that raise the loss most to first order",
            "HotFlip (1712.06751) over lexicon entries",
            "text",
            _guided,
            lambda s: 1 + (0.0 if s["clean"] else ASCENT),
            {"share": 0.3, "clean": 0.5},
        ),
        Method(
            "rs-da",
            "words exchanged for synonyms at random",
            "2104.08645 (RS-DA)",
            "text",
            lambda given, s: Fresh(given.variants("RS-DA")),
            lambda s: 1.0,
            {"clean": 0.0},
        ),
        Method(
            "cat",
            "phrases switched into two languages per pair",
            "2103.09593 (CAT)",
            "text",
            lambda given, s: Fresh(given.variants("CAT")),
            lambda s: 1.0,
            {"clean": 0.0},
        ),
    )
}


def parse(name: str, settings: Settings) -> list[tuple[Method, dict[str, Any]]]:
    """The methods of a name such as `fgm` or `worst-of-k+fgm`, text first, each with all its settings.

    Args:
        name: methods joined by `+`: at most one on text and one on embeddings; settings may follow in brackets.
        settings: values by setting, or by `method.setting` where both methods have one of that name.

    Raises:
        CslabError: for an unknown method or setting, a value out of range, or methods that do not combine.
    """
    rows, own = [], {}
    for part in _PLUS.split(name):
        plain, written = _NAMED.fullmatch(part).groups() if _NAMED.fullmatch(part) else (part, None)
        if plain not in ROBUST:
            raise CslabError(f"robust method '{plain}' is not known; {nearest(plain, list(ROBUST))}")
        rows.append(ROBUST[plain])
        own |= {f"{plain}.{key}": value for key, value in _written(part, written).items()}
    if len(rows) > 1 and sorted(row.kind for row in rows) != ["embeddings", "text"]:
        raise CslabError(f"robust methods '{name}' do not combine; join one on text and one on embeddings")
    rows.sort(key=lambda row: row.kind, reverse=True)
    chosen = [(row, dict(row.defaults)) for row in rows]
    for key, value in (own | dict(settings)).items():
        owner, _, plain = key.rpartition(".")
        takers = [(row, held) for row, held in chosen if plain in held and owner in ("", row.name)]
        if not takers:
            known = [setting for _, held in chosen for setting in held]
            raise CslabError(f"robust method '{name}' has no setting '{key}'; {nearest(plain, known)}")
        if len(takers) > 1:
            both = " or ".join(f"{row.name}.{plain}" for row, _ in takers)
            raise CslabError(f"robust methods '{name}' both have '{plain}'; write {both}")
        takers[0][1][plain] = value
    for row, held in chosen:
        _check(row, held)
    return chosen


# A `+` between methods, not one within the brackets of their settings.
_PLUS, _NAMED = re.compile(r"\+(?![^(]*\))"), re.compile(r"([^()]+)\((.+)\)")


def _written(part: str, settings: str | None) -> dict[str, Any]:
    """Settings written in a method's name: `epsilon=0.05, norm=linf`."""
    found = {}
    for item in settings.split(",") if settings else ():
        key, equals, value = item.partition("=")
        if not equals:
            raise CslabError(f"robust method '{part}': '{item.strip()}' is no setting; write name=value")
        found[key.strip()] = yaml.safe_load(value)
    return found


_WHOLE = {"steps": 1, "k": 1}
_SHARES = {"clean": "from 0 to below 1", "share": "from 0 to 1", "start": "from 0 to 1"}


def _check(row: Method, settings: Settings) -> None:
    for name, value in settings.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        wanted = None
        if name in _WHOLE and not (isinstance(value, int) and number and value >= _WHOLE[name]):
            wanted = f"a whole number from {_WHOLE[name]}"
        elif name in _SHARES and not (number and 0 <= value <= 1 and (name != "clean" or value < 1)):
            wanted = _SHARES[name]
        elif name in ("epsilon", "step", "weight") and not (number and value >= 0):
            wanted = "a number from 0"
        if wanted:
            raise CslabError(f"robust method '{row.name}': {name} is {value!r}; expected {wanted}")


def adversary(name: str, given: Given | None = None, **settings: Any) -> Adversary | None:
    """Makes what the loop calls in place of the plain step.

    Args:
        name: a row of `ROBUST`, or one on text and one on embeddings joined by `+`.
        given: what is trained on what; only `none` does without.
        settings: see the row's `defaults`; `method.setting` where two methods share a name.

    Returns:
        The adversary; None for `none`.

    Raises:
        CslabError: for what `parse` refuses, or what the condition's text does not allow.
    """
    parsed = parse(name, settings)
    if parsed[0][0].kind == "none":
        return None
    if given is None:
        raise CslabError(f"robust method '{name}' needs encoder, pairs and texts; give them as Given(…)")
    made = None
    for row, values in reversed(parsed):
        if row.kind == "embeddings":
            made = row.make(given, values)
        else:
            made = OnText(row.make(given, values), values["clean"], made)
    return made


def cost(name: str, **settings: Any) -> float:
    """Clean steps that one step takes, counted in passes (a benchmark measures them: `benchmarks/robust.py`)."""
    total = 0.0
    for row, values in parse(name, settings):
        its = row.cost(values) + (1.0 if row.kind == "text" and values["clean"] else 0.0)
        # The last step of the method on text is the one that the method on embeddings takes the place of.
        total = its if not total else total - 1 + its
    return total


def steps_within(
    steps: int, budget: str, name: str, clean_steps: int = 0, measured: float | None = None, **settings: Any
) -> int:
    """The steps of a method that are to compare with so many plain ones.

    Args:
        steps: of plain training.
        budget: `steps`: as many; `compute`: as many as take the same time.
        name: a robust method.
        clean_steps: that are plain ones with every method.
        measured: clean steps that one of its steps takes, if it was measured; else they are counted in passes.
        settings: its settings.

    Raises:
        CslabError: for another budget, or an unknown method.
    """
    if budget not in ("steps", "compute"):
        raise CslabError(f"robust training: budget '{budget}' is not known; {nearest(budget, ['steps', 'compute'])}")
    if budget == "steps":
        return steps
    return clean_steps + max(1, round((steps - clean_steps) / (measured or cost(name, **settings))))
