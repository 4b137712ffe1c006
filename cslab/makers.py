"""What the stages of a lab do when they are made: train a ranker, re-rank with it, score every run.

Each is a function of a lab (`stages.py` decides what is to be made) and the folder to fill, and returns small numbers
for the stage's summary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.collections.collection import Collection, load_collection, save_collection
from cslab.collections.trec import write_run
from cslab.config import LexiconSettings
from cslab.evaluation.dev import dev_evaluation
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task, make_task
from cslab.evaluation.translate import translate_task
from cslab.languages import pair as split_pair
from cslab.lexicon.lexicon import Lexicon, write_lexicon
from cslab.processes import processes
from cslab.ranking.me5 import described
from cslab.sources.collections import dev_queries
from cslab.store import CslabError
from cslab.systems import FIRST_STAGE, INVERSE, PLAIN, System, asked_in

if TYPE_CHECKING:
    from cslab.stages import Lab
    from cslab.training.watch import Evaluate

SYNONYMS = "rs-da"  # the robust method that exchanges words for synonyms


def keep_collection(found: Collection, folder: Path) -> dict[str, Any]:
    """Saves a collection and counts it."""
    save_collection(found, folder / "data")
    queries = {code: len(texts) for code, texts in found.queries.items()}
    documents = {code: len(texts) for code, texts in found.documents.items()}
    return {"name": found.name, "queries": queries, "documents": documents}


def keep_lexicon(found: Lexicon, settings: LexiconSettings, inverse: bool, folder: Path) -> dict[str, Any]:
    """Saves what is used of a lexicon, inverted or cut to the best translations, and counts it."""
    kept = found.without_identities() if settings.drop_identities else found
    kept = kept.inverted() if inverse else kept.top(settings.top)
    write_lexicon(kept, folder / "lexicon.tsv.gz")
    return {"entries": len(kept), "read": len(found), "identity share": round(found.identity_share(), 4)}


def extend_encoder(lab: "Lab", folder: Path) -> dict[str, Any]:
    """Adds the lexicons' words to the vocabulary of the profile's encoder; `encoder/` goes into the folder."""
    from cslab.ranking.cross_encoder import load_encoder, save_encoder
    from cslab.ranking.vocabulary import extend_vocabulary

    settings = lab.profile.encoder
    plain = load_encoder(settings.name, device="cpu")
    longer = extend_vocabulary(plain, lab.lexicons(), words=settings.words)
    save_encoder(longer, folder / "encoder", {"base": settings.name, "words per language": settings.words})
    return {"vocabulary": len(plain.tokenizer), "extended": len(longer.tokenizer)}


def teach_pairs(lab: "Lab", folder: Path) -> dict[str, Any]:
    """Saves the training pairs with the labels of the profile's teacher, and says how it agrees with judgements."""
    from cslab.training.pairs import save_pairs
    from cslab.training.teachers import joined, report_text, teach, teacher_ranking, unjudged_groups

    training, pairs = lab.profile.training, lab.pairs()
    if training.unlabelled:
        text, ranked = load_collection(lab._unlabelled.make().path / "data"), None
        if training.negatives_from == "dense":
            ranked = teacher_ranking(training.teacher, text, training.precision, list(text.queries["en"]))
        pairs = joined(pairs, unjudged_groups(text, pairs.group, training.seeds[0], ranked))
    pairs, report = teach(pairs, lab.training_collection(taught=True), training.teacher, training.precision)
    print(f"  {report_text(report)}", flush=True)
    save_pairs(pairs, folder / "data")
    return {"pairs": len(pairs), "queries": len(set(pairs.qids))} | report


def loss_of(lab: "Lab", system: System) -> str:
    """The loss that a system's ranker is trained by: the teacher's where it has one."""
    training = lab.profile.training
    return training.teacher.loss if system.ranker.condition.taught else training.loss


def train_ranker(
    lab: "Lab",
    system: System,
    folder: Path,
    dev: "Evaluate | None" = None,
    beginning: Path | None = None,
    until: int | None = None,
) -> dict[str, Any]:
    """Trains the ranker of a system; `model/` and `log.jsonl` go into the folder.

    `dev` evaluates it every so many steps. With a `beginning` it goes on from there, and with `until` it leaves the
    checkpoint of that step instead of a model.
    """
    from cslab.ranking.cross_encoder import load_encoder
    from cslab.training.loop import TrainSettings, train
    from cslab.training.reading import on_disk
    from cslab.training.robust import steps_within

    training, encoder = lab.profile.training, lab.profile.encoder
    print(f"  training {system.slug}", flush=True)
    shared = {field.name for field in fields(TrainSettings)} & training.model_dump().keys()
    given = training.model_dump(include=shared) | {"loss": loss_of(lab, system)}
    given["steps"] = steps_within(training.steps, training.budget, system.robust, training.clean_steps)
    settings = TrainSettings(
        **given, seed=system.seed, train_embeddings=encoder.train_embeddings, frozen_layers=encoder.frozen_layers
    )
    start = load_encoder(lab.encoder_source(system.extended), seed=system.seed, dropout=encoder.dropout)
    card = {"condition": system.condition.name, "pair": system.pair, "seed": system.seed}
    card |= {"profile": lab.profile.name, "data": lab.training_collection().name}
    card |= {"lexicon": lab.profile.lexicon.source, "encoder": described(encoder.name)}
    taught = system.condition.taught
    card |= {"teacher": lab._taught.make().summary} if taught else {}
    pairs, method, store = lab.pairs(taught), None, (lab.base or lab).folder / "tokens"
    texts = on_disk(lab.texts(system), start.tokenizer, store, print if processes()[0] == 0 else None)
    if system.robust != PLAIN:
        from cslab.lexicon.synonyms import synonyms
        from cslab.training.robust import adversary
        from cslab.training.variants import Given

        card |= {"robust": system.robust}
        lexicons = lab.lexicons()
        if SYNONYMS in system.robust:
            lexicons["en"] = synonyms(lexicons)
            if not lexicons["en"]:
                raise CslabError(
                    f"robust method {SYNONYMS}: the {len(lexicons) - 1} lexicons give no synonyms; add languages, or "
                    "raise lexicon.top"
                )
        method = adversary(system.robust, Given(start, pairs, texts, training.max_length, lexicons))
    if training.align:
        method = _alignment(lab, start, method, taught)
    return train(
        start, pairs, texts, settings, folder, method, card=card, evaluate=dev, trackers=training.trackers,
        beginning=beginning, until=until,
    )  # fmt: skip


def _alignment(lab: "Lab", start: Any, method: Any, taught: bool) -> Any:
    from cslab.training.auxiliary import Alignment
    from cslab.training.conditions import CONDITIONS, pair_texts

    if method is not None:
        raise CslabError("training.align: it does not go together with a robust method; set it to 0")
    training, pairs = lab.profile.training, lab.pairs(taught)
    plain = pair_texts(CONDITIONS["Zero-shot"], pairs, lab.training_collection(taught), {}, training.seeds[0])
    return Alignment(plain, pairs, start.tokenizer, training.max_length, training.align, taught)


def dev_evaluator(lab: "Lab") -> "Evaluate | None":
    """What a ranker's dev tasks give while it is trained; None for a profile that does not ask for it."""
    training = lab.profile.training
    if not training.evaluate_every:
        return None
    return dev_evaluation(dev_tasks(lab), lab.profile.evaluation.measures[0], training.max_length, training.precision)


def dev_tasks(lab: "Lab", pairs: Sequence[str] | None = None) -> dict[str, Task]:
    """The held-out queries of the training collection, as a task for each pair (default: the profile's dev pairs).

    Raises:
        CslabError: where none are held out, or the collection lacks a language.
    """
    training, evaluation = lab.profile.training, lab.profile.evaluation
    if not training.dev_queries:
        raise CslabError("training: no queries are held out; set training.dev_queries, e.g. to 200")
    collection = lab.training_collection()
    held = collection.subset(dev_queries(lab.profile, collection))
    return {
        pair: make_task(held, *split_pair(pair), evaluation.protocol, evaluation.depth)
        for pair in pairs or training.dev_pairs
    }


def read_as(lab: "Lab", system: System, task: Task) -> Task:
    """A task as a system reads it: its texts treated as its condition says."""
    if system.condition.test_text == "as is":
        return task
    by = "own" if system.condition.test_text == "translated" else "query"
    return translate_task(task, lab.lexicons(INVERSE, asked_in(lab.profile, system)), by)


def rerank_system(lab: "Lab", system: System, folder: Path) -> dict[str, Any]:
    """Re-ranks the candidates of every pair of a system, its texts treated as its condition says; a run for each."""
    from cslab.ranking.cross_encoder import load_encoder
    from cslab.ranking.rerank import rerank_all

    tasks = {pair: read_as(lab, system, task) for pair, task in lab.tasks(system).items()}
    encoder = load_encoder(str(lab.train(system).path / "model"))
    first = processes()[0] == 0
    if first:
        print(f"  re-ranking with {system.slug}", flush=True)
    # All pairs go together: a pool holds texts that the single languages hold too. TREC files know no blanks.
    runs = rerank_all(
        encoder, tasks, system.name.replace(" ", "-"), folder / "shards", (lab.base or lab).folder / "tokens",
        lab.profile.evaluation.max_length, precision=lab.profile.training.precision,
        progress=print if first else None,
    )  # fmt: skip
    for pair, run in runs.items() if first else ():
        write_run(run, folder / f"{pair}.trec.gz")
    return {"candidates scored": sum(len(found) for run in runs.values() for found in run.scores.values())}


def score_systems(lab: "Lab") -> Iterator[pd.DataFrame]:
    """The scores of the first stage and of every row on every pair."""
    measures = lab.profile.evaluation.measures
    for pair in lab.profile.evaluation.pairs:
        task = lab.task(pair)
        yield score_run(task.candidates, task.qrels, FIRST_STAGE, 0, measures, task.queries)
    for row in lab.rows():
        for pair, run in lab.runs(row).items():
            task = lab.task(pair)
            yield score_run(run, task.qrels, row.name, row.seed, measures, task.queries)


def labelled(lab: "Lab", variations: "Mapping[str, Lab]") -> Iterator[pd.DataFrame]:
    """The scores of variations of a lab, each system with its label; the first stage only where it differs."""
    differs = any(varied.profile.evaluation != lab.profile.evaluation for varied in variations.values())
    for label, varied in variations.items():
        for part in score_systems(varied):
            if differs or part["system"].iloc[0] != FIRST_STAGE:
                yield part.assign(system=part["system"] + f" {label}")
