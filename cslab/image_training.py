"""How the models of an image–text experiment are trained: the scenes' towers, conditions, re-ranking heads' examples.

From an `ImageLab` to folders with `model/`: called by its stages, and by nothing else.

    train_system(lab, system, folder)
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cslab.image_data import Shown, training_images
from cslab.training.caption_conditions import CAPTION_CONDITIONS, SOURCE, Views, caption_policy

if TYPE_CHECKING:
    from torch import Tensor

    from cslab.image_text import ImageLab, ImageSystem
    from cslab.ranking.dual_encoder import DualEncoder
    from cslab.training.dual import Examples
    from cslab.training.loop import TrainSettings


def train_scene_towers(lab: "ImageLab", folder: Path) -> dict[str, Any]:
    """Trains the scenes' own towers on English captions: what a pretrained model is elsewhere."""
    from cslab.training.contrastive import Contrast
    from cslab.training.dual import Examples, train_dual
    from cslab.training.scene_towers import scene_towers

    chosen, encoder = lab.settings, scene_towers()
    pixels = encoder.pixels([picture for _, picture in lab.training_shown.stream()])["pixel_values"]
    items = tuple(lab.training.texts[SOURCE])
    views = Views(lab.training, CAPTION_CONDITIONS["Zero-shot"], 0, None, paired=False, items=items)
    examples = Examples(len(items), views, np.arange(len(items)), pixels=pixels, key="scenes")
    settings = replace(settings_of(lab, seed=0), steps=chosen.base_steps, lr=chosen.base_lr)
    return train_dual(encoder, examples, settings, Contrast(train_image=True), folder)


def train_system(lab: "ImageLab", system: "ImageSystem", folder: Path) -> dict[str, Any]:
    """Trains a condition's model."""
    from cslab.training.contrastive import Contrast
    from cslab.training.dual import train_dual
    from cslab.training.robust import adversary
    from cslab.training.variants import Given

    chosen, condition = lab.settings, system.condition
    print(f"  training {system.slug}", flush=True)
    encoder, attack = lab.start(system.extended), None
    if condition.robust != "none":
        given = Given(encoder, None, None, chosen.max_length, {})  # methods on embeddings ask the tokenizer alone
        attack = adversary(condition.robust, given, epsilon=chosen.epsilon, moved=condition.moved)
    contrast = Contrast(
        loss="mse" if condition.teacher else "infonce", align=chosen.align if condition.align else 0.0,
        chunk=0 if attack else chosen.chunk, train_image=chosen.train_image,
    )  # fmt: skip
    settings = settings_of(lab, system.seed)
    card = {"condition": condition.name, "seed": system.seed, "profile": lab.lab.profile.name}
    return train_dual(encoder, examples(lab, system, encoder), settings, contrast, folder, attack, card=card)


def settings_of(lab: "ImageLab", seed: int) -> "TrainSettings":
    """How the conditions of a section are trained."""
    from cslab.training.loop import TrainSettings

    chosen = lab.settings
    return TrainSettings(
        steps=chosen.steps, batch=chosen.batch, lr=chosen.lr, seed=seed, max_length=chosen.max_length,
        precision=chosen.precision,
    )  # fmt: skip


def examples(lab: "ImageLab", system: "ImageSystem", encoder: "DualEncoder") -> "Examples":
    """What a system is trained on."""
    from cslab.ranking.dual_encoder import embed_texts
    from cslab.training.dual import Examples

    captions, condition = lab.training, system.condition
    items, targets, pixels, rows = tuple(captions.texts[SOURCE]), None, None, None
    if condition.teacher:
        first = [captions.texts[SOURCE][item][0] for item in items]
        targets = embed_texts(lab.start(system.extended), first, precision=lab.settings.precision, unit=False)
    elif lab.training_shown is not None:
        held, found = _partners(lab, encoder, lab.training_shown)
        items, rows = readable(items, held)
        targets, pixels = (None, found) if lab.settings.train_image else (found, None)
    views = system_views(lab, system, items)
    rows = np.arange(len(items)) if rows is None else rows
    return Examples(len(items), views, rows, targets=targets, pixels=pixels, key=system.slug)


def readable(items: tuple[str, ...], held: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The items whose image could be read, and the row of each among the images held."""
    place = {image: row for row, image in enumerate(held)}
    kept = tuple(item for item in items if item in place)
    return kept, np.array([place[item] for item in kept], dtype=np.int64)


def _partners(lab: "ImageLab", encoder: "DualEncoder", shown: Shown) -> tuple[list[str], "Tensor"]:
    """The images' vectors, or, to train their tower, their pixels."""
    import torch

    if not lab.settings.train_image:
        return lab.image_vectors(encoder, shown)
    names, parts = [], []
    for name, picture in shown.stream():
        names.append(name)
        parts.append(encoder.pixels([picture])["pixel_values"].half())
    return names, torch.cat(parts)


def system_views(lab: "ImageLab", system: "ImageSystem", items: tuple[str, ...]) -> Views:
    """What items read under a system's condition."""
    from cslab.switching.switch import switcher

    chosen, condition, captions, made = lab.settings, system.condition, lab.training, None
    if condition.text == "switched":
        policy = caption_policy(condition, chosen.switched, chosen.probability)
        made = switcher(lab.lexicons_of(condition), policy)
    codes = tuple(code for code in captions.languages if code != SOURCE)
    return Views(captions, condition, system.seed, made, lab.training_shown is None, codes, items)


def train_head(lab: "ImageLab", system: "ImageSystem", folder: Path) -> dict[str, Any]:
    """Trains the cross-attention head of a system's model, on the texts that the model itself has read."""
    from cslab.ranking.cross_attention import CrossAttention
    from cslab.training.dual import Examples
    from cslab.training.image_reranker import HardNegatives, train_reranker

    print(f"  training the head of {system.slug}", flush=True)
    chosen, encoder = lab.settings.reranker, lab.model(system)
    some = list(lab.training.texts[SOURCE])[: chosen.images]
    shown = training_images(lab.settings.model_copy(update={"train": len(some)}), lab.training.subset(some))
    held, vectors = lab.image_vectors(encoder, shown)
    states = lab.image_vectors(encoder, shown, states=True)[1]
    items, rows = readable(tuple(some), held)
    # A model that was not trained has read nothing: its head learns from English captions.
    text = "source" if system.condition.text == "none" else system.condition.text
    plain = replace(system, condition=replace(system.condition, text=text, align=False, teacher=False))
    key = f"head {system.slug}"
    told = Examples(len(items), system_views(lab, plain, items), rows, targets=vectors, key=key)
    head = CrossAttention.of(encoder, states, chosen.width, chosen.layers, system.seed)
    settings = replace(settings_of(lab, system.seed), steps=chosen.steps, batch=chosen.batch, lr=chosen.lr)
    hard = HardNegatives(chosen.negatives, chosen.depth, chosen.loss)
    return train_reranker(encoder, head, told, states, hard, settings, folder)
