"""Images and their captions in many languages, from the sources' own files.

Reads MSCOCO and Flickr30K in Karpathy's split, Multi30K (translations, or five descriptions of each image), XTD10,
XM3600, xFlickr&CO and WIT as IGLUE tests them; each from its address (cache, mirror, offline mode) or a local file.
Images stay where they are: the record holds file names or addresses, `images.py` reads them. Writes nothing but the
cache. Captions are for research under the licences of their sources, see each reader.

    captions = multi30k("test_2016_flickr", ["en", "de"])
    captions.texts["de"]["1007129816.jpg"]          # ("Ein Mann mit einem orangefarbenen Hut, …",)
"""

import contextlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from cslab.collections.caption_sums import SUMS
from cslab.collections.download import fetch
from cslab.store import CslabError, nearest, read_json, read_jsonl, read_lines, read_tsv

GITHUB = "https://raw.githubusercontent.com/"
MULTI30K = GITHUB + "multi30k/dataset/master/data/"
XTD10 = GITHUB + "adobe-research/Cross-lingual-Test-Dataset-XTD10/main/"
IGLUE = GITHUB + "e-bug/iglue/main/datasets/"
KARPATHY = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
XM3600 = "https://google.github.io/crossmodal-3600/web-data/captions.zip"
COCO_IMAGES = "http://images.cocodataset.org/"

# Language → file; German, French and Japanese are older translations that the set took over.
XTD10_FILES = {
    code: f"XTD10/test_1kcaptions_{code}.txt" for code in ("en", "it", "ru", "zh", "es", "ko", "pl", "tr")
} | {"de": "MIC/test_1kcaptions_de.txt", "fr": "MIC/test_1kcaptions_fr.txt", "ja": "STAIR/test_1kcaptions_jp.txt"}
MULTI30K_SPLITS = {
    1: ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr"),
    2: ("train", "val", "test_2016"),
}
XFLICKRCO = ("de", "en", "es", "id", "ja", "ru", "tr", "zh")
WIT = ("ar", "bg", "da", "el", "en", "et", "id", "ja", "ko", "tr", "vi")


@dataclass(frozen=True)
class Captions:
    """Captions by language and image.

    Attributes:
        name: what tables and folders call it.
        texts: language → image id → its captions; an id means one image in every language.
        files: image id → file name (`images.py` finds it by its last part) or address.
    """

    name: str
    texts: Mapping[str, Mapping[str, tuple[str, ...]]]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have captions, in the order asked for."""
        return tuple(self.texts)

    def common(self, languages: Sequence[str] | None = None) -> list[str]:
        """Images that have captions in all of some languages (default: all), in the order of the first."""
        codes = list(languages or self.languages)
        return [image for image in self.texts[codes[0]] if all(image in self.texts[code] for code in codes)]

    def images(self) -> list[str]:
        """Images that have captions in any language, those of the first language first."""
        return list(dict.fromkeys(image for held in self.texts.values() for image in held))

    def rows(self, language: str, images: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
        """(image of each caption, captions) of a language, image by image."""
        held = self.texts[language]
        pairs = [(image, text) for image in (images if images is not None else held) for text in held[image]]
        return [image for image, _ in pairs], [text for _, text in pairs]

    def subset(self, images: Sequence[str]) -> "Captions":
        """Keeps the given images, in their order, where a language has them."""
        texts = {code: {i: held[i] for i in images if i in held} for code, held in self.texts.items()}
        return replace(self, texts=texts, files={i: self.files[i] for i in images if i in self.files})


def _made(name: str, texts: Mapping[str, Mapping[str, tuple[str, ...]]], files: Mapping[str, str]) -> Captions:
    """Refuses captions that are empty, and a language without any."""
    for code, held in texts.items():
        if not held:
            raise CslabError(f"{name}: no caption in '{code}'; check the file, or leave the language out")
        if bad := next((i for i, found in held.items() if not found or not all(t.strip() for t in found)), None):
            raise CslabError(f"{name}: image '{bad}' has an empty caption in '{code}'; repair or remove it")
    return Captions(name, texts, files)


def _known(name: str, given: Sequence[str], known: Sequence[str]) -> None:
    if lost := next((item for item in given if item not in known), None):
        raise CslabError(f"{name} has no '{lost}'; {nearest(lost, list(known))}")


# --- parallel lines ------------------------------------------------------------------------------------------


def multi30k(
    split: str, languages: Sequence[str], task: int = 1, path: str | Path | None = None, cache: str | Path | None = None
) -> Captions:
    """Multi30K (Flickr30K's terms: research and education, not commercial).

    Args:
        split: `train`, `val`, `test_2016_flickr`, … of task 1; `train`, `val`, `test_2016` of task 2.
        languages: en, de, fr, cs of task 1, translations of one English caption; en and de of task 2, five
            descriptions in each, written without sight of the other language.
        task: 1 or 2.
        path: a table instead, with the columns `image` and one per language.
        cache: as in `download.fetch`.

    Raises:
        CslabError: for a name that is not there, or files of different length.
    """
    if path is not None:
        return read_caption_table(path, languages, f"multi30k-{split}")
    _known("Multi30K", [task], list(MULTI30K_SPLITS))
    _known(f"Multi30K's task {task}", [split], MULTI30K_SPLITS[task])
    _known(f"Multi30K's task {task}", languages, ("en", "de", "fr", "cs") if task == 1 else ("en", "de"))
    root = f"{MULTI30K}task{task}/"
    names = _lines(_fetch(root + f"image_splits/{split}{'' if task == 1 else '_images'}.txt", cache))
    # Some lists write `name#0`, the number of the caption.
    names = [name.partition("#")[0] for name in names]
    parts = [""] if task == 1 else [f".{number}" for number in range(1, 6)]
    texts = {}
    for code in languages:
        files = [_fetch(root + f"raw/{split}{part}.{code}.gz", cache) for part in parts]
        texts[code] = dict(zip(names, zip(*(_as_many(file, names) for file in files), strict=True), strict=True))
    return _made(f"multi30k-{split}" + ("" if task == 1 else "-task2"), texts, {name: name for name in names})


def xtd10(languages: Sequence[str], path: str | Path | None = None, cache: str | Path | None = None) -> Captions:
    """XTD10: 1,000 images of MSCOCO in eleven languages (Adobe Research License: research, not commercial).

    Args:
        languages: of `XTD10_FILES`.
        path: a table instead, as for `multi30k`.
        cache: as in `download.fetch`.

    Raises:
        CslabError: for another language, or a file that cannot be had or has another number of lines.
    """
    if path is not None:
        return read_caption_table(path, languages, "xtd10")
    _known("XTD10", languages, list(XTD10_FILES))
    names = _lines(_fetch(XTD10 + "XTD10/test_image_names.txt", cache))
    texts = {}
    for code in languages:
        lines = _as_many(_fetch(XTD10 + XTD10_FILES[code], cache), names)
        texts[code] = {name: (line,) for name, line in zip(names, lines, strict=True)}
    return _made("xtd10", texts, {name: f"{COCO_IMAGES}{name.split('_')[1]}/{name}" for name in names})


def _fetch(address: str, cache: str | Path | None) -> Path:
    return fetch(address, sha256=SUMS.get(address.removeprefix(GITHUB)), cache=cache)


def _lines(path: Path) -> list[str]:
    return [" ".join(line.split()) for _, line in read_lines(path)]


def _as_many(path: Path, names: Sequence[str]) -> list[str]:
    lines = _lines(path)
    if len(lines) != len(names):
        raise CslabError(f"{path}: {len(lines)} captions for {len(names)} images; fetch the file again")
    return lines


def read_caption_table(path: str | Path, languages: Sequence[str], name: str) -> Captions:
    """Reads a table with the columns `image` and one per language, one caption of each image in each.

    Raises:
        CslabError: for a language that is no column, or an image that stands twice.
    """
    rows = read_tsv(path)
    _, columns = next(rows, (0, []))
    if columns[:1] != ["image"]:
        raise CslabError(f"{path}:1: the first column is not 'image'; put a header with image and languages first")
    _known(f"{path}:1: the table", languages, columns[1:])
    texts: dict[str, dict[str, tuple[str, ...]]] = {code: {} for code in languages}
    for number, cells in rows:
        if len(cells) != len(columns):
            raise CslabError(f"{path}:{number}: {len(cells)} tab-separated cells, expected {len(columns)}; repair it")
        if cells[0] in texts[languages[0]]:
            raise CslabError(f"{path}:{number}: image '{cells[0]}' stands twice; keep one of the lines")
        for code in languages:
            texts[code][cells[0]] = (cells[columns.index(code)],)
    return _made(name, texts, {image: image for image in texts[languages[0]]})


# --- JSON ----------------------------------------------------------------------------------------------------


def karpathy(
    dataset: str, split: str, path: str | Path | None = None, cache: str | Path | None = None, rest: bool = True
) -> Captions:
    """English captions of MSCOCO or Flickr30K in Karpathy's split (1412.2306): five (some six or seven) an image.

    Args:
        dataset: `coco` (CC BY 4.0) or `flickr30k`.
        split: train, val or test (5,000 images of MSCOCO, 1,000 of Flickr30K).
        path: `dataset_coco.json` or `dataset_flickr30k.json`, or the zip with both (default: fetched).
        cache: as in `download.fetch`.
        rest: MSCOCO's `restval` images belong to `train`, as is usual.

    Raises:
        CslabError: for another data set or split, or a file that cannot be had or is not in its layout.
    """
    _known("Karpathy's split", [dataset], ("coco", "flickr30k"))
    _known("Karpathy's split", [split], ("train", "val", "test"))
    held = _json_of(Path(path or fetch(KARPATHY, cache=cache)), f"dataset_{dataset}.json")
    if not isinstance(held, dict) or not isinstance(held.get("images"), list):
        raise CslabError(f"dataset_{dataset}.json: no list 'images' in it; fetch the file again")
    wanted = {split, "restval"} if split == "train" and rest else {split}
    texts, files = {}, {}
    for number, row in enumerate(held["images"]):
        try:
            if row["split"] not in wanted:
                continue
            name = row["filename"]
            texts[name] = tuple(" ".join(sentence["raw"].split()) for sentence in row["sentences"])
            files[name] = f"{COCO_IMAGES}{row['filepath']}/{name}" if dataset == "coco" else name
        except (KeyError, TypeError, AttributeError) as error:
            raise CslabError(f"dataset_{dataset}.json: image {number} lacks {error}; fetch the file again") from None
    # A few captions of MSCOCO are nothing but blanks.
    texts = {name: tuple(text for text in found if text) for name, found in texts.items()}
    return _made(f"{dataset}-{split}", {"en": texts}, files)


def xm3600(languages: Sequence[str], path: str | Path | None = None, cache: str | Path | None = None) -> Captions:
    """Crossmodal-3600 (CC BY 4.0): 3,600 images, two captions or so in each of 36 languages, written by speakers.

    Args:
        languages: e.g. en, de, ar, sw; the file's own codes.
        path: `captions.jsonl`, or the zip with it (default: fetched).
        cache: as in `download.fetch`.

    Raises:
        CslabError: for a file that cannot be had or is not in its layout, or a language without captions.
    """
    path = Path(path or fetch(XM3600, cache=cache))
    texts: dict[str, dict[str, tuple[str, ...]]] = {code: {} for code in languages}
    files = {}
    for number, row in _jsonl_of(path, "captions.jsonl"):
        try:
            key = str(row["image/key"])
            for code in languages:
                if row.get(code, {}).get("caption"):
                    texts[code][key] = _several(f"{path}:{number}", row[code]["caption"])
        except (KeyError, TypeError, AttributeError) as error:
            raise CslabError(f"{path}: line {number} lacks {error}; fetch the file again") from None
        files[key] = f"{key}.jpg"
    if not files:
        raise CslabError(f"{path}: holds no image; fetch the file again")
    return _made("xm3600", texts, files)


def xflickrco(
    languages: Sequence[str], paths: Mapping[str, str | Path] | None = None, cache: str | Path | None = None
) -> Captions:
    """xFlickr&CO of IGLUE (research): 1,000 images of Flickr30K and 1,000 of MSCOCO, described anew in each language.

    Args:
        languages: of `XFLICKRCO`.
        paths: language → file instead.
        cache: as in `download.fetch`.

    Raises:
        CslabError: for another language, or a file that cannot be had or is not in its layout.
    """
    _known("xFlickr&CO", languages, XFLICKRCO)
    texts: dict[str, dict[str, tuple[str, ...]]] = {}
    files: dict[str, str] = {}
    for code in languages:
        path = (paths or {}).get(code) or fetch(f"{IGLUE}xFlickrCO/annotations/{code}/test.jsonl", cache=cache)
        texts[code] = {}
        for number, row in read_jsonl(path):
            name = str(_either(path, row, "img_path", "image")).rpartition("/")[2]
            texts[code][name] = _several(f"{path}:{number}", _either(path, row, "sentences", "captions"))
            files[name] = name
        _some(path, texts[code])
    return _made("xflickrco", texts, files)


def wit(
    languages: Sequence[str], paths: Mapping[str, str | Path] | None = None, cache: str | Path | None = None
) -> Captions:
    """WIT's test sets of IGLUE (CC BY-SA 3.0): about 1,000 captions of Wikipedia a language, few images in common.

    Args:
        languages: of `WIT`.
        paths: language → file instead.
        cache: as in `download.fetch`.

    Raises:
        CslabError: for another language, or a file that cannot be had or is not in its layout.
    """
    _known("WIT", languages, WIT)
    texts: dict[str, dict[str, tuple[str, ...]]] = {}
    files: dict[str, str] = {}
    for code in languages:
        path = (paths or {}).get(code) or fetch(f"{IGLUE}wit/annotations/test_{code}.jsonl", cache=cache)
        texts[code] = {}
        for _, row in read_jsonl(path):
            address = str(_either(path, row, "image_url", "image"))
            caption = " ".join(str(_either(path, row, "caption_reference_description", "caption")).split())
            texts[code][address] = (*texts[code].get(address, ()), caption)
            files[address] = address
        _some(path, texts[code])
    return _made("wit", texts, files)


def _some(path: str | Path, held: Mapping[str, Any]) -> None:
    if not held:
        raise CslabError(f"{path}: holds no caption; fetch the file again")


def _several(where: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise CslabError(f"{where}: captions are {str(found)[:60]!r}, expected a list of texts; repair the line")
    return tuple(" ".join(text.split()) for text in found)


def _either(path: str | Path, row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first name that a row has."""
    for name in names:
        if name in row:
            return row[name]
    raise CslabError(f"{path}: a row has none of {', '.join(names)}; check which file this is")


def _json_of(path: Path, member: str) -> Any:
    if path.suffix != ".zip":
        return read_json(path)
    with _opened(path, member) as handle:
        return json.load(handle)


def _jsonl_of(path: Path, member: str) -> Iterator[tuple[int, Any]]:
    if path.suffix != ".zip":
        yield from read_jsonl(path)
        return
    with _opened(path, member) as handle:
        for number, line in enumerate(handle, start=1):
            yield number, json.loads(line)


@contextlib.contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """A JSON file in a zip file; whatever is wrong with either while it is read is told in one line."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.rpartition("/")[2] == member), None)
            if name is None:
                raise CslabError(f"{path}: holds no file '{member}'; fetch the file again")
            with archive.open(name) as handle:
                yield handle
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        raise CslabError(f"{path}: not a whole zip file with JSON in it ({error}); fetch it again") from None
