"""Image–text models re-ranked: a cross-attention head puts the first images, or captions, in a new order.

From an `ImageLab` and a system to two stages: the head, trained on the hard negatives of the system's own ranking, and
its scores, rows of the same table as the system's, with the runs beside them (`runs/<test>.de-image.run.gz`). What
stands behind the first k keeps its place.

    reranked_cell(lab, system).make().path / "scores.parquet"
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cslab.collections.trec import Run, write_run
from cslab.evaluation.measures import write_scores
from cslab.evaluation.recall import rank_scores, ranks, reranked_ranks
from cslab.image_scores import Side, asking, first_found, keys_of, sides
from cslab.image_training import train_head
from cslab.recipe import Recipe

if TYPE_CHECKING:
    from cslab.image_text import ImageLab, ImageSystem

RERANKED = "re-ranked"


def reranked_cell(lab: "ImageLab", system: "ImageSystem") -> Recipe:
    """Scores and runs of a system whose first answers are re-ranked."""

    def build(folder: Path) -> dict[str, Any]:
        scores, runs = score_reranked(lab, system)
        write_scores(scores, folder / "scores.parquet")
        for name, run in runs.items():
            write_run(run, folder / "runs" / f"{name}.run.gz")
        return first_found(scores)

    config = lab._config("train", "test", "encoder", "words", "switched", "max_length", "precision")
    config |= {"condition": system.condition, "extended": system.extended, "seed": system.seed}
    config |= {"k": lab.settings.reranker.k}
    inputs = (lab._cell(system), head_recipe(lab, system))
    return Recipe(lab.folder / "scores" / f"{system.slug}-reranked", config, build, inputs)


def head_recipe(lab: "ImageLab", system: "ImageSystem") -> Recipe:
    """The head of a system's model; it lies in `<stage>/model`."""
    trained = system.trained_as

    def build(folder: Path) -> dict[str, Any]:
        return train_head(lab, trained, folder)

    config = lab._config("train", "encoder", "words", "switched", "probability", "max_length", "precision")
    config |= {"condition": trained.condition, "extended": trained.extended, "seed": trained.seed}
    config |= {"head": lab.settings.reranker.model_dump(exclude={"k"})}
    inputs = (lab._model(trained),) if trained.condition.text != "none" else lab._inputs(trained)
    return Recipe(lab.folder / "rerankers" / trained.slug, config, build, inputs)


def score_reranked(lab: "ImageLab", system: "ImageSystem") -> tuple[pd.DataFrame, dict[str, Run]]:
    """A system's rows of the table after re-ranking, both ways, and by name the runs with the first k of each query."""
    from cslab.ranking.cross_attention import load_head, pair_scores
    from cslab.ranking.dual_encoder import embed_texts

    encoder, chosen, parts, runs = lab.model(system), lab.settings, [], {}
    head = load_head(head_recipe(lab, system).make().path / "model", encoder.device)
    name = f"{system.name} · {RERANKED}"
    for task in lab.tasks:
        keys, held = keys_of(lab, task, encoder)
        states = lab.image_vectors(encoder, task.shown, states=True)[1]
        for code in task.languages:
            images, texts = asking(lab, system, task, code, held)
            asked = embed_texts(encoder, texts, max_length=chosen.max_length, precision=chosen.precision)
            for side in sides(task, code, images, held, asked, keys):
                rows, cosines = _first(side, chosen.reranker.k)
                pairs = np.repeat(side.query_rows, rows.shape[1]), rows.ravel()
                pairs = pairs[::-1] if side.langs[0] == task.target else pairs
                scores = pair_scores(
                    head, encoder, texts, states, *pairs, cosines.ravel(), chosen.max_length, precision=chosen.precision
                ).reshape(rows.shape)
                right = side.key_items[rows] == side.query_items[:, None]
                found = ranks(side.queries, side.keys, side.query_items, side.key_items)
                found = reranked_ranks(found, right, scores)
                parts.append(rank_scores(found, side.qids, name, *side.langs, system.seed, task.name))
                runs[f"{task.name}.{'-'.join(side.langs)}"] = _run(lab, system, side, rows, scores)
    return pd.concat(parts, ignore_index=True), runs


def _first(side: Side, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines of each query's first keys, (queries, k)."""
    from cslab.lexicon.search import nearest_rows

    found = nearest_rows(side.queries, side.keys, min(k, len(side.keys)))
    return found.rows.numpy(), found.scores.numpy()


def _run(lab: "ImageLab", system: "ImageSystem", side: Side, rows: np.ndarray, scores: np.ndarray) -> Run:
    found = {
        qid: {side.dids[row]: float(score) for row, score in zip(near, told, strict=True)}
        for qid, near, told in zip(side.qids, rows, scores, strict=True)
    }
    return Run(f"{system.slug}-reranked", *side.langs, f"{system.slug}@{lab.settings.reranker.k}", found)
