"""The stages of an image–text experiment, each made once: towers, models, scores.

An `ImageLab` is the section `image_text` of a profile and the folder `outputs/<profile>/image-text/`. With drawn
scenes, or real images, captions ask for images and images for captions; with real captions and no images, captions of
other languages ask for English ones. Baselines (translate-test, English-only, translations, hubness correction) stand
beside what is switched; conditions that are `reranked` are shown once more, their first images in the order of a
cross-attention head.

    lab = open_image_lab("demo")
    lab.scores()          # trains and scores whatever is not there yet
    recall_table(lab.scores())          # tables also lie in `scores/all/recall.md`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.collections.captions import Captions
from cslab.collections.scenes import scene_lexicon
from cslab.config import ImageTextSettings, Profile
from cslab.evaluation.measures import read_scores, write_scores
from cslab.image_data import (
    Shown,
    Task,
    caption_key,
    read_tasks,
    read_training_captions,
    training_images,
)
from cslab.image_rerank import reranked_cell
from cslab.image_scores import first_found, keys_of, score_system
from cslab.image_training import train_scene_towers, train_system
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.synonyms import synonyms
from cslab.recipe import Recipe
from cslab.stages import Lab, open_lab
from cslab.store import CslabError, Stage, atomic_open
from cslab.systems import INVERSE, TITLES
from cslab.training.caption_conditions import (
    CAPTION_CONDITIONS,
    SOURCE,
    SYNONYMS,
    TITLED,
    CaptionCondition,
    caption_condition,
    check_caption_conditions,
)

if TYPE_CHECKING:
    from torch import Tensor

    from cslab.ranking.dual_encoder import DualEncoder


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
        if self.condition.test_text == "as is":
            return self
        asked = replace(self.condition, name="", test_text="as is")
        return replace(self, condition=next(c for c in CAPTION_CONDITIONS.values() if replace(c, name="") == asked))

    @property
    def slug(self) -> str:
        """Name of its folders."""
        plain = self.name.lower().replace("(", "").replace(")", "")
        return f"{plain.replace(' + ', '-').replace(', ', '-').replace(' ', '-')}-s{self.seed}"


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
    named, where = [*chosen.conditions, *chosen.corrected, *chosen.plain], f"profile {lab.profile.name}"
    check_caption_conditions([*named, *chosen.reranked], where)
    if chosen.source != "scenes" and not chosen.images:
        moved = next((name for name in chosen.conditions if caption_condition(name).moved != "text"), None)
        if asking := moved or next(iter(chosen.reranked), None):
            raise CslabError(f"{where}: '{asking}' asks for images; name them in image_text.images, or leave it out")
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
    def tasks(self) -> list[Task]:
        """What the models are tested on."""
        return read_tasks(self.settings)

    @cached_property
    def training(self) -> Captions:
        """Captions trained on, in English and, for fine-tuning, in the languages that have translations."""
        return read_training_captions(self.settings, self.tasks)

    @cached_property
    def training_shown(self) -> Shown | None:
        """The images trained on; None where there are none."""
        return training_images(self.settings, self.training)

    def lexicons_of(self, condition: CaptionCondition) -> dict[str, Lexicon]:
        """What a condition's captions are switched with: titles or words, of the scenes their own in either case."""
        found = self.lexicons
        if condition.policy in TITLED and self.settings.source != "scenes":
            found = self.lab.lexicons(TITLES, self._switched)
        if condition.policy != SYNONYMS:
            return found
        if not (alike := synonyms(found)).entries:
            raise CslabError(
                f"condition '{condition.name}': the lexicons give no synonyms; name more languages to switch"
            )
        return found | {SOURCE: alike}

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
                    yield ImageSystem(caption_condition(name), extended, seed)

    @cached_property
    def _base(self) -> Recipe:
        """The scenes' own towers, trained on English captions: what a pretrained model is elsewhere."""

        def build(folder: Path) -> dict[str, Any]:
            return train_scene_towers(self, folder)

        names = ("train", "base_steps", "base_lr", "batch", "max_length", "precision")
        return Recipe(self.folder / "towers" / "base", self._config(*names), build)

    def start(self, extended: bool = False) -> "DualEncoder":
        """The model that every condition starts from."""
        from cslab.ranking.dual_encoder import load_dual_encoder, with_lexicons

        if self.settings.source == "scenes":
            return replace(load_dual_encoder(self._base.make().path / "model"), name="scenes")
        encoder = load_dual_encoder(self.settings.encoder)
        return with_lexicons(encoder, self.lexicons, self.settings.words) if extended else encoder

    @cached_property
    def _read(self) -> dict[str, Any]:
        """What the real data are: hashes of captions and images, and not the names of folders."""
        if self.settings.source == "scenes":
            return {}
        shown = self.training_shown
        return {
            "training": [caption_key(self.training), shown and shown.key],
            "tests": {task.name: [caption_key(task.captions), task.shown and task.shown.key] for task in self.tasks},
        }

    def _config(self, *names: str) -> dict[str, Any]:
        """Settings that a stage depends on, and what the data are."""
        held = self.settings.model_dump()
        return {name: held[name] for name in ("source", "described", "languages", *names)} | {"data": self._read}

    def _model(self, system: ImageSystem) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return train_system(self, system, folder)

        names = ("train", "encoder", "words", "switched", "steps", "batch", "chunk", "lr", "probability", "align")
        config = self._config(*names, "train_image", "epsilon", "max_length", "precision")
        config |= {"condition": system.condition, "extended": system.extended, "seed": system.seed}
        return Recipe(self.folder / "models" / system.slug, config, build, self._inputs(system))

    def _inputs(self, system: ImageSystem) -> tuple[Recipe, ...]:
        """What a model is trained from: the scenes' towers, or the lexicons."""
        if self.settings.source == "scenes":
            return (self._base,)
        titles = self.lab._lexicons(TITLES, self._switched) if system.condition.policy in TITLED else ()
        return (*self.lab._lexicons(codes=self._switched), *titles)

    def image_vectors(self, encoder: "DualEncoder", shown: Shown, states: bool = False) -> tuple[list[str], "Tensor"]:
        """Ids and vectors (or states) of images, kept for all models with this image tower."""
        from cslab.ranking.dual_encoder import stored_images

        kept = self.folder / "images"
        return stored_images(encoder, shown.stream(), kept, shown.key, self.settings.precision, states=states)

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
            return first_found(scores)

        corrected = chosen.corrections if system.condition.name in chosen.corrected else []
        config = self._config("train", "test", "bank", "encoder", "words", "switched", "max_length", "precision")
        config |= {"condition": system.condition, "extended": system.extended, "seed": system.seed}
        config |= {"corrections": corrected}
        inputs = () if system.condition.text == "none" else (self._model(system.trained_as),)
        if chosen.source == "scenes":
            inputs = inputs or (self._base,)
        else:
            inputs += self.lab._lexicons(codes=self._switched) if system.extended and not inputs else ()
            translated = system.condition.test_text == "translated"
            inputs += self.lab._lexicons(INVERSE, self._switched) if translated else ()
        return Recipe(self.folder / "scores" / system.slug, config, build, inputs)

    @cached_property
    def _scores(self) -> Recipe:
        cells: list[Recipe] = []
        for system in self.systems():
            cells.append(self._cell(system))
            if system.condition.name in self.settings.reranked:
                cells.append(reranked_cell(self, system))

        def build(folder: Path) -> dict[str, Any]:
            from cslab.image_tables import recall_markdown

            parts = [read_scores(cell.make().path / "scores.parquet") for cell in cells]
            scores = pd.concat(parts, ignore_index=True)
            write_scores(scores, folder / "scores.parquet")
            with atomic_open(folder / "recall.md") as handle:
                handle.write(recall_markdown(scores, self.tasks) + "\n")
            return {"systems": list(dict.fromkeys(scores["system"])), "rows": len(scores)}

        return Recipe(self.folder / "scores" / "all", self._config("test"), build, tuple(cells))

    def scores(self) -> pd.DataFrame:
        """The tidy table of every system, seed, test, language, query and measure."""
        return read_scores(self._scores.make().path / "scores.parquet")

    def tables(self) -> str:
        """All tables as Markdown."""
        return (self._scores.make().path / "recall.md").read_text(encoding="utf-8")

    def score(self, system: ImageSystem) -> pd.DataFrame:
        """A system's rows of the table, with those of its corrected forms."""
        return score_system(self, system)

    def search(
        self, system: ImageSystem, task: Task, texts: Sequence[str], k: int = 8
    ) -> list[list[tuple[str, float]]]:
        """The k best images (or English captions' images) of each text, with cosines, best first."""
        from cslab.lexicon.search import nearest_rows
        from cslab.ranking.dual_encoder import embed_texts

        place = f"{system.slug} {task.name}"
        if place not in self._open:
            encoder = self.model(system)
            self._open[place] = encoder, *keys_of(self, task, encoder)
        encoder, keys, held = self._open[place]
        chosen = self.settings
        asked = embed_texts(encoder, list(texts), max_length=chosen.max_length, precision=chosen.precision)
        found = nearest_rows(asked, keys, k)
        rows = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
        return [[(held[row], score) for row, score in zip(*pair, strict=True)] for pair in rows]

    # --- what is there ---------------------------------------------------------------------------------------

    def recipes(self) -> list[Recipe]:
        """Every stage of the section, in order."""
        found = [self._base] if self.settings.source == "scenes" else []
        for cell in self._scores.inputs:
            found += [*cell.inputs, cell]
        return [*{recipe.path: recipe for recipe in found}.values(), self._scores]
