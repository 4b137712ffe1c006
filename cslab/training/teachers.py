"""Teachers: labels that are a model's scores of the English text, made once; students read what their condition says.

This is Translate-Distill (2401.04810: a teacher of English queries and passages, a student of translated ones) with a
lexicon in the translator's place. A teacher is a dual encoder (cosines), a cross-encoder (logits), a run (its scores),
or several of them: then the mean of their scores, standardised within each group. Scores are multiplied by `scale`, and
the label of a judged document gets a `bonus`.

    taught, report = teach(pairs, collection, TeacherSettings(models=["minilm"]))
    report["agreement"]             # share of groups where the teacher has the judged document first
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cslab.choices import TeacherModel, TeacherSettings
from cslab.collections.collection import Collection
from cslab.collections.trec import Run, read_run
from cslab.ranking.cosine import TextVectors, dense_run
from cslab.ranking.first_stage import build_index
from cslab.store import CslabError
from cslab.training.pairs import Pairs, Score, generator

SCALE = 40.0  # of a single dual encoder's cosines; contrastive training divided them by about a fortieth, or less
HALF = 0.5  # a teacher that agrees with fewer judgements than that is said so
DEPTH = 100  # ranks of a dense run, those that hard negatives are drawn from


@dataclass(frozen=True)
class _Model:
    """One model of a teacher: its kind, name, and how it scores (query, document) ids."""

    kind: str
    name: str
    score: Score


@dataclass(frozen=True)
class Teacher:
    """The models of a teacher, with the texts of a collection."""

    settings: TeacherSettings
    models: tuple[_Model, ...]

    @classmethod
    def of(
        cls, settings: TeacherSettings, collection: Collection, precision: str = "fp32", language: str = "en"
    ) -> "Teacher":
        """The teacher that a profile names; encoders are loaded when they are first asked.

        Raises:
            CslabError: for a model whose kind cannot be told, or a run that is not there.
        """
        texts = collection.queries[language], collection.documents[language]
        return cls(settings, tuple(_model(model, *texts, precision) for model in settings.models))

    @property
    def name(self) -> str:
        """The names of its models."""
        return " + ".join(model.name for model in self.models)

    @property
    def scale(self) -> float:
        """What scores are multiplied by."""
        default = SCALE if [model.kind for model in self.models] == ["dual"] else 1.0
        return default if self.settings.scale is None else self.settings.scale

    def score(self, asked: Sequence[tuple[str, str]]) -> np.ndarray:
        """The scores of the one model of the teacher, for a filter of negatives."""
        (model,) = self.models
        return self.scale * model.score(asked)

    def groups(self, pairs: Pairs) -> np.ndarray:
        """The scores of pairs, (groups, size) float32.

        Raises:
            CslabError: if a score is not a finite number.
        """
        asked = list(zip(pairs.qids.tolist(), pairs.dids.tolist(), strict=True))
        found = []
        for model in self.models:
            scores = np.asarray(model.score(asked), np.float32).reshape(-1, pairs.group)
            if not np.isfinite(scores).all():
                raise CslabError(f"teacher {model.name}: a score is not a finite number; its weights are damaged")
            found.append(standardised(scores) if len(self.models) > 1 else scores)
        return self.scale * np.mean(found, axis=0, dtype=np.float32)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and deviation 1; all zeros where a row's scores are the same.

    >>> standardised(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    apart = scores - scores.mean(1, keepdims=True)
    deviation = scores.std(1, keepdims=True)
    return np.divide(apart, deviation, out=np.zeros_like(apart), where=deviation > 1e-6 * np.abs(scores).max())


def unjudged_groups(
    collection: Collection, size: int, seed: int, ranked: Run | None = None, language: str = "en"
) -> Pairs:
    """Groups of questions that nobody has judged: the first candidate, and others drawn from the first 100.

    Args:
        collection: questions and documents.
        size: documents of a group; questions with fewer candidates are left out.
        seed: of the draws.
        ranked: the candidates (default: those of BM25).

    Raises:
        CslabError: if no question has candidates enough.
    """
    queries, documents = collection.queries[language], collection.documents[language]
    index = None if ranked else build_index(documents, language)
    rows: list[tuple[str, str]] = []
    for qid, text in queries.items():
        found = list(index.search(text, DEPTH)) if index else ranked.ranking(qid, DEPTH)
        if len(found) >= size:
            others = generator("unjudged", seed, qid).permutation(len(found) - 1)[: size - 1]
            rows += [(qid, found[0]), *((qid, found[1 + i]) for i in others.tolist())]
    if not rows:
        raise CslabError(f"{collection.name}: no question has {size} candidates; give more passages")
    ids = (np.array(column) for column in zip(*rows, strict=True))
    return Pairs(*ids, np.zeros(len(rows), np.float32), size, language)


def joined(first: Pairs, second: Pairs) -> Pairs:
    """The groups of both."""
    columns = ("qids", "dids", "labels")
    return replace(first, **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in columns})


def teach(
    pairs: Pairs, collection: Collection, settings: TeacherSettings, precision: str = "fp32"
) -> tuple[Pairs, dict[str, Any]]:
    """The same pairs with a teacher's labels, and what it makes of the judged ones.

    Args:
        pairs: with judgements as labels.
        collection: where their texts are.
        settings: of the teacher.
        precision: "auto", "fp32" or "bf16".

    Returns:
        The pairs; and `teacher` (its name), `scale`, `groups` (those with a judged document), `agreement` (share of
        these where the teacher puts the judged one above all others), `mean margin` (between it and the best other, of
        scaled scores, without bonus), `filtered` (its margin, where it has chosen the negatives itself), and `warning`
        where it agrees with fewer than half.
    """
    teacher = Teacher.of(settings, collection, precision, pairs.language)
    scores = teacher.groups(pairs)
    judged = pairs.labels.reshape(scores.shape)
    labels = (scores + settings.bonus * judged).astype(np.float32).ravel()
    margins = (scores[:, 0] - scores[:, 1:].max(1))[judged[:, 0] > 0]
    agreement = float((margins > 0).mean())
    report = {"teacher": teacher.name, "scale": teacher.scale, "bonus": settings.bonus, "groups": len(margins)}
    report |= {} if settings.margin is None else {"filtered": settings.margin}
    report |= {"unjudged groups": len(scores) - len(margins)}
    report |= {"agreement": round(agreement, 4), "mean margin": round(float(margins.mean()), 4)}
    if agreement < HALF:
        report["warning"] = "the teacher puts the judged document first in fewer than half of the groups"
    return replace(pairs, labels=labels), report


def report_text(report: Mapping[str, Any]) -> str:
    """What a report says, in one line.

    >>> report_text({"teacher": "minilm", "agreement": 0.412, "mean margin": -0.3, "groups": 9, "warning": "too few"})
    'teacher minilm: the judged document first in 41.2 % of 9 groups, mean margin -0.30; too few'
    """
    told = f"teacher {report['teacher']}: the judged document first in {100 * report['agreement']:.1f} % of "
    told += f"{report['groups']:,} groups, mean margin {report['mean margin']:.2f}"
    told += ", of negatives that it let through" if "filtered" in report else ""
    return told + (f"; {report['warning']}" if "warning" in report else "")


def teacher_ranking(
    settings: TeacherSettings | None, collection: Collection, precision: str = "fp32", qids: Sequence[str] = ()
) -> Run:
    """The documents that a teacher's dual encoder ranks first for English questions, to draw hard negatives from.

    Raises:
        CslabError: where there is no dual encoder among the models.
    """
    from cslab.ranking.kinds import chosen

    named = (chosen(model) for model in (settings.models if settings else ()) if not model.run)
    name = next((name for kind, name in named if kind == "dual"), None)
    if name is None:
        raise CslabError(
            "training.negatives_from=dense needs a dual encoder; name one, e.g. training.teacher={models: [me5]}"
        )
    queries = {qid: collection.queries["en"][qid] for qid in qids}
    print(f"  ranking {len(collection.documents['en']):,} documents with {name}", flush=True)
    return dense_run(TextVectors(name, precision=precision, progress=print), queries, collection.documents["en"], DEPTH)


# --- the models ----------------------------------------------------------------------------------------------


def _model(model: TeacherModel, queries: Mapping[str, str], documents: Mapping[str, str], precision: str) -> _Model:
    if model.run:
        return _Model("run", model.run, _of_run(model.run))
    from cslab.ranking.kinds import chosen

    kind, name = chosen(model)

    def texts(asked: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(queries[qid], documents[did]) for qid, did in asked]

    if kind == "cross":
        return _Model(kind, name, _of_cross_encoder(name, texts, precision))
    vectors = TextVectors(name, precision=precision, progress=print)

    def cosines(asked: Sequence[tuple[str, str]]) -> np.ndarray:
        pairs = texts(asked)
        return vectors.cosines([query for query, _ in pairs], [document for _, document in pairs])

    return _Model(kind, name, cosines)


def _of_cross_encoder(name: str, texts: Callable[[Any], list[tuple[str, str]]], precision: str) -> Score:
    from cslab.ranking.cross_encoder import load_encoder, score_pairs

    encoder = cache(lambda: load_encoder(name))
    return lambda asked: score_pairs(encoder(), texts(asked), precision=precision)


def run_files(settings: TeacherSettings | None) -> list[Path]:
    """The files of a teacher's runs."""
    return [_located(model.run) for model in (settings.models if settings else ()) if model.run]


def _located(name: str) -> Path:
    from cslab.sources.places import locate  # whose package reads pairs

    return locate(name, "training.teacher.models")


def _of_run(name: str) -> Score:
    """A run's scores; a document that it does not rank has the lowest of its question."""
    run = read_run(_located(name), "en", "en")

    def score(asked: Sequence[tuple[str, str]]) -> np.ndarray:
        if lost := next((qid for qid, _ in asked if qid not in run.scores), None):
            raise CslabError(f"{name}: a teacher's run without question '{lost}'; rank all training questions")
        lowest = {qid: min(run.scores[qid].values()) for qid in dict.fromkeys(qid for qid, _ in asked)}
        return np.array([run.scores[qid].get(did, lowest[qid]) for qid, did in asked], np.float32)

    return score
