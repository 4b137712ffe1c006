"""How much was switched: requested p, lexicon coverage and realised share, by side and language; and p for a share.

Reads `Switched` records; `Tally.rows()` are plain dictionaries for a table or a chart.

    >>> from cslab.lexicon.lexicon import Lexicon
    >>> from cslab.switching.switch import switch
    >>> lexicons = {"de": Lexicon.from_pairs("en", "de", [("red", "rot"), ("fox", "Fuchs")])}
    >>> policy = Policy(languages=("de",), query=1.0)
    >>> tally = Tally(policy)
    >>> tally.add(switch("A red fox ran", lexicons, policy, Key(), "query"), "query")
    >>> [(row["side"], row["language"], row["coverage"], row["realised"]) for row in tally.rows()][:1]
    [('query', 'de', 0.5, 0.5)]
    >>> at_share(policy, lexicons, 0.2, queries={"q1": "A red fox ran"}).query
    0.4
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cslab.store import CslabError
from cslab.switching.choices import Lexicons
from cslab.switching.draw import SIDES, Key, Side
from cslab.switching.policy import Policy, check_side
from cslab.switching.record import Switched
from cslab.switching.switch import Switcher


@dataclass
class Tally:
    """Adds up the counts of switched texts of one policy."""

    policy: Policy
    words: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    texts: dict[Side, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    _counts: dict[tuple[Side, str], list[int]] = field(default_factory=dict)

    def add(self, switched: Switched, side: Side) -> None:
        """Counts one text in."""
        self.words[check_side(side)] += switched.words
        self.texts[side] += 1
        for count in switched.counts:
            sums = self._counts.setdefault((side, count.language), [0, 0, 0])
            sums[:] = (sums[0] + count.drawn, sums[1] + count.eligible, sums[2] + count.switched)

    def rows(self) -> list[dict[str, Any]]:
        """One row per side and language.

        Returns:
            Dictionaries with `side`, `language`, `requested` (p, times that of the sentence), `words` of the side;
            `drawn`, `eligible` and `switched` words of the language; `coverage` (eligible / drawn), `realised`
            (switched / words of the side).
        """
        rows = []
        for side in SIDES:
            for code in self.policy.languages_of(side):
                drawn, eligible, switched = self._counts.get((side, code), (0, 0, 0))
                row = {
                    "side": side,
                    "language": code,
                    "requested": self.policy.requested(side),
                    "words": self.words[side],
                }
                row |= {"drawn": drawn, "eligible": eligible, "switched": switched}
                shares = {"coverage": eligible / max(1, drawn), "realised": switched / max(1, self.words[side])}
                rows.append(row | shares)
        return rows

    def summary(self, side: Side) -> dict[str, float]:
        """Requested p, coverage and realised share of a side over its languages."""
        sums = [sum(counts) for counts in zip(*(c for (s, _), c in self._counts.items() if s == side), strict=True)]
        drawn, eligible, switched = sums or (0, 0, 0)
        shares = {"coverage": eligible / max(1, drawn), "realised": switched / max(1, self.words[side])}
        return {"requested": self.policy.requested(side)} | shares


def tally(
    policy: Policy,
    lexicons: Lexicons,
    queries: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> Tally:
    """Switches the given texts (id → text) and counts."""
    run, switcher = Tally(policy), Switcher(lexicons, policy)
    for side, texts in (("query", queries), ("document", documents)):
        for example, text in (texts or {}).items():
            run.add(switcher(text, Key(seed, epoch, example), side), side)
    return run


def at_share(
    policy: Policy,
    lexicons: Lexicons,
    share: float,
    queries: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
) -> Policy:
    """The policy with p such that the expected realised share of each given side is `share`.

    The share is linear in p whatever the policy, because neither the languages drawn nor the units of a text depend on
    p; so the share at p = 1 on a sample of texts gives p.

    Args:
        policy: the policy; a side whose texts are not given, or with p = 0, keeps its p.
        lexicons: as for `switch`.
        share: wanted share of words switched, above 0 and at most 1.
        queries, documents: id → text, a sample of some thousand words.

    Raises:
        CslabError: if even p = 1 stays below the share.
    """
    if not 0 < share <= 1:
        raise CslabError(f"share is {share}; expected a number above 0 and at most 1")
    if policy.faithful:
        raise CslabError(f"policy '{policy.name}': the faithful mode takes its p as published; set faithful to null")
    rates = {}
    full = replace(policy, **{side: 1.0 for side in SIDES if policy.rate(side)})
    for side, texts in (("query", queries), ("document", documents)):
        if not texts or not policy.rate(side):
            continue
        most = tally(full, lexicons, **{"queries" if side == "query" else "documents": texts}).summary(side)["realised"]
        if most < share:
            raise CslabError(
                f"policy '{policy.name}': at p = 1 {most:.3f} of the {side} words are switched, less than {share}; "
                "ask for a smaller share or give a lexicon that covers more"
            )
        rates[side] = share / most
    return replace(policy, **rates)
