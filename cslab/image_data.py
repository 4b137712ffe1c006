"""What an image–text experiment reads: captions to train on, tests, and the images that are asked for.

From the section `image_text` of a profile to records: drawn scenes with captions in nine languages, or real captions
with or without their images. Captions come from the sources' own files or from tables in a folder
(`multi30k.train.tsv.gz`, `multi30k.test_2016_flickr.tsv.gz`, `xtd10.tsv.gz`, `xm3600.jsonl.gz`, `wit.de.jsonl.gz`,
`xflickrco.de.jsonl.gz`, `caption_datasets.zip`); images from folders and shards, from the archives that a collection
publishes (`coco`, `xm3600`), or one by one from their addresses (`web`).

    training, tasks = read_training_captions(settings), read_tasks(settings)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cslab.collections.captions import (
    WIT,
    XFLICKRCO,
    XTD10_FILES,
    Captions,
    karpathy,
    multi30k,
    wit,
    xflickrco,
    xm3600,
    xtd10,
)  # fmt: skip
from cslab.collections.images import ARCHIVES, Images, image_archives, last_part
from cslab.collections.scene_pictures import draw
from cslab.collections.scenes import Scene, scene_captions, scenes
from cslab.config import ImageTextSettings
from cslab.sources.places import locate
from cslab.store import CslabError, fingerprint
from cslab.training.caption_conditions import SOURCE

WEB = "web"


@dataclass(frozen=True)
class Shown:
    """Images to look at: a stream of (id, picture), begun anew at each call, and what they depend on."""

    stream: Callable[[], Iterable[tuple[str, Any]]]
    key: object


@dataclass(frozen=True)
class Task:
    """A test: captions in some languages, and what they ask for.

    Attributes:
        name: what stands in the column `setting`.
        captions: by language and image.
        pictures: image → scene, for drawn ones.
        shown: the images; None where English captions are searched.
    """

    name: str
    captions: Captions
    pictures: Mapping[str, Scene] | None = None
    shown: Shown | None = None

    @property
    def languages(self) -> list[str]:
        """Languages that ask."""
        return [code for code in self.captions.languages if self.target == "image" or code != SOURCE]

    @property
    def target(self) -> str:
        """What they ask for, as tables call it: `image`, or the language of the captions that are searched."""
        return SOURCE if self.pictures is None and self.shown is None else "image"


# --- training ------------------------------------------------------------------------------------------------


def read_training_captions(settings: ImageTextSettings, tasks: Sequence[Task] = ()) -> Captions:
    """Captions to train on: English, and the languages that have translations (which only fine-tuning reads).

    Args:
        settings: which.
        tasks: whose images are left out: XTD10 and xFlickr&CO test on images that MSCOCO's split trains on.
    """
    codes = [SOURCE, *(code for code in settings.languages if code != SOURCE)]
    if settings.source == "scenes":
        return scene_captions(scenes("train", settings.train), codes)
    if settings.source == "multi30k":
        codes = [code for code in codes if code in MULTI30K]
        found = multi30k("train", codes, path=_table(settings, "multi30k.train.tsv.gz"))
        if settings.described:
            found = replace(found, texts={**found.texts, SOURCE: multi30k("train", [SOURCE], task=2).texts[SOURCE]})
    else:
        found = karpathy(settings.source, "train", _table(settings, KARPATHY))
    tested = {last_part(task.captions.files.get(image, image)) for task in tasks for image in task.captions.images()}
    kept = [image for image in found.common() if last_part(found.files.get(image, image)) not in tested]
    if not kept:
        raise CslabError(f"image_text.source: all images of '{settings.source}' are tested on; name other tests")
    return found.subset(kept[: settings.train])


def training_images(settings: ImageTextSettings, captions: Captions) -> Shown | None:
    """The images of the training captions; None where there are none."""
    if settings.source == "scenes":
        return _drawn(scenes("train", settings.train), "train")
    return _real(settings, captions)


# --- tests ---------------------------------------------------------------------------------------------------


MULTI30K = (SOURCE, "de", "fr", "cs")
KARPATHY = "caption_datasets.zip"


@dataclass(frozen=True)
class Test:
    """A test set: its name in tables, the languages it has (None: any), and how it is read."""

    name: str
    known: Sequence[str] | None
    read: Callable[[ImageTextSettings, list[str]], Captions]


def _by_language(settings: ImageTextSettings, codes: Sequence[str], name: str) -> dict[str, Path] | None:
    return {code: _table(settings, f"{name}.{code}.jsonl.gz") for code in codes} if settings.folder else None


TESTS: dict[str, Test] = {
    "multi30k": Test("Multi30K", MULTI30K, lambda s, codes: multi30k(
        "test_2016_flickr", codes, path=_table(s, "multi30k.test_2016_flickr.tsv.gz"))),
    "xtd10": Test("XTD10", tuple(XTD10_FILES), lambda s, codes: xtd10(codes, _table(s, "xtd10.tsv.gz"))),
    "xm3600": Test("XM3600", None, lambda s, codes: xm3600(codes, _table(s, "xm3600.jsonl.gz"))),
    "xflickrco": Test("xFlickr&CO", XFLICKRCO, lambda s, codes: xflickrco(codes, _by_language(s, codes, "xflickrco"))),
    "wit": Test("WIT", WIT, lambda s, codes: wit(codes, _by_language(s, codes, "wit"))),
    "coco": Test("MSCOCO", (SOURCE,), lambda s, codes: karpathy("coco", "test", _table(s, KARPATHY))),
    "flickr30k": Test("Flickr30K", (SOURCE,), lambda s, codes: karpathy("flickr30k", "test", _table(s, KARPATHY))),
}  # fmt: skip


def read_tasks(settings: ImageTextSettings) -> list[Task]:
    """The tests: other scenes, or the test sets that the settings name, as far as the languages go.

    Raises:
        CslabError: if no test has one of the languages, or has images in all of them.
    """
    if settings.source == "scenes":
        made = scenes("test", settings.test)
        captions, drawn = scene_captions(made, settings.languages), {scene.id: scene for scene in made}
        return [Task("scenes", captions, drawn, _drawn(made, "test"))]
    found = []
    for test in (TESTS[name] for name in settings.tests):
        known = settings.languages if test.known is None else test.known
        codes = [code for code in settings.languages if code in known and code != SOURCE]
        if not codes and not (settings.images and SOURCE in known):
            continue
        captions = test.read(settings, [SOURCE, *codes])
        # WIT has hardly any image in common to its languages: with images, each language asks for its own.
        images = captions.common() if test.name != "WIT" or not settings.images else captions.images()
        if not images:
            raise CslabError(f"{test.name}: no image has captions in all of {', '.join([SOURCE, *codes])}; name fewer")
        captions = captions.subset(images[: settings.test])
        found.append(Task(test.name, captions, shown=_real(settings, captions)))
    if not found:
        languages = ", ".join(settings.languages)
        raise CslabError(f"image_text.languages: no test set has {languages}; name de, fr, it, …")
    return found


# --- images --------------------------------------------------------------------------------------------------


def _drawn(made: Sequence[Scene], split: str) -> Shown:
    return Shown(lambda: ((scene.id, draw(scene)) for scene in made), [split, len(made)])


def _real(settings: ImageTextSettings, captions: Captions) -> Shown | None:
    """The images of real captions: what cannot be read is counted, said and left out."""
    if not settings.images:
        return None
    names = {last_part(file): image for image, file in captions.files.items()}
    if settings.images == [WEB]:
        images = Images.of(captions.files.values())
    else:
        places = [path for place in settings.images for path in _places(place)]
        images = Images.at(*places, wanted=names)

    def stream() -> Iterator[tuple[str, Any]]:
        for name, picture in images:
            yield names[name], picture
        if images.broken:
            print(f"  {captions.name}: {len(images.broken)} images left out, e.g. {images.broken[0]}", flush=True)

    return Shown(stream, fingerprint(images.key()))


def _places(place: str) -> list[Path]:
    return image_archives(place) if place in ARCHIVES else [locate(place, "image_text.images")]


def caption_key(captions: Captions) -> str:
    """What stages that read captions depend on: a hash of the captions themselves, wherever they were read from."""
    return fingerprint([captions.texts, captions.files])


def _table(settings: ImageTextSettings, name: str) -> Path | None:
    return locate(f"{settings.folder}/{name}", "image_text.folder") if settings.folder else None
