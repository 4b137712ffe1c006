"""Code-switching: policies as data, one pure function of a text, and the same draw in token-id space.

>>> from cslab.switching import Key, Policy, switch
>>> from cslab.lexicon.lexicon import Lexicon
>>> lexicons = {"de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs")])}
>>> switch("The fox.", lexicons, Policy(query=1, languages=("de",)), Key(seed=1, example="q1"), "query").text
'The Fuchs.'
"""

from cslab.switching.draw import Key, Side
from cslab.switching.policy import POLICIES, Policy, bilingual, from_source, policy_named, with_rate
from cslab.switching.record import Count, Span, Switched
from cslab.switching.share import Tally, at_share, tally
from cslab.switching.switch import Switcher, switch

__all__ = [
    "POLICIES",
    "Count",
    "Key",
    "Policy",
    "Side",
    "Span",
    "Switched",
    "Switcher",
    "Tally",
    "at_share",
    "bilingual",
    "from_source",
    "policy_named",
    "switch",
    "tally",
    "with_rate",
]
