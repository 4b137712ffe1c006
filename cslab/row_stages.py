"""The stages of rows that nothing is trained for: encoders as they are, and rankers together with the first stage.

An encoder as it is (`untouched` of a profile) puts the candidates of every pair in a new order, a dual encoder by the
cosine of two vectors, a reranker by its logit. A fused row (`fuse`) adds the first stage's scores to those of another
row: by a weight that is chosen on the held-out training questions, as they are and switched, or by reciprocal ranks.

    lab.runs(Untouched(EncoderChoice(name="minilm")))["en-de"]
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cslab.collections.trec import Run, write_run
from cslab.evaluation.settings import Task
from cslab.ranking.me5 import described
from cslab.recipe import Recipe
from cslab.systems import Fused, System, Untouched, pairs_of

if TYPE_CHECKING:
    from cslab.stages import Lab


def untouched_recipe(lab: "Lab", row: Untouched) -> Recipe:
    """The runs of an encoder as it is."""

    def build(folder: Path) -> dict[str, Any]:
        return rank_untouched(lab, row, folder)

    evaluation = lab.profile.evaluation
    config = evaluation.model_dump(include={"pairs", "protocol", "depth", "max_length"})
    config |= {"encoder": row.encoder, "weights": described(row.encoder.text)}
    config |= {"precision": lab.profile.training.precision}
    return Recipe(lab.folder / "runs" / row.slug, config, build, (lab._test,))


def rank_untouched(lab: "Lab", row: Untouched, folder: Path) -> dict[str, Any]:
    """Puts the candidates of every pair in the order of an encoder as it is; a run for each."""
    print(f"  re-ranking with {row.name}", flush=True)
    tasks = {pair: lab.task(pair) for pair in lab.profile.evaluation.pairs}
    return _kept(ranked_by(lab, row, tasks), folder)


def ranked_by(lab: "Lab", row: System | Untouched, tasks: Mapping[str, Task]) -> dict[str, Run]:
    """What a row makes of the candidates of some tasks."""
    from cslab.ranking.cosine import TextVectors, rank_by_cosine
    from cslab.ranking.cross_encoder import load_encoder
    from cslab.ranking.kinds import chosen
    from cslab.ranking.rerank import rerank_all

    name, length = row.name.replace(" ", "-"), lab.profile.evaluation.max_length
    if isinstance(row, System):
        kind, encoder = "cross", str(lab.train(row).path / "model")
    else:
        kind, encoder = chosen(row.encoder)
    if kind == "dual":
        return rank_by_cosine(TextVectors(encoder, length, "fp32", print), tasks, name)
    precision, store = lab.profile.training.precision, (lab.base or lab).folder / "tokens"
    return rerank_all(
        load_encoder(encoder), tasks, name, None, store, length, precision=precision, progress=print
    )  # fmt: skip


def fused_recipe(lab: "Lab", row: Fused) -> Recipe:
    """The runs of a row together with the first stage."""

    def build(folder: Path) -> dict[str, Any]:
        return fuse_row(lab, row, folder)

    config = {"pairs": pairs_of(lab.profile, row), "rrf": row.rrf}
    inputs = (lab._test, lab._runs(row.row), *(() if row.rrf else (lab._weight(row.row),)))
    return Recipe(lab.folder / "runs" / row.slug, config, build, inputs)


def fuse_row(lab: "Lab", row: Fused, folder: Path) -> dict[str, Any]:
    """Adds the first stage's scores to a row's runs."""
    from cslab.ranking.fusion import reciprocal, weighted

    name, facts = row.name.replace(" ", "-"), {}
    if not row.rrf:
        facts = lab._weight(row.row).make().summary
    found = {}
    for pair, run in lab.runs(row.row).items():
        first = lab.task(pair).candidates
        found[pair] = reciprocal(run, first, name) if row.rrf else weighted(run, first, facts["weight"], name)
    return _kept(found, folder) | facts


def weight_recipe(lab: "Lab", row: System | Untouched) -> Recipe:
    """The weight of the first stage beside a row."""

    def build(folder: Path) -> dict[str, Any]:
        return weigh_row(lab, row)

    evaluation = lab.profile.evaluation
    config = evaluation.model_dump(include={"protocol", "depth", "max_length"})
    config |= {"measure": evaluation.measures[0], "p": lab.profile.probability, "row": row.slug}
    config |= {"questions": lab.profile.training.dev_queries, "seed": lab.profile.training.seeds[0]}
    inputs = (lab._training, *([lab._model(row)] if isinstance(row, System) else []), *lab._lexicons())
    return Recipe(lab.folder / "weights" / row.slug, config, build, inputs)


def weigh_row(lab: "Lab", row: System | Untouched) -> dict[str, Any]:
    """Chooses the weight of the first stage beside a row on the held-out questions, as they are and switched."""
    from cslab.held_out import readings
    from cslab.ranking.fusion import choose_weight

    tasks, measure = readings(lab), lab.profile.evaluation.measures[0]
    runs = ranked_by(lab, row, tasks)
    weight, tried = choose_weight([(runs[name], task) for name, task in tasks.items()], measure)
    questions = len(next(iter(tasks.values())).queries)
    told = f"{questions} held-out training questions, {' and '.join(tasks)}: highest mean {measure} of the two"
    print(f"  weight of the first stage beside {row.name}: {weight:g} ({told})", flush=True)
    return {"weight": weight, "chosen on": told, "by weight": tried}


def _kept(runs: Mapping[str, Run], folder: Path) -> dict[str, Any]:
    for pair, run in runs.items():
        write_run(run, folder / f"{pair}.trec.gz")
    return {"candidates scored": sum(len(found) for run in runs.values() for found in run.scores.values())}
