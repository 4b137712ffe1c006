"""What an image–text experiment reads: captions to train on, tests, and the images that are asked for.

From the section `image_text` of a profile to records: drawn scenes with captions in nine languages, or the real
captions of Multi30K and XTD10, from tables in a folder or from the sources' own files.

    training, tasks = read_training_captions(settings), read_tasks(settings)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cslab.collections.captions import XTD10_FILES, Captions, multi30k, xtd10
from cslab.collections.scenes import Scene, scene_captions, scenes
from cslab.config import ImageTextSettings
from cslab.sources.places import locate
from cslab.store import CslabError
from cslab.training.caption_conditions import SOURCE


@dataclass(frozen=True)
class Task:
    """A test: captions in some languages, and what they ask for.

    Attributes:
        name: what stands in the column `setting`.
        captions: by language and image.
        pictures: image → scene; None where English captions are searched.
    """

    name: str
    captions: Captions
    pictures: Mapping[str, Scene] | None = None

    @property
    def languages(self) -> list[str]:
        """Languages that ask."""
        return [code for code in self.captions.languages if self.pictures is not None or code != SOURCE]

    @property
    def target(self) -> str:
        """What they ask for, as tables call it: `image`, or the language of the captions that are searched."""
        return SOURCE if self.pictures is None else "image"


def read_training_captions(settings: ImageTextSettings) -> Captions:
    """Captions to train on: English, and the languages that have translations (which only fine-tuning reads)."""
    codes = [SOURCE, *(code for code in settings.languages if code != SOURCE)]
    if settings.source == "scenes":
        return scene_captions(scenes("train", settings.train), codes)
    codes = [code for code in codes if code in ("en", "de", "fr", "cs")]
    found = multi30k("train", codes, path=_table(settings, "multi30k.train.tsv.gz"))
    if settings.described:
        found = replace(found, texts={**found.texts, SOURCE: multi30k("train", [SOURCE], task=2).texts[SOURCE]})
    return found.subset(found.common()[: settings.train])


def read_tasks(settings: ImageTextSettings) -> list[Task]:
    """The tests: other scenes, or Multi30K's test of 2016 and XTD10, as far as the languages go.

    Raises:
        CslabError: if no test has one of the languages.
    """
    if settings.source == "scenes":
        made = scenes("test", settings.test)
        return [Task("scenes", scene_captions(made, settings.languages), {scene.id: scene for scene in made})]
    found = []
    for name, table, known in (
        ("Multi30K", "multi30k.test_2016_flickr.tsv.gz", ("de", "fr", "cs")),
        ("XTD10", "xtd10.tsv.gz", tuple(XTD10_FILES)),
    ):
        codes = [code for code in settings.languages if code in known and code != SOURCE]
        if not codes:
            continue
        asked, path = [SOURCE, *codes], _table(settings, table)
        captions = xtd10(asked, path) if name == "XTD10" else multi30k("test_2016_flickr", asked, path=path)
        found.append(Task(name, captions.subset(captions.common()[: settings.test])))
    if not found:
        languages = ", ".join(settings.languages)
        raise CslabError(f"image_text.languages: no test set has {languages}; name de, fr, it, …")
    return found


def _table(settings: ImageTextSettings, name: str) -> Path | None:
    return locate(f"{settings.folder}/{name}", "image_text.folder") if settings.folder else None
