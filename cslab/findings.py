"""What an experiment shows and costs: its lexicons, tables as files, the claims judged, the released code's errors.

Reads the scores of a lab; writes tables where it is told to.

    lexicon_table(lexicon_sources(lab), texts)     # how large each lexicon is, and how much of the text it knows
    write_tables(tables_of(lab), "tables")         # scores.md, scores.csv, scores.tex, tests.md, …
    claims_of(lab)[["id", "ours", "verdict"]]
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cslab.collections.atlas import atlas_lexicon
from cslab.collections.mmarco_cost import estimate
from cslab.config import Profile
from cslab.evaluation.breakdown import overlaps
from cslab.evaluation.claims import check_claims
from cslab.evaluation.fairness import score_fairness
from cslab.evaluation.formats import FORMATS, write_table
from cslab.evaluation.significance import compare
from cslab.evaluation.tables import paper_table, with_deviation
from cslab.languages import is_pool
from cslab.languages import pair as split_pair
from cslab.lexicon.dictionaries import read_dictionary
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.quality import coverage, evaluate
from cslab.sources import training_languages
from cslab.sources.places import locate
from cslab.store import CslabError, nearest
from cslab.systems import PLAIN, TITLES, WORDS, systems_of

if TYPE_CHECKING:
    from cslab.stages import Lab

BASELINE = "Zero-shot"
FAITHFUL = " faithful"  # how the name of a condition ends that repeats the released code


def variant_of(profile: Profile) -> str:
    """What follows a condition's name in the tables of a profile, if it does so everywhere."""
    return "+vocab" if all(profile.encoder.extend) else ""


def baseline_of(profile: Profile) -> str:
    """The system that others are compared with: Zero-shot, or else the first condition."""
    return (BASELINE if BASELINE in profile.conditions else profile.conditions[0]) + variant_of(profile)


def contrast_of(lab: "Lab", table: pd.DataFrame, system: str = "") -> tuple[str, str]:
    """The two systems to look at side by side: a baseline, and what it is to be told from.

    Args:
        lab: the experiment.
        table: systems by setting, as `by_setting` gives them.
        system: the second of the two; empty: the best of those trained on switched text for every pair, or else of all.

    Returns:
        The baseline's condition with the second system's vocabulary, if that was scored, else the baseline; the system.

    Raises:
        CslabError: for a system that was not scored, or if there is nothing but the baseline.
    """
    scored = {s.name: s for s in lab.systems() if s.name in table.index}
    if system and system not in scored:
        raise CslabError(f"system '{system}' was not scored on every setting; {nearest(system, list(scored))}")
    baseline = baseline_of(lab.profile)
    condition = baseline.removesuffix("+vocab")
    others = [name for name, s in scored.items() if s.condition.name != condition]
    others = others or [name for name in scored if name != baseline]
    if not others and not system:
        raise CslabError(f"profile {lab.profile.name}: no system but {baseline} was scored; name further conditions")
    switched = [name for name in others if scored[name].ranker.condition.policy] or others
    second = system or str(table.loc[switched].mean(axis=1).idxmax())
    alike = condition + ("+vocab" if scored[second].extended else "")
    return (alike if alike in scored and alike != second else baseline), second


# --- lexicons ------------------------------------------------------------------------------------------------


def lexicon_sources(lab: "Lab") -> dict[str, tuple["Lab", str]]:
    """Where lexicons of a profile come from: its `own`, its alternatives and its titles, each as a lab and a kind."""
    settings = lab.profile.lexicon
    varied = lab.variations("lexicon") if settings.alternatives else {"own": lab}
    found = {label.removeprefix("lexicon="): (one, WORDS) for label, one in varied.items()}
    return found | ({TITLES: (lab, TITLES)} if settings.titles else {})


def gold_lexicons(profile: Profile, pattern: str = "") -> dict[str, Lexicon]:
    """Test dictionaries by language: those of a pattern, or the atlas's own for lexicons that are made from its text.

    Args:
        profile: whose languages are asked for.
        pattern: a file with `{language}` in its name, looked up as the profile's own folders are.
    """
    codes = profile.lexicon.languages
    if pattern:
        files = {code: locate(pattern.replace("{language}", code), "GOLD") for code in codes}
        return {code: read_dictionary(file, "en", code) for code, file in files.items()}
    made = profile.collection.source == "atlas" and (profile.lexicon.source != "atlas" or profile.lexicon.alternatives)
    return {code: atlas_lexicon(code) for code in codes} if made else {}


def lexicon_table(
    sources: Mapping[str, tuple["Lab", str]], texts: Iterable[str], gold: Mapping[str, Lexicon] | None = None
) -> pd.DataFrame:
    """How large the lexicons are, how much of running text they know, and how right they are.

    Args:
        sources: as of `lexicon_sources`.
        texts: texts of the lexicons' source language.
        gold: target language → test dictionary.

    Returns:
        Rows `lexicon, language, entries, translations` (a word, mean), then shares in %: `identities` (words whose best
        translation is the word itself, of those read), `tokens` (running words known), `types` (different words known)
        and, with gold, `P@1` (of its words, those whose first translation is right).
    """
    texts, rows = list(texts), []
    for name, (lab, kind) in sources.items():
        facts = {recipe.path.name: recipe.make().summary for recipe in lab._lexicons(kind)}
        for code, lexicon in lab.lexicons(kind).items():
            known, count = coverage(lexicon, texts), sum(map(len, lexicon.entries.values()))
            row = {"lexicon": name, "language": code, "entries": len(lexicon)}
            row |= {"translations": count / max(1, len(lexicon)), "identities": 100 * facts[code]["identity share"]}
            row |= {"tokens": 100 * known.token_share, "types": 100 * known.type_share}
            right = evaluate(lexicon, gold[code]).summary["P@1 (all)"] if gold and code in gold else None
            rows.append(row | ({"P@1": None if right is None else 100 * right} if gold else {}))
    return pd.DataFrame(rows)


def teacher_text(lab: "Lab") -> str:
    """How the teacher of a lab agrees with judgements, in one line; empty where no condition has one."""
    from cslab.training.teachers import report_text

    taught = any(system.ranker.condition.taught for system in lab.systems())
    return report_text(lab._taught.make().summary) if taught else ""


# --- tables --------------------------------------------------------------------------------------------------


def tables_of(lab: "Lab", measure: str | None = None) -> dict[str, pd.DataFrame]:
    """The tables of a paper about a lab, by name.

    Returns:
        `scores` (systems × pairs with marks of significance), `settings` (means with deviations over seeds), `tests`
        (every system against the baseline on every pair) and, where there is anything to show, `pools` (how rankings
        of many languages treat them) and `faithful`.

    Raises:
        CslabError: for a measure that the profile has not.
    """
    measures = lab.profile.evaluation.measures
    measure = measure or measures[0]
    if measure not in measures:  # told before anything is trained
        raise CslabError(f"measure '{measure}' is not one of profile {lab.profile.name}; {nearest(measure, measures)}")
    scores = lab.scores()
    baseline = baseline_of(lab.profile)
    tests = compare(scores, baseline, measure, permutations=10_000).set_index("system")
    found = {
        "scores": paper_table(scores, baseline, measure),
        "settings": with_deviation(scores, measure),
        "tests": in_decimals(tests, 4, [name for name in tests if re.match(r"p(_|$)", name)]),
    }
    more = {"pools": pools_of(lab), "faithful": faithful_differences(scores, measure)}
    return found | {name: table for name, table in more.items() if len(table)}


def in_decimals(table: pd.DataFrame, digits: int, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A table with the numbers of some columns (default: all with fractions) as text; others have one decimal in print.

    With one decimal, p-values and shares would all be zero.
    """
    chosen = table.select_dtypes("floating").columns if columns is None else columns

    def text(value: float) -> str | None:
        return None if pd.isna(value) else f"{value:.{digits}f}"

    return table.assign(**{name: table[name].map(text) for name in chosen})


def write_tables(tables: Mapping[str, pd.DataFrame], folder: str | Path) -> list[Path]:
    """Writes each table as Markdown, CSV and LaTeX; returns the files."""
    paths = []
    for name, table in tables.items():
        for ending in FORMATS:
            paths.append(Path(folder) / f"{name}{ending}")
            write_table(table, paths[-1])
    return paths


def pools_of(lab: "Lab") -> pd.DataFrame:
    """How systems treat the languages of pools: means ×100 over queries, seeds and pairs with a pool of documents.

    A preference is the share of a language among the first k less its share of the relevant (`evaluation.fairness`);
    k is 10, or half of the candidates where they are fewer than 20: of all of them every order has the same shares.
    """
    k = max(1, min(10, lab.profile.evaluation.depth // 2))
    measures = (f"PEER@{k}", f"Complete@{k}", f"Preference@{k}")
    parts = [
        score_fairness(run, lab.task(pair).qrels, row.name, row.seed, measures)
        for row in lab.rows()
        for pair, run in lab.runs(row).items()
        if is_pool(run.doc_lang)
    ]
    if not parts:
        return pd.DataFrame()
    means = pd.concat(parts).pivot_table(index="system", columns="measure", values="value", sort=False)
    return 100 * means.rename_axis(columns=None)


def faithful_differences(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """What the errors of the released code change: each `… faithful` system less its namesake, ×100 by setting."""
    systems = list(dict.fromkeys(scores["system"]))
    rows = []
    for name in (s for s in systems if s.endswith(FAITHFUL) and s.removesuffix(FAITHFUL) in systems):
        both = scores[scores["system"].isin([name, name.removesuffix(FAITHFUL)])]
        found = compare(both, name.removesuffix(FAITHFUL), measure, rounds=0)
        rows += [found.groupby("setting", sort=False)["difference"].mean().rename(name)]
    return pd.DataFrame(rows).rename_axis("system")


# --- claims --------------------------------------------------------------------------------------------------


def claims_of(lab: "Lab", rounds: int = 1000) -> pd.DataFrame:
    """The claims judged by the scores of a lab, and those of its ablation over p where the profile has it."""
    profile = lab.profile
    parts = [lab.scores(), *([lab.ablation("p")] if "p" in profile.ablations else [])]
    single = [p for p in profile.evaluation.pairs if not any(map(is_pool, split_pair(p)))]
    shared = pd.concat([overlaps(lab.task(pair)) for pair in single]) if single else None
    seen = ("en", *profile.lexicon.languages)
    # C16 is about the first robust method of the profile, on the condition that the others are compared with.
    methods = [name for name in profile.robust if name != PLAIN]
    robust = f"{BASELINE}+{methods[0]}" if methods else None
    measure = profile.evaluation.measures[0]
    return check_claims(pd.concat(parts), measure, variant_of(profile), shared, robust, seen, rounds=rounds)


# --- cost ----------------------------------------------------------------------------------------------------


def cost_text(profile: Profile) -> str:
    """What an experiment on mMARCO will fetch, train and score; empty for other collections."""
    test, training = profile.collection, profile.training
    if "mmarco" not in (test.source, *training.folders):
        return ""
    systems, pairs = list(systems_of(profile)), len(profile.evaluation.pairs)
    asked = sum(1 if system.pair else pairs for system in systems)
    cost = estimate(
        test.languages, tasks=asked, systems=1, models=len({system.ranker for system in systems}),
        score_rate=profile.rates.score, train_rate=profile.rates.train, protocol=profile.evaluation.protocol,
        train_languages=training_languages(profile), questions=test.queries, depth=profile.evaluation.depth,
        trained=training.steps * training.batch,
    )  # fmt: skip
    return f"profile {profile.name}, an estimate before anything starts:\n{cost.text()}"
