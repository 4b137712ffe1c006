"""Scores of image–text models: what captions find and what finds captions, plain and corrected.

From an `ImageLab` and a system to rows of the tidy score table.

    scores = score_system(lab, system)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cslab.evaluation.recall import hub_penalty, rank_scores, ranks
from cslab.evaluation.translate import translate
from cslab.image_data import Task
from cslab.training.caption_conditions import SOURCE

if TYPE_CHECKING:
    from torch import Tensor

    from cslab.image_text import ImageLab, ImageSystem
    from cslab.ranking.dual_encoder import DualEncoder


@dataclass(frozen=True)
class Side:
    """One way of asking: captions for what is searched (images, or English captions), or the other way.

    Attributes:
        queries, keys: vectors.
        query_rows: row of each query among all that are asked, or searched.
        query_items, key_items: number of the image of each.
        qids, dids: names of queries and keys.
        langs: of queries and keys, `image` for images.
    """

    queries: "Tensor"
    keys: "Tensor"
    query_rows: np.ndarray
    query_items: np.ndarray
    key_items: np.ndarray
    qids: Sequence[str]
    dids: Sequence[str]
    langs: tuple[str, str]


def first_found(scores: pd.DataFrame) -> dict[str, float]:
    """R@1 × 100 by system and test, for summaries."""
    found = scores[scores["measure"] == "R@1"].groupby(["system", "setting"], sort=False)["value"].mean()
    return {" ".join(name): round(100 * value, 1) for name, value in found.items()}


def score_system(lab: "ImageLab", system: "ImageSystem") -> pd.DataFrame:
    """A system's rows of the table, with those of its corrected forms."""
    from cslab.ranking.dual_encoder import embed_texts

    encoder, chosen, parts = lab.model(system), lab.settings, []
    ways = [None, *(chosen.corrections if system.condition.name in chosen.corrected else [])]
    bank = None
    if len(ways) > 1 and chosen.bank == "training":
        english = [found[0] for found in lab.training.texts[SOURCE].values()]
        told = embed_texts(encoder, english, precision=chosen.precision)
        shown = lab.training_shown
        bank = told, told if shown is None else lab.image_vectors(encoder, shown)[1]
    for task in lab.tasks:
        keys, held = keys_of(lab, task, encoder)
        for code in task.languages:
            images, texts = asking(lab, system, task, code, held)
            asked = embed_texts(encoder, texts, max_length=chosen.max_length, precision=chosen.precision)
            ways_of, banks = sides(task, code, images, held, asked, keys), bank or (asked, keys)
            for way in ways:
                name = system.name + (f" · {way.upper() if way == 'csls' else way}" if way else "")
                for side, keyed in zip(ways_of, banks, strict=True):
                    penalty = hub_penalty(side.keys, keyed, way) if way else None
                    found = ranks(side.queries, side.keys, side.query_items, side.key_items, penalty)
                    parts.append(rank_scores(found, side.qids, name, *side.langs, system.seed, task.name))
    return pd.concat(parts, ignore_index=True)


def keys_of(lab: "ImageLab", task: Task, encoder: "DualEncoder") -> tuple["Tensor", list[str]]:
    """What is searched in a task: vectors and the image of each."""
    from cslab.ranking.dual_encoder import embed_texts

    if task.shown is None:
        images, texts = task.captions.rows(SOURCE)
        chosen = lab.settings
        return embed_texts(encoder, texts, max_length=chosen.max_length, precision=chosen.precision), images
    held, vectors = lab.image_vectors(encoder, task.shown)
    return vectors, held


def asking(
    lab: "ImageLab", system: "ImageSystem", task: Task, code: str, held: Sequence[str]
) -> tuple[list[str], list[str]]:
    """A language's captions and the image of each, of images that are there, as the system reads them."""
    there = set(held)
    images, texts = task.captions.rows(code, [image for image in task.captions.texts[code] if image in there])
    if system.condition.test_text == "translated" and code in lab.inverse:
        texts = [translate(text, code, lab.inverse) for text in texts]
    return images, texts


def sides(
    task: Task, code: str, images: Sequence[str], held: Sequence[str], asked: "Tensor", keys: "Tensor"
) -> tuple[Side, Side]:
    """Both ways of asking.

    Args:
        task: of the captions.
        code: their language.
        images: the image of each caption.
        held: the image of each key.
        asked, keys: vectors of captions and keys.
    """
    place = {image: number for number, image in enumerate(dict.fromkeys(held))}
    own, of_key = np.array([place[image] for image in images]), np.array([place[image] for image in held])
    told = [f"{image}#{row}" for row, image in enumerate(images)]
    # Images of which this language has no caption ask for nothing.
    rows = np.flatnonzero(np.isin(of_key, own))
    shown = [f"{held[row]}#{row}" for row in rows]
    there = Side(asked, keys, np.arange(len(images)), own, of_key, told, held, (code, task.target))
    return there, Side(keys[rows], asked, rows, of_key[rows], own, shown, told, (task.target, code))
