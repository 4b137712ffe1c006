"""The claims of the literature, each with what was published, our value with its interval, and a verdict.

Reads `cslab/data/claims.tsv` (statement, source, published value and how far it is verified, how it is checked) and the
tidy score table with systems named as in `training.conditions`; writes nothing. A verdict is *holds* or *does not hold*
only where the whole bootstrap interval lies on one side of the bound that the file names, else *cannot be told*, with
the reason. Where a claim has parts, all must hold and one that fails refutes.

    table = check_claims(lab.scores(), overlaps=pd.concat(overlaps(lab.task(p)) for p in pairs))
    print(to_markdown(table.set_index("id")[["statement", "published", "ours", "verdict", "why"]]))
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cslab.evaluation.breakdown import KEYS, differences, slope
from cslab.evaluation.estimates import Estimate, average, cell_means
from cslab.evaluation.evidence import DISTANT, Evidence, LackingError, Part, Which, above, every, tried, within
from cslab.evaluation.significance import compare
from cslab.languages import SEEN, setting
from cslab.languages import pair as split_pair
from cslab.resources import packaged
from cslab.store import CslabError, read_tsv

FILE = packaged("claims.tsv")
COLUMNS = ("id", "statement", "source", "published", "tag", "check")
TAGS = {"V": "read in the source", "S": "quoted by others", "UNVERIFIED": "not verified"}
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"

ZERO, BILINGUAL, MULTI, TUNED, WIKI = "Zero-shot", "BL-CS", "ML-CS", "Fine-tuning", "Wiki-CS"
TRANSLATED = ("Zero-shot Translate-Test", "ML-CS Translate-Test")


@dataclass(frozen=True)
class Claim:
    """A row of the file; `tag` is V (read in the source), S (quoted by others) or UNVERIFIED."""

    id: str
    statement: str
    source: str
    published: str
    tag: str
    check: str

    @property
    def shown(self) -> str:
        """The published value; nothing where it is not verified."""
        return self.published if self.tag in ("V", "S") else ""


def load_claims(path: str | Path = FILE) -> list[Claim]:
    """Reads the claims.

    Raises:
        CslabError: for a malformed line, a repeated id, or an unknown tag.
    """
    claims: dict[str, Claim] = {}
    for number, cells in read_tsv(path, COLUMNS):
        claim = Claim(*cells)
        if claim.tag not in TAGS:
            raise CslabError(f"{path}:{number}: tag '{claim.tag}' is not known; use {', '.join(TAGS)}")
        if claim.id in claims:
            raise CslabError(f"{path}:{number}: claim '{claim.id}' stands twice; keep one line")
        claims[claim.id] = claim
    return list(claims.values())


def rate_name(condition: str, p: float, variant: str = "") -> str:
    """The name of a system in the ablation over p.

    >>> rate_name("ML-CS", 0.25)
    'ML-CS p=0.25'
    """
    return f"{condition}{variant} p={p:g}"


# --- the checks ----------------------------------------------------------------------------------------------


FOREIGN = Which("other than en-en", lambda pair: pair != "en-en")


def _distant(e: Evidence) -> Which:
    return Which(f"among {', '.join(e.distant)}", lambda pair: pair in e.distant)


def _c1(e: Evidence) -> list[Part]:
    def gain(kind: str, bound: float) -> Part:
        return above(kind, e.gain(MULTI, ZERO, kind), bound)

    return [tried(kind, gain, kind, bound) for kind, bound in (("CLIR", 0), ("MLIR", 0), ("MoIR", -1))]


def _c2(e: Evidence) -> list[Part]:
    def ratio(kind: str) -> Part:
        value = e.mean(ZERO, e.pairs("MoIR", ZERO)) / e.mean(ZERO, e.pairs(kind, ZERO))
        return above(f"MoIR / {kind}", value, 1.1, form=".2f")

    return [tried(kind, ratio, kind) for kind in ("CLIR", "MLIR")]


def _c3(e: Evidence) -> list[Part]:
    name = e.named(ZERO)

    def drop(which: Which) -> Estimate:
        own = {pair: "-".join(2 * [split_pair(pair)[1]]) for pair in e.pairs("CLIR", ZERO, which=which)}
        found = [e.cells[name, o] - e.cells[name, pair] for pair, o in own.items() if (name, o) in e.cells]
        if not found:
            raise LackingError("the scores have no MoIR in the document languages of the CLIR pairs")
        return average(found)

    far, near = drop(_distant(e)), drop(Which("beside the distant ones", lambda pair: pair not in e.distant))
    return [above("further drop", far - near), Part("distant", far, True), Part("others", near, True)]


def _c4(e: Evidence) -> list[Part]:
    same, crossing = e.gain(TUNED, ZERO, "MoIR"), e.gain(TUNED, ZERO, "CLIR")
    judged = above("CLIR gap less twice the MoIR gap", crossing - same.times(2))
    return [judged, Part("CLIR", crossing, True), Part("MoIR", same, True)]


def _c5(e: Evidence) -> list[Part]:
    pairs = [pair for kind in ("CLIR", "MLIR") for pair in e.pairs(kind, MULTI, ZERO)]
    return every("ML-CS", {pair: e.mean(MULTI, [pair]) - e.mean(ZERO, [pair]) for pair in pairs})


def _c6(e: Evidence) -> list[Part]:
    pairs = e.pairs("CLIR", MULTI, ZERO, which=_distant(e))
    return [within(f"ratio on {', '.join(pairs)}", e.mean(MULTI, pairs) / e.mean(ZERO, pairs), 1.5, 2.5, ".2f")]


def _c7(e: Evidence) -> list[Part]:
    def part(system: str) -> Part:
        gain, names = e.gain(system, ZERO, "MoIR"), [e.named(system), e.named(ZERO)]
        kept = e.scores["system"].isin(names) & (e.scores["setting"] == "MoIR")
        tests = compare(e.scores[kept], names[1], e.measure, rounds=0)
        if differing := tests[tests["p_bonferroni"] < 0.05]["pair"].tolist():
            return Part(system, gain, False, f"{system} differs significantly on {', '.join(differing)}")
        close = within(system, gain, -2, 2)
        few = f"{system}: no pair of {len(tests)} differs significantly, but the queries are too few to tell"
        return close if close.holds else Part(system, gain, None, few)

    return [tried(system, part, system) for system in (BILINGUAL, MULTI)]


def _c8(e: Evidence) -> list[Part]:
    def part(system: str) -> Part:
        return above(f"{system} less BL-CS", e.gain(system, BILINGUAL, "CLIR"), -1)

    return [tried(system, part, system) for system in (MULTI, WIKI)]


def _c9(e: Evidence) -> list[Part]:
    def part(system: str) -> Part:
        return above(f"Zero-shot over {system}", e.gain(ZERO, system, "MoIR", FOREIGN))

    return [tried(system, part, system) for system in TRANSLATED]


def _c10(e: Evidence) -> list[Part]:
    pairs = e.pairs("MoIR", ZERO, TRANSLATED[0], which=FOREIGN)
    return every("clean over translated", {p: e.mean(ZERO, [p]) - e.mean(TRANSLATED[0], [p]) for p in pairs})


def _c11(e: Evidence) -> list[Part]:
    def part(system: str) -> Part:
        return within(system, e.gain(system, ZERO, "CLIR"), -1, 5)

    return [tried(system, part, system) for system in TRANSLATED]


def _c12(e: Evidence) -> list[Part]:
    def part(kind: str, system: str) -> Part:
        return above(f"{kind} over {system}", e.gain(MULTI, system, kind))

    return [tried(system, part, kind, system) for kind in ("MoIR", "CLIR") for system in TRANSLATED]


def _c13(e: Evidence) -> list[Part]:
    def seen(pair: str) -> bool:
        return set(split_pair(pair)) <= set(e.seen)

    known = e.gain(MULTI, ZERO, "CLIR", Which("of seen languages", seen))
    new = e.gain(MULTI, ZERO, "CLIR", Which("with an unseen language", lambda pair: not seen(pair)))
    return [above("unseen less seen", new - known, -1), Part("seen", known, True), Part("with unseen", new, True)]


def _c14(e: Evidence) -> list[Part]:
    pattern = re.compile(re.escape(MULTI + e.variant) + r" p=(\d(?:\.\d+)?)")
    rates = sorted((float(found[1]), s) for s in e.systems if (found := pattern.fullmatch(s)))
    if len(rates) < 3:
        raise LackingError(f"needs systems named {rate_name(MULTI, 0.5, e.variant)} for at least three values of p")
    base, parts = e.named(ZERO), []
    for p, name in rates:
        pairs = [q for s, q in e.cells if s == name and (base, q) in e.cells and setting(*split_pair(q)) == "CLIR"]
        if not pairs:
            raise LackingError(f"no CLIR pair was scored with {name} and {base}")
        parts.append(above(f"p={p:g}", average([e.cells[name, q] - e.cells[base, q] for q in pairs])))
    return parts


def _c15(e: Evidence) -> list[Part]:
    if e.overlaps is None:
        raise LackingError("needs the lexical overlap of the queries (breakdown.overlaps)")
    gains = differences(e.scores, e.named(MULTI), e.named(ZERO), e.measure)
    kept = gains[gains["setting"] != "MLIR"].merge(e.overlaps, on=KEYS)
    if kept.empty:
        raise LackingError("no MoIR or CLIR query of the scores has a lexical overlap")
    value, draws = slope(kept, rounds=e.rounds)
    if pd.isna(value):
        raise LackingError("all queries have the same lexical overlap")
    return [above("fall of the gain from no overlap to full", Estimate(-value, -draws))]


def _c16(e: Evidence) -> list[Part]:
    if e.robust is None:
        raise LackingError("no robustly trained system was named")
    crossing, same = e.gain(e.robust, ZERO, "CLIR"), e.gain(e.robust, ZERO, "MoIR")
    return [above("CLIR less MoIR", crossing - same), Part("CLIR", crossing, True), Part("MoIR", same, True)]


CHECKS: dict[str, Callable[[Evidence], list[Part]]] = {
    "C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6, "C7": _c7, "C8": _c8, "C9": _c9, "C10": _c10,
    "C11": _c11, "C12": _c12, "C13": _c13, "C14": _c14, "C15": _c15, "C16": _c16,
}  # fmt: skip


def check_claims(
    scores: pd.DataFrame,
    measure: str = "MRR@10",
    variant: str = "",
    overlaps: pd.DataFrame | None = None,
    robust: str | None = None,
    seen: Sequence[str] = SEEN,
    distant: Sequence[str] = DISTANT,
    rounds: int = 1000,
    claims: Sequence[Claim] | None = None,
) -> pd.DataFrame:
    """A verdict on every claim, from the score table.

    Args:
        scores: the tidy table.
        measure: a measure of it, with values in 0–1.
        variant: what follows a condition's name in the table, such as "+vocab".
        overlaps: rows of `breakdown.overlaps` for C15.
        robust: the condition that C16 is about.
        seen: languages seen in training, for C13.
        distant: the typologically distant pairs, for C3 and C6.
        rounds: bootstrap resamples of the queries.
        claims: the claims (default: those of the package).

    Returns:
        Rows `id, statement, source, published, tag, ours, value, low, high, verdict, why, check`; value and interval
        are those of the part that decided (×100, or a ratio), and missing where the scores lack what is needed.
    """
    cells = cell_means(scores, measure, rounds)
    evidence = Evidence(scores, measure, cells, variant, overlaps, robust, tuple(seen), tuple(distant), rounds)
    return pd.DataFrame([_row(claim, evidence) for claim in (load_claims() if claims is None else claims)])


def _row(claim: Claim, evidence: Evidence) -> dict[str, object]:
    if claim.id not in CHECKS:
        raise CslabError(f"claim '{claim.id}' has no check; those with one are {', '.join(CHECKS)}")
    try:
        parts = CHECKS[claim.id](evidence)
    except LackingError as lack:
        parts = [Part("", reason=str(lack))]
    verdicts = [part.holds for part in parts]
    verdict = FAILS if False in verdicts else OPEN if None in verdicts else HOLDS
    wanted = {FAILS: False, OPEN: None, HOLDS: True}[verdict]
    deciding = [part for part in parts if part.holds is wanted and part.estimate is not None]
    shown = deciding[0] if deciding else None
    low, high = shown.estimate.interval(shown.level) if shown else (None, None)
    reasons = [part.reason for part in parts if part.reason and (part.holds is False or verdict == OPEN)]
    return {
        "id": claim.id, "statement": claim.statement, "source": claim.source, "published": claim.shown,
        "tag": claim.tag, "ours": "; ".join(part.text for part in parts if part.text),
        "value": shown.estimate.value if shown else None, "low": low, "high": high,
        "verdict": verdict, "why": "; ".join(dict.fromkeys(reasons)), "check": claim.check,
    }  # fmt: skip
