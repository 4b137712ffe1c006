"""The stages that train rankers: a model per system, and what models of one condition have in common.

With `training.clean_steps` a robust method takes its part after so many plain steps. Until then all methods of a
condition and seed are one and the same training, so that is done once: its checkpoint is a stage, the beginning, which
each of them goes on from (and plain training, too).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cslab.makers import dev_evaluator, loss_of, teach_pairs, train_ranker
from cslab.ranking.me5 import described
from cslab.recipe import Recipe, file_hashes
from cslab.systems import PLAIN, System
from cslab.training.settings import HARMLESS

if TYPE_CHECKING:
    from cslab.stages import Lab

TRAINED = ("makers.train_ranker",)
JUDGED = ("makers.dev_evaluator",)  # only where dev tasks are asked while a ranker is trained


def model_recipe(lab: "Lab", system: System) -> Recipe:
    """A system's ranker: `model/` and `log.jsonl`."""
    begun = lab._beginning(system) if has_beginning(lab) else None

    def build(folder: Path) -> dict[str, Any]:
        return train_ranker(lab, system.ranker, folder, dev_evaluator(lab), begun and begun.make().path)

    config, inputs = _config(lab, system), _inputs(lab, system)
    config |= {"robust": system.robust}
    inputs += lab._lexicons() if system.robust != PLAIN else ()  # it may switch text by a policy of its own
    inputs += (begun,) if begun else ()
    return Recipe(lab.folder / "models" / system.ranker.slug, config, build, inputs, _roots(lab), shared=True)


def beginning_recipe(lab: "Lab", system: System) -> Recipe:
    """The plain steps that a system's ranker begins with: a checkpoint, and the log until then."""
    plain = plain_of(system)

    def build(folder: Path) -> dict[str, Any]:
        return train_ranker(lab, plain, folder, dev_evaluator(lab), until=lab.profile.training.clean_steps)

    place = lab.folder / "beginnings" / plain.slug
    return Recipe(place, _config(lab, plain), build, _inputs(lab, plain), _roots(lab), shared=True)


def taught_recipe(lab: "Lab") -> Recipe:
    """The training pairs with a teacher's labels, made once from the English text."""
    from cslab.training.teachers import run_files

    def build(folder: Path) -> dict[str, Any]:
        return teach_pairs(lab, folder)

    training = lab.profile.training
    config = {"teacher": training.teacher, "precision": training.precision}
    config |= {"weights": [described(model.text) for model in training.teacher.models]}
    config |= {"runs": file_hashes(run_files(training.teacher)), "negatives from": training.negatives_from}
    inputs = (lab._pairs, lab._training, *((lab._unlabelled,) if training.unlabelled else ()))
    return Recipe(lab.folder / "pairs" / "taught", config, build, inputs)


def has_beginning(lab: "Lab") -> bool:
    """Whether rankers share their first steps: not where each method has steps, and so a schedule, of its own."""
    training = lab.profile.training
    return bool(training.clean_steps) and training.budget == "steps"


def plain_of(system: System) -> System:
    """The system whose ranker is trained alike, but without a robust method."""
    return replace(system.ranker, robust=PLAIN)


def beginnings(asked: "Sequence[tuple[Lab, System]]") -> "list[tuple[Lab, System]]":
    """The labs and systems whose beginnings the rankers of some systems need."""
    return [(lab, plain_of(system)) for lab, system in asked if has_beginning(lab)]


def _roots(lab: "Lab") -> tuple[str, ...]:
    return TRAINED + (JUDGED if lab.profile.training.evaluate_every else ())


def _config(lab: "Lab", system: System) -> dict[str, Any]:
    training, profile, ranker = lab.profile.training, lab.profile, system.ranker
    apart = {"folders", "passages", "queries", "negatives", "seeds", "runs", "teacher", "negatives_from"}
    apart |= {"unlabelled", "trackers"}
    if not _switched(ranker):
        apart.add("unswitched_steps")
    config = {"condition": ranker.condition, "pair": system.pair, "seed": system.seed}
    config |= {"training": training.model_dump(exclude={*apart, *HARMLESS}) | {"loss": loss_of(lab, ranker)}}
    chosen = profile.encoder.model_dump(exclude={"extend", "words", "vocabulary"})
    config |= {"encoder": chosen | {"name": described(profile.encoder.name)}}
    config |= {"p": profile.probability, "words": profile.words} if _switched(ranker) else {}
    config |= {"directions": lab._directions} if ranker.condition.training_text == "translated" else {}
    return config


def _inputs(lab: "Lab", system: System) -> tuple[Recipe, ...]:
    lexicons = lab._lexicons(**lab._lexicons_of(system.ranker)) if _switched(system.ranker) else ()
    return (lab._taught if system.ranker.condition.taught else lab._pairs, *lab._encoders(system.extended), *lexicons)


def _switched(ranker: System) -> bool:
    return ranker.condition.policy is not None
