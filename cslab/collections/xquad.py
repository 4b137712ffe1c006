"""XQuAD-R: 1,190 questions on 240 paragraphs in eleven parallel languages, from LAReQA's own files (2004.05484).

A question's relevant sentence is the one that holds the start of its answer. Languages differ in how a paragraph is
cut into sentences, so English sentences are aligned to the others by length (`gale_church`), never by way of the
judgements. The measured share of questions whose relevant sentence is among the counterparts of the English one:
de 0.993, ru 0.997, ar 0.992, zh 0.990, el es hi vi above 0.994, tr 0.987, but th 0.79, whose breaks are coarse.

The files are the evaluation data of a benchmark (CC BY-SA 4.0): read them for tests, never for training. Titles exist
in English alone and are left out, so that no language is favoured. English, German, Russian, Arabic and Chinese come
along (`data/wiki/xquad_r`); other languages are fetched into the cache. Writes nothing else.

    xquad_r(["en", "de"], unit="sentence")    # documents x00p0s00, x00p0s01, …; queries 56beb4343aeaaa14008c925b, …
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cslab.collections.collection import Collection, check
from cslab.collections.download import fetch
from cslab.collections.gale_church import align
from cslab.resources import real_text
from cslab.store import CslabError, nearest, read_json

URL = "https://raw.githubusercontent.com/google-research-datasets/lareqa/master/xquad-r/{lang}.json"
SHA256 = {
    "ar": "c52922d3b8ac1ae03ed5ac38647ad59870dca3dda2beefe18ecdc30729acb69d",
    "de": "16fb0f4bf4916154b585a20c24c66074591c9718a1affe764ff4697572328949",
    "el": "163fd43ee785a30eb534ae2061e9eaa766a7ee4e8ffce5e4b422480c150f64b6",
    "en": "7b0954f39297c27a31fef610f0883337dd2907fa8699151dc922afdd0fa12ffe",
    "es": "f8e836b2d91009c4363e04315f7ede363eedbbb49c67dda60de6c4aa782f58de",
    "hi": "ea45ba8ae4513d1533b222bebdc02a90bc319c055d3aeea68584a053d2e92872",
    "ru": "7f4dff853538b9a5fcc28c070b8bb983a5c5d190ac747b8e005a1ada9cab18f1",
    "th": "c3a041864c3a9fb0b4dd91cfdf99cf36b411b3e704c58a303c97bc6dc786cfe4",
    "tr": "f3e8c13002bbce154a4578f535f7533cb70f3da08840e6b62735935baec7bd94",
    "vi": "e35926bf5cc6fc6ecbdfca49467aabeb454f08d152d7818143a906bd31dde995",
    "zh": "80c2cde7b9c2fb134c303cbb52f2ba396ead9eb0014aec43993543d2ba9e93ed",
}
UNITS = ("sentence", "paragraph")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of one language: its id, text and sentences, and (query id, question, position of the sentence)."""

    pid: str
    text: str
    sentences: tuple[str, ...]
    questions: tuple[tuple[str, str, int], ...]

    def sentence_id(self, position: int) -> str:
        """Id of the sentence at a position, e.g. `x00p0s03`."""
        return f"{self.pid}s{position:02d}"


def xquad_r(languages: Sequence[str], unit: str = "sentence", cache: str | Path | None = None) -> Collection:
    """Reads XQuAD-R in some of its languages, fetching those that do not come along.

    Args:
        languages: codes, each for questions and documents both.
        unit: what is retrieved, `sentence` or `paragraph`.
        cache: as in `download.fetch`.

    Returns:
        The collection; with sentences it holds their alignment from English, which needs the English file in any case.

    Raises:
        CslabError: for another unit or language, or a file that cannot be had or read.
    """
    if unit not in UNITS:
        raise CslabError(f"XQuAD-R: unit '{unit}' is not known; {nearest(unit, UNITS)}")
    if not languages:
        raise CslabError(f"XQuAD-R: no language given; take some of {', '.join(SHA256)}")
    for lang in languages:
        if lang not in SHA256:
            raise CslabError(f"XQuAD-R: language '{lang}' is not in it; {nearest(lang, list(SHA256))}")
    read = {lang: read_paragraphs(_file(lang, cache)) for lang in languages}
    alignment = {}
    if unit == "sentence" and set(languages) != {"en"}:
        english = read.get("en") or read_paragraphs(_file("en", cache))
        alignment = {lang: align_sentences(english, read[lang]) for lang in languages if lang != "en"}
    collection = Collection(
        f"xquad-r-{unit}",
        {lang: {qid: text for p in read[lang] for qid, text, _ in p.questions} for lang in languages},
        {lang: _documents(read[lang], unit) for lang in languages},
        {lang: _qrels(read[lang], unit) for lang in languages},
        alignment,
    )
    check(collection)
    return collection


def packaged_file(lang: str) -> Path | None:
    """The file of a language that comes along; None for others."""
    path = real_text() / "xquad_r" / f"{lang}.json.gz"
    return path if path.is_file() else None


def _file(lang: str, cache: str | Path | None) -> Path:
    return packaged_file(lang) or fetch(URL.format(lang=lang), SHA256[lang], cache)


def align_sentences(english: Sequence[Paragraph], other: Sequence[Paragraph]) -> dict[str, tuple[str, ...]]:
    """Maps each English sentence id to those of its counterparts, paragraph by paragraph, by length alone.

    The mean of the method is the ratio of the two whole texts.

    Raises:
        CslabError: if the two do not hold the same paragraphs.
    """
    if [p.pid for p in english] != [p.pid for p in other]:
        raise CslabError("XQuAD-R: two languages differ in their paragraphs; fetch both files again")
    ratio = sum(len(p.text) for p in other) / sum(len(p.text) for p in english)
    counterparts: dict[str, tuple[str, ...]] = {}
    for left, right in zip(english, other, strict=True):
        lengths = [[len(sentence) for sentence in side.sentences] for side in (left, right)]
        for sources, targets in align(*lengths, ratio):
            for source in sources:
                counterparts[left.sentence_id(source)] = tuple(map(right.sentence_id, targets))
    return counterparts


def _documents(paragraphs: Sequence[Paragraph], unit: str) -> dict[str, str]:
    if unit == "paragraph":
        return {p.pid: p.text for p in paragraphs}
    return {p.sentence_id(position): text for p in paragraphs for position, text in enumerate(p.sentences)}


def _qrels(paragraphs: Sequence[Paragraph], unit: str) -> dict[str, dict[str, int]]:
    if unit == "paragraph":
        return {qid: {p.pid: 1} for p in paragraphs for qid, _, _ in p.questions}
    return {qid: {p.sentence_id(position): 1} for p in paragraphs for qid, _, position in p.questions}


# --- the file ------------------------------------------------------------------------------------------------


def read_paragraphs(path: str | Path) -> list[Paragraph]:
    """Reads a file of LAReQA: SQuAD's JSON with `sentences` and `sentence_breaks` beside each paragraph's text.

    Raises:
        CslabError: where something is missing or out of place, with article and paragraph.
    """
    found = read_json(path)
    paragraphs: list[Paragraph] = []
    for article, number, raw in _raw_paragraphs(path, found):
        try:
            paragraphs.append(_paragraph(f"x{article:02d}p{number}", raw))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            where = f"article {article}, paragraph {number} (counted from 0)"
            raise CslabError(f"{path}: {where}: not as expected ({error!r}); fetch the file again") from None
    if not paragraphs:
        raise CslabError(f"{path}: holds no paragraph; fetch the file again")
    return paragraphs


def _raw_paragraphs(path: str | Path, found: Any) -> Iterator[tuple[int, int, Any]]:
    try:
        for article, entry in enumerate(found["data"]):
            for number, raw in enumerate(entry["paragraphs"]):
                yield article, number, raw
    except (KeyError, TypeError):
        raise CslabError(f"{path}: not a SQuAD file (no data, or no paragraphs in it); fetch it again") from None


def _paragraph(pid: str, raw: dict[str, Any]) -> Paragraph:
    questions = []
    for row in raw["qas"]:
        start = int(row["answers"][0]["answer_start"])
        position = next((i for i, (begin, end) in enumerate(raw["sentence_breaks"]) if begin <= start < end), None)
        if position is None:
            raise ValueError(f"the answer of {row['id']} starts in no sentence")
        questions.append((row["id"], _clean(row["question"]), position))
    if len(raw["sentences"]) != len(raw["sentence_breaks"]):
        raise ValueError("sentences and sentence_breaks differ in number")
    return Paragraph(pid, _clean(raw["context"]), tuple(map(_clean, raw["sentences"])), tuple(questions))


def _clean(text: str) -> str:
    # Some files carry byte order marks inside, and runs of blanks.
    return " ".join(text.replace("\ufeff", " ").split())
