"""The command line: `cslab notebooks`, and one command per stage.

    cslab notebooks --profile demo
    cslab train --profile demo --condition ML-CS
    cslab switch "Where is the fox?" --profile demo --policy ML-CS

A mistake in data or settings ends with one line on stderr and exit status 2. Whatever was interrupted goes on where it
stopped when the same command is given again.
"""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cslab import __version__
from cslab.commands import encoder_app, lexicon_app
from cslab.processes import readable_output
from cslab.store import CslabError, nearest

app = typer.Typer(
    help="A workbench for cross-lingual retrieval with artificially code-switched training text.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip

app.add_typer(lexicon_app, name="lexicon")
app.add_typer(encoder_app, name="encoder")

INTERRUPTED = 130  # exit status, as shells have it
PROFILE = typer.Option("--profile", "-p", help="A profile of the package, or the path of a YAML file.")
SET = typer.Option("--set", "-s", help="Override a setting, e.g. --set training.steps=500 (may be repeated).")
ProfileName = Annotated[str, PROFILE]
Settings = Annotated[list[str] | None, SET]
ConditionName = Annotated[str | None, typer.Option(help="Only this condition, e.g. ML-CS.")]


def _lacking(profile: str, settings: list[str]) -> str:
    """Why the encoder of a profile cannot be had here; empty where it can."""
    from cslab.config import load_profile
    from cslab.ranking.cross_encoder import read_config
    from cslab.store import CslabError

    try:
        read_config(load_profile(profile, settings).encoder.name)
    except CslabError as error:
        return str(error)
    return ""


def _lab(profile: str, settings: list[str] | None):
    from cslab.stages import open_lab

    return open_lab(profile, settings or [])


@app.command()
def notebooks(
    profile: ProfileName = "demo",
    start: Annotated[str | None, typer.Option("--from", help="Run again from this notebook on, e.g. 04.")] = None,
    only: Annotated[str | None, typer.Option(help="Run this notebook alone, e.g. 03.")] = None,
    set_: Settings = None,
    html_only: Annotated[bool, typer.Option("--html-only", help="Make the report from executed notebooks.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="So many at a time (default: one per four cores, or as the profile says).")
    ] = None,
    otherwise: Annotated[
        str | None, typer.Option(help="A profile to run instead where the encoder of the first cannot be had.")
    ] = None,
) -> None:
    """Runs the notebooks headless, in order, and writes the report; what is done already is skipped."""
    from cslab.workbench.notebooks import run_notebooks

    if otherwise and (reason := _lacking(profile, set_ or [])):
        print(f"{reason}\nInstead of '{profile}' the profile '{otherwise}' is run.", flush=True)
        profile = otherwise
    raise typer.Exit(run_notebooks(profile, set_ or [], start=start, only=only, html_only=html_only, jobs=jobs))


@app.command()
def status(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Shows which stages of a profile are done, stale or to do, and the time each took."""
    found = _lab(profile, set_).status()
    print(found.to_string(index=False, na_rep=""))
    print(f"{(found['state'] == 'done').sum()} of {len(found)} stages done, {found['seconds'].sum():.0f} s")


@app.command()
def collection(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Makes the collections of a profile and shows what is in them."""
    lab = _lab(profile, set_)
    for title, found in (("evaluation", lab.collection()), ("training", lab.training_collection())):
        print(f"{title}: {found.name}")
        for code in found.document_languages:
            queries, judged = len(found.queries.get(code, ())), len(found.qrels.get(code, ()))
            print(f"  {code}: {queries} queries, {len(found.documents[code])} documents, {judged} judged queries")


@app.command()
def switch(
    text: str,
    profile: ProfileName = "demo",
    policy: Annotated[str, typer.Option(help="A condition that switches text, e.g. ML-CS or BL-CS.")] = "ML-CS",
    pair: Annotated[str, typer.Option(help="Query and document language of BL-CS.")] = "en-de",
    side: Annotated[str, typer.Option(help="query or document")] = "query",
    seed: int = 0,
    set_: Settings = None,
) -> None:
    """Switches a text with the lexicons of a profile and shows what was replaced."""
    from cslab.languages import pair as split_pair
    from cslab.switching.draw import Key
    from cslab.switching.switch import switch as switch_text
    from cslab.training.conditions import CONDITIONS, policy_for

    if side not in ("query", "document"):
        raise CslabError(f"--side {side}: expected query or document")
    if policy not in CONDITIONS or CONDITIONS[policy].policy is None:
        known = [name for name, condition in CONDITIONS.items() if condition.policy]
        raise CslabError(f"--policy {policy}: no condition that switches text; {nearest(policy, known)}")
    lab = _lab(profile, set_)
    lexicons = lab.lexicons(CONDITIONS[policy].lexicon)
    chosen = policy_for(CONDITIONS[policy], split_pair(pair), tuple(lexicons), lab.profile.probability)
    found = switch_text(text, lexicons, chosen, Key(seed, 0, text), side)
    print(found.text)
    for span in found.spans:
        print(f"  {span.source} → {span.target} ({span.language}, {span.method}, {span.score:g})")


@app.command()
def train(
    profile: ProfileName = "demo",
    condition: ConditionName = None,
    robust: Annotated[str | None, typer.Option(help="A robust method, e.g. fgm, instead of the profile's.")] = None,
    set_: Settings = None,
) -> None:
    """Trains the rankers of a profile."""
    from cslab.findings import teacher_text

    lab = _lab(profile, [*(set_ or []), *([f"robust=[{robust}]"] if robust else [])])
    for slug, stage in lab.train_all(_systems(lab, condition)).items():
        print(f"{slug}: {stage.path / 'model'}")
    if told := teacher_text(lab):
        print(told)


@app.command()
def rerank(
    profile: ProfileName = "demo",
    condition: ConditionName = None,
    set_: Settings = None,
) -> None:
    """Re-ranks the candidates of every language pair, training what is missing."""
    from cslab.jobs import make_all
    from cslab.systems import Fused

    lab = _lab(profile, set_)
    rows = _systems(lab, condition) if condition else lab.rows()
    make_all([(lab, row) for row in rows if not isinstance(row, Fused)], "runs", lab.profile.jobs)
    for row in rows:
        print(f"{row.slug}: {', '.join(lab.runs(row))}")


@app.command()
def onnx(folder: Annotated[Path, typer.Argument(help="Folder of a ranker: the `model` that train names.")]) -> None:
    """Writes a trained ranker as ONNX, beside its model (pip install onnx onnxscript onnxruntime)."""
    from cslab.ranking.cross_encoder import load_encoder
    from cslab.ranking.onnx import export_onnx

    print(export_onnx(load_encoder(folder, device="cpu"), folder))


@app.command()
def evaluate(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Scores every run of a profile on each of its collections and prints condition × (MoIR, CLIR, MLIR)."""
    from cslab.evaluation.formats import to_markdown
    from cslab.evaluation.measures import by_pair
    from cslab.evaluation.tables import with_deviation

    for title, lab in _collections(_lab(profile, set_)):
        scores = lab.scores()
        for measure in lab.profile.evaluation.measures:
            print(f"\n{title}{measure} × 100\n\n{to_markdown(with_deviation(scores, measure))}")
        wide = by_pair(scores).pivot_table(index="system", columns="pair", values="value", sort=False)
        print(f"\n{title}{lab.profile.evaluation.measures[0]} × 100 by pair\n\n{to_markdown(wide)}")


@app.command()
def tables(
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    profile: ProfileName = "demo",
    measure: Annotated[str | None, typer.Option(help="A measure of the profile (default: its first).")] = None,
    set_: Settings = None,
) -> None:
    """Writes the tables of a paper as Markdown, CSV and LaTeX: scores by pair with marks, seeds, tests."""
    from cslab.findings import tables_of, write_tables

    lab = _lab(profile, set_)
    for name, found in [("", lab), *((test, lab.on(test)) for test in lab.profile.tests)]:
        for path in write_tables(tables_of(found, measure), out / name):
            print(path)


@app.command()
def ablate(
    ablation: Annotated[str, typer.Argument(help="p, lexicon, languages, stop-words, first stage or place.")],
    profile: ProfileName = "demo",
    set_: Settings = None,
) -> None:
    """Trains and scores the variations of an ablation, and prints them beside each other."""
    from cslab.evaluation.formats import to_markdown
    from cslab.evaluation.measures import by_setting
    from cslab.systems import ABLATIONS

    lab = _lab(profile, set_)
    scores, measure = lab.ablation(ablation), lab.profile.evaluation.measures[0]
    table = by_setting(scores, measure)
    print(f"{ABLATIONS[ablation].question} {measure} × 100\n\n{to_markdown(table)}")


@app.command("image-text")
def image_text(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Trains and scores the image–text models of a profile; prints recall by language, gains, and rank variance."""
    from cslab.image_text import open_image_lab

    lab = open_image_lab(profile, set_ or [])
    print(lab.tables())
    print(f"\ntables: {lab.folder / 'scores' / 'all' / 'recall.md'}")


@app.command()
def robust(
    profile: ProfileName = "robust",
    measure: Annotated[str | None, typer.Option(help="A measure of the profile (default: its first).")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables, as Markdown, CSV and LaTeX.")] = None,
    set_: Settings = None,
) -> None:
    """Trains, attacks and moves to other text the grid of a profile; each cell beside the same without its method."""
    from cslab.evaluation.formats import to_markdown
    from cslab.findings import write_tables
    from cslab.robust_grid import grid_tables

    tables = grid_tables(_lab(profile, set_), measure)
    for name, table in tables.items():
        print(f"\n{name}\n\n{to_markdown(table)}" if len(table) else f"\n{name}: too few collections to tell")
    for path in write_tables(tables, out) if out else ():
        print(path)


@app.command()
def radius(
    profile: ProfileName = "robust",
    method: Annotated[str, typer.Option(help="A robust method on embeddings, e.g. 'freelb(steps=2)'.")] = "fgm",
    radii: Annotated[list[float] | None, typer.Option("--radius", help="May be repeated (0.01, 0.02, 0.05).")] = None,
    condition: ConditionName = None,
    set_: Settings = None,
) -> None:
    """Chooses how far a robust method may move embeddings, on questions that the profile keeps from training."""
    from cslab.evaluation.formats import to_markdown
    from cslab.radius import RADII, best_radius, radii_on_held_out, with_radius

    lab = _lab(profile, set_)
    found = radii_on_held_out(lab, method, radii or RADII, condition)
    print(f"{lab.profile.evaluation.measures[0]} × 100 on held-out training questions\n")
    print(to_markdown(found.rename(index="{:g}".format)) + "\n")
    best = best_radius(found)
    print(f"best: {with_radius(method, best) if best else 'none, without the method'}")


@app.command("held-out")
def held_out(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Asks a profile's rankers the questions it keeps from training: for choosing settings without test data."""
    from cslab.evaluation.formats import to_markdown
    from cslab.held_out import held_out_table

    lab = _lab(profile, set_)
    found = held_out_table(lab)
    print(f"{lab.profile.evaluation.measures[0]} × 100 on {lab.profile.training.dev_queries} held-out questions\n")
    print(to_markdown(found))


@app.command()
def claims(profile: ProfileName = "demo", set_: Settings = None) -> None:
    """Sixteen claims of the literature: the published figure, ours with its interval, and a verdict."""
    from cslab.findings import claims_of

    for title, lab in _collections(_lab(profile, set_)):
        print(title, end="\n" if title else "")
        for row in claims_of(lab).itertuples():
            print(f"{row.id}: {row.statement} ({row.source}: {row.published or 'no figure'})")
            print(f"    {row.verdict}: {row.ours if row.ours else row.why}")


@app.command()
def cost(profile: ProfileName = "mmarco", set_: Settings = None) -> None:
    """Says what an experiment on mMARCO will fetch, train on and score, without starting it."""
    from cslab.findings import cost_text

    lab = _lab(profile, set_)
    print(cost_text(lab.profile) or f"profile {lab.profile.name} has no mMARCO in it")


def _collections(lab) -> list[tuple[str, Any]]:
    """The labs of a profile's collections; where there are several, each with its name as a title."""
    tests = lab.profile.tests
    return [(f"{lab.collection().name}: " if tests else "", lab), *((f"{name}: ", lab.on(name)) for name in tests)]


def _systems(lab, condition: str | None) -> list:
    if condition and condition not in lab.profile.conditions:
        known = nearest(condition, lab.profile.conditions)
        raise CslabError(f"--condition {condition}: not in profile {lab.profile.name}; {known}")
    return [s for s in lab.systems() if condition in (None, s.condition.name)]


def _version(asked: bool) -> None:
    if asked:
        print(f"cslab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line; turns mistakes of the user into one line and exit status 2."""
    readable_output()
    others = os.environ.get("RANK", "0") != "0"  # of several processes the first one speaks
    try:
        with contextlib.redirect_stdout(None if others else sys.stdout):
            app()
    except CslabError as error:
        sys.exit(_refuse(error))
    except OSError as error:
        if error.errno is None:  # raised by a library, not by the system
            raise
        sys.exit(_refuse(_of_system(error)))
    except (KeyboardInterrupt, SystemExit) as ended:
        # typer turns an interruption into its exit status.
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        print("cslab: interrupted; give the same command again to go on from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _refuse(error: CslabError) -> int:
    print(f"cslab: {error}", file=sys.stderr)
    return 2


def _of_system(error: OSError) -> CslabError:
    """What the system refuses: a disk that is full, a folder that cannot be written."""
    from cslab.config import outputs_folder

    place = next((str(name) for name in (error.filename2, error.filename) if name), str(outputs_folder()))
    remedy = "check that it can be read and written, or set CSLAB_OUTPUTS to another folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "make room, or set CSLAB_OUTPUTS to a folder on another disk; then give the same command again"
    return CslabError(f"{place}: {error.strerror}; {remedy}")


if __name__ == "__main__":
    main()
