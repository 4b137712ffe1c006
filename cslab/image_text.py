"""The stages of an image–text experiment, each made once: towers, models, scores.

An `ImageLab` is the section `image_text` of a profile and the folder `outputs/<profile>/image-text/`. With drawn
scenes, captions ask for images and images for captions; with real captions and no images, captions of other languages
ask for English ones. Baselines (translate-test, English-only, translations, hubness correction) stand beside what is
switched.

    lab = open_image_lab("demo")
    lab.scores()          # trains and scores whatever is not there yet
    recall_table(lab.scores())          # tables also lie in `scores/all/recall.md`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cslab.collections.captions import Captions
from cslab.collections.scene_pictures import pictures
from cslab.collections.scenes import Scene, scene_lexicon, scenes
from cslab.config import ImageTextSettings, Profile
from cslab.evaluation.measures import read_scores, write_scores
from cslab.evaluation.translate import translate
from cslab.image_data import Task, read_tasks, read_training_captions
from cslab.lexicon.lexicon import Lexicon
from cslab.recipe import Recipe
from cslab.stages import Lab, open_lab
from cslab.store import CslabError, Stage, atomic_open
from cslab.systems import INVERSE
from cslab.training.caption_conditions import (
    CAPTION_CONDITIONS,
    SOURCE,
    CaptionCondition,
    Views,
    check_caption_conditions,
)

if TYPE_CHECKING:
    from torch import Tensor

    from cslab.ranking.dual_encoder import DualEncoder
    from cslab.training.dual import Examples

ROOMS = ("training", "switching", "ranking", "text", "collections", "image_text", "image_data")


@dataclass(frozen=True)
class ImageSystem:
    """One model: a condition, with or without extended vocabulary, a seed."""

    condition: CaptionCondition
    extended: bool
    seed: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.condition.name + ("+vocab" if self.extended else "")

    @property
    def trained_as(self) -> "ImageSystem":
        """The system whose model this one uses: what is only asked in another way is not trained twice."""
        same = next(c for c in CAPTION_CONDITIONS.values() if replace(c, name="") == replace(
            self.condition, name="", test_text="as is"))  # fmt: skip
        return replace(self, condition=same)

    @property
    def slug(self) -> str:
        """Name of its folders."""
        return f"{self.name.lower().replace(' + ', '-').replace(', ', '-').replace(' ', '-')}-s{self.seed}"


def open_image_lab(profile: str | Profile = "demo", settings: Sequence[str] = (), outputs: Any = None) -> "ImageLab":
    """Opens the image–text experiment of a profile.

    Raises:
        CslabError: as `open_lab`, for a profile without this section, or a condition that is not known.
    """
    lab = open_lab(profile, settings, outputs)
    chosen = lab.profile.image_text
    if chosen is None:
        raise CslabError(
            f"profile {lab.profile.name}: it has no section image_text; add one, or --set image_text.source=scenes"
        )
    named = [*chosen.conditions, *chosen.corrected, *chosen.plain]
    check_caption_conditions(named, f"profile {lab.profile.name}")
    return ImageLab(lab, lab.folder / "image-text")


@dataclass(frozen=True)
class ImageLab:
    """The image–text section of a profile, its folder, and the stages in it."""

    lab: Lab
    folder: Path
    _open: dict[str, Any] = field(default_factory=dict, repr=False)  # models and vectors that a search has opened

    @property
    def settings(self) -> ImageTextSettings:
        """The section `image_text` of the profile."""
        return self.lab.profile.image_text

    # --- data ------------------------------------------------------------------------------------------------

    @cached_property
    def training_scenes(self) -> list[Scene]:
        """The scenes trained on."""
        return scenes("train", self.settings.train)

    @cached_property
    def training(self) -> Captions:
        """Captions trained on, in English and, for fine-tuning, in the languages that have translations."""
        return read_training_captions(self.settings)

    @cached_property
    def tasks(self) -> list[Task]:
        """What the models are tested on."""
        return read_tasks(self.settings)

    @cached_property
    def lexicons(self) -> dict[str, Lexicon]:
        """English → each language that is switched into."""
        if self.settings.source == "scenes":
            return {code: scene_lexicon(code) for code in self.settings.switched}
        return self.lab.lexicons(codes=self._switched)

    @property
    def _switched(self) -> list[str]:
        """Languages that the profile's lexicons switch into."""
        codes, known = self.settings.switched, self.lab.profile.lexicon.languages
        if lost := [code for code in codes if code not in known]:
            raise CslabError(f"image_text.switched: no lexicon for '{lost[0]}'; add it to lexicon.languages")
        return codes

    @cached_property
    def inverse(self) -> dict[str, Lexicon]:
        """Each language that is switched into → English, for translate-test."""
        if self.settings.source == "scenes":
            return {code: lexicon.inverted() for code, lexicon in self.lexicons.items()}
        return self.lab.lexicons(INVERSE, self._switched)

    # --- models ----------------------------------------------------------------------------------------------

    def systems(self) -> Iterator[ImageSystem]:
        """Every model of the section, in the order of its conditions."""
        chosen = self.settings
        for name in chosen.conditions:
            extend = chosen.extend if chosen.source != "scenes" else [False]
            for extended in dict.fromkeys([False, *extend] if name in chosen.plain else extend):
                for seed in chosen.seeds:
                    yield ImageSystem(CAPTION_CONDITIONS[name], extended, seed)

    @cached_property
    def _base(self) -> Recipe:
        """The scenes' own towers, trained on English captions: what a pretrained model is elsewhere."""
        chosen = self.settings

        def build(folder: Path) -> dict[str, Any]:
            from cslab.training.contrastive import Contrast
            from cslab.training.dual import Examples, train_dual
            from cslab.training.loop import TrainSettings
            from cslab.training.scene_towers import scene_towers

            encoder = scene_towers()
            pixels = encoder.pixels([picture for _, picture in pictures(self.training_scenes)])["pixel_values"]
            items = tuple(self.training.texts[SOURCE])
            views = Views(self.training, CAPTION_CONDITIONS["Zero-shot"], 0, None, paired=False, items=items)
            examples = Examples(len(items), views, np.arange(len(items)), pixels=pixels, key="scenes")
            settings = TrainSettings(
                steps=chosen.base_steps, batch=chosen.batch, lr=chosen.base_lr, max_length=chosen.max_length,
                precision=chosen.precision,
            )  # fmt: skip
            return train_dual(encoder, examples, settings, Contrast(train_image=True), folder)

        names = ("train", "base_steps", "base_lr", "batch", "max_length", "precision")
        return Recipe(self.folder / "towers" / "base", self._config(*names), build, rooms=ROOMS)

    def start(self, extended: bool = False) -> "DualEncoder":
        """The model that every condition starts from."""
        from cslab.ranking.dual_encoder import load_dual_encoder, with_lexicons

        if self.settings.source == "scenes":
            return replace(load_dual_encoder(self._base.make().path / "model"), name="scenes")
        encoder = load_dual_encoder(self.settings.encoder)
        return with_lexicons(encoder, self.lexicons, self.settings.words) if extended else encoder

    def _config(self, *names: str) -> dict[str, Any]:
        """Settings that a stage depends on, and what the data are."""
        held = self.settings.model_dump()
        return {name: held[name] for name in ("source", "folder", "described", "languages", *names)}

    def _model(self, system: ImageSystem) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return self._train(system, folder)

        names = ("train", "encoder", "words", "switched", "steps", "batch", "chunk", "lr", "probability", "align")
        config = self._config(*names, "epsilon", "max_length", "precision")
        config |= {"condition": system.condition, "extended": system.extended, "seed": system.seed}
        inputs = (self._base,) if self.settings.source == "scenes" else self.lab._lexicons(codes=self._switched)
        return Recipe(self.folder / "models" / system.slug, config, build, inputs, ROOMS)

    def _train(self, system: ImageSystem, folder: Path) -> dict[str, Any]:
        from cslab.training.contrastive import Contrast
        from cslab.training.dual import train_dual
        from cslab.training.loop import TrainSettings
        from cslab.training.robust import adversary
        from cslab.training.variants import Given

        chosen, condition = self.settings, system.condition
        print(f"  training {system.slug}", flush=True)
        encoder = self.start(system.extended)
        settings = TrainSettings(
            steps=chosen.steps, batch=chosen.batch, lr=chosen.lr, seed=system.seed, max_length=chosen.max_length,
            precision=chosen.precision,
        )  # fmt: skip
        attack = None
        if condition.robust != "none":
            given = Given(encoder, None, None, chosen.max_length, {})  # methods on embeddings ask the tokenizer alone
            attack = adversary(condition.robust, given, epsilon=chosen.epsilon)
        contrast = Contrast(
            loss="mse" if condition.teacher else "infonce", align=chosen.align if condition.align else 0.0,
            chunk=0 if attack else chosen.chunk,
        )  # fmt: skip
        card = {"condition": condition.name, "seed": system.seed, "profile": self.lab.profile.name}
        return train_dual(encoder, self.examples(system, encoder), settings, contrast, folder, attack, card=card)

    def examples(self, system: ImageSystem, encoder: "DualEncoder") -> "Examples":
        """What a system is trained on."""
        from cslab.ranking.dual_encoder import embed_texts
        from cslab.switching.policy import POLICIES
        from cslab.switching.switch import switcher
        from cslab.training.dual import Examples

        chosen, condition, captions = self.settings, system.condition, self.training
        policy = replace(
            POLICIES["ML-CS"], query=chosen.probability, document=chosen.probability, languages=tuple(chosen.switched)
        )
        made = switcher(self.lexicons, policy) if condition.text == "switched" else None
        codes = tuple(code for code in captions.languages if code != SOURCE)
        items, targets = tuple(captions.texts[SOURCE]), None
        if condition.teacher:
            targets = embed_texts(
                self.start(system.extended), [captions.texts[SOURCE][i][0] for i in items], unit=False
            )
        elif chosen.source == "scenes":
            targets = self._image_vectors(encoder, self.training_scenes, "train")
        views = Views(captions, condition, system.seed, made, chosen.source != "scenes", codes, items)
        return Examples(len(items), views, np.arange(len(items)), targets=targets, key=system.slug)

    def _image_vectors(self, encoder: "DualEncoder", made: Sequence[Scene], split: str) -> "Tensor":
        from cslab.ranking.dual_encoder import stored_images

        images = ((name, picture) for name, picture in pictures(made))
        return stored_images(encoder, images, self.folder / "images", [split, len(made)])[1]

    def train(self, system: ImageSystem) -> Stage:
        """Trains a model; it lies in `<stage>/model`."""
        return self._model(system.trained_as).make()

    def model(self, system: ImageSystem) -> "DualEncoder":
        """A system's model, trained if need be."""
        from cslab.ranking.dual_encoder import load_dual_encoder

        if system.condition.text == "none":
            return self.start(system.extended)
        return load_dual_encoder(self.train(system).path / "model")

    # --- scores ----------------------------------------------------------------------------------------------

    def _cell(self, system: ImageSystem) -> Recipe:
        """Scores of one system."""
        chosen = self.settings

        def build(folder: Path) -> dict[str, Any]:
            scores = self.score(system)
            write_scores(scores, folder / "scores.parquet")
            found = scores[scores["measure"] == "R@1"].groupby(["system", "setting"], sort=False)["value"].mean()
            return {" ".join(name): round(100 * value, 1) for name, value in found.items()}

        corrected = chosen.corrections if system.condition.name in chosen.corrected else []
        config = self._config("train", "test", "bank", "encoder", "words", "switched", "max_length")
        config |= {"condition": system.condition, "extended": system.extended, "seed": system.seed}
        config |= {"corrections": corrected}
        inputs = () if system.condition.text == "none" else (self._model(system.trained_as),)
        if chosen.source == "scenes":
            inputs = inputs or (self._base,)
        else:
            inputs += self.lab._lexicons(codes=self._switched) if system.extended and not inputs else ()
            translated = system.condition.test_text == "translated"
            inputs += self.lab._lexicons(INVERSE, self._switched) if translated else ()
        return Recipe(self.folder / "scores" / system.slug, config, build, inputs, (*ROOMS, "evaluation"))

    @cached_property
    def _scores(self) -> Recipe:
        cells = tuple(self._cell(system) for system in self.systems())

        def build(folder: Path) -> dict[str, Any]:
            from cslab.image_tables import recall_markdown

            parts = [read_scores(cell.make().path / "scores.parquet") for cell in cells]
            scores = pd.concat(parts, ignore_index=True)
            write_scores(scores, folder / "scores.parquet")
            with atomic_open(folder / "recall.md") as handle:
                handle.write(recall_markdown(scores, self.tasks) + "\n")
            return {"systems": list(dict.fromkeys(scores["system"])), "rows": len(scores)}

        rooms = (*ROOMS, "evaluation", "image_tables")
        return Recipe(self.folder / "scores" / "all", self._config("test"), build, cells, rooms)

    def scores(self) -> pd.DataFrame:
        """The tidy table of every system, seed, test, language, query and measure."""
        return read_scores(self._scores.make().path / "scores.parquet")

    def tables(self) -> str:
        """All tables as Markdown."""
        return (self._scores.make().path / "recall.md").read_text(encoding="utf-8")

    def score(self, system: ImageSystem) -> pd.DataFrame:
        """A system's rows of the table, with those of its corrected forms."""
        from cslab.image_tables import both_ways
        from cslab.ranking.dual_encoder import embed_texts

        encoder, chosen, parts = self.model(system), self.settings, []
        ways = [None, *(chosen.corrections if system.condition.name in chosen.corrected else [])]
        english = [found[0] for found in self.training.texts[SOURCE].values()]
        bank = None
        if len(ways) > 1 and chosen.bank == "training":
            bank = embed_texts(encoder, english), self._bank_of_keys(encoder, english)
        for task in self.tasks:
            keys, held = self._keys(task, encoder)
            for code in task.languages:
                images, texts = task.captions.rows(code)
                if system.condition.test_text == "translated" and code in self.inverse:
                    texts = [translate(text, code, self.inverse) for text in texts]
                asked = embed_texts(encoder, texts, max_length=chosen.max_length)
                for way in ways:
                    name = system.name + (f" · {way.upper() if way == 'csls' else way}" if way else "")
                    parts += both_ways(task, code, images, asked, held, keys, name, system.seed, way, bank)
        return pd.concat(parts, ignore_index=True)

    def _keys(self, task: Task, encoder: "DualEncoder") -> tuple["Tensor", list[str]]:
        """What is searched in a task: vectors and the image of each."""
        from cslab.ranking.dual_encoder import embed_texts

        if task.pictures is None:
            images, texts = task.captions.rows(SOURCE)
            return embed_texts(encoder, texts, max_length=self.settings.max_length), images
        return self._image_vectors(encoder, list(task.pictures.values()), "test"), list(task.pictures)

    def _bank_of_keys(self, encoder: "DualEncoder", english: Sequence[str]) -> "Tensor":
        from cslab.ranking.dual_encoder import embed_texts

        if self.settings.source == "scenes":
            return self._image_vectors(encoder, self.training_scenes, "train")
        return embed_texts(encoder, english)

    def search(
        self, system: ImageSystem, task: Task, texts: Sequence[str], k: int = 8
    ) -> list[list[tuple[str, float]]]:
        """The k best images (or English captions' images) of each text, with cosines, best first."""
        from cslab.lexicon.search import nearest_rows
        from cslab.ranking.dual_encoder import embed_texts

        if system.slug not in self._open:
            encoder = self.model(system)
            self._open[system.slug] = encoder, *self._keys(task, encoder)
        encoder, keys, held = self._open[system.slug]
        found = nearest_rows(embed_texts(encoder, list(texts), max_length=self.settings.max_length), keys, k)
        rows = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
        return [[(held[row], score) for row, score in zip(*pair, strict=True)] for pair in rows]

    # --- what is there ---------------------------------------------------------------------------------------

    def recipes(self) -> list[Recipe]:
        """Every stage of the section, in order."""
        found = [self._base] if self.settings.source == "scenes" else []
        for cell in self._scores.inputs:
            found += [*cell.inputs, cell]
        return [*{recipe.path: recipe for recipe in found}.values(), self._scores]
