"""The real text that comes along: whole, licensed, small, apart from the test text, and equal to its sources."""

import re
import subprocess
import sys

import pytest

from cslab.collections.beir import read_beir
from cslab.collections.xquad import SHA256, read_paragraphs, xquad_r
from cslab.lexicon.dictionaries import read_dictionary
from cslab.resources import real_text
from cslab.sources.places import locate
from cslab.store import sha256_file
from tests.real import ROOT, SHARED, needs_shared

WIKI = real_text()
LANGUAGES = ("en", "de", "ru", "ar", "zh")


def test_it_is_small_and_every_file_has_its_source_licence_and_checksum():
    readme = (WIKI / "README.md").read_text(encoding="utf-8")
    files = [path for path in WIKI.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    listed = dict(re.findall(r"^\| (\S+\.gz) \|.*\| ([0-9a-f]{64}) \|$", readme, re.MULTILINE))
    packed = {path.relative_to(WIKI).as_posix(): sha256_file(path) for path in files if path.suffix == ".gz"}
    assert listed == packed
    for folder in {name.split("/")[0] for name in packed}:
        part = readme.split(f"## `{folder}`")[1].split("## ")[0]
        assert re.search(r"Licence: CC", part), folder
        assert "Address: https://" in part, folder


def test_five_languages_are_read_without_the_network(monkeypatch):
    monkeypatch.setenv("CSLAB_OFFLINE", "1")
    monkeypatch.delenv("CSLAB_MIRROR", raising=False)
    found = xquad_r(LANGUAGES)
    assert {code: len(texts) for code, texts in found.queries.items()} == dict.fromkeys(LANGUAGES, 1190)
    assert set(found.alignment) == {"de", "ru", "ar", "zh"}
    assert len(xquad_r(["de"], unit="paragraph").documents["de"]) == 240


@needs_shared("mirror/raw.githubusercontent.com/google-research-datasets/lareqa")
@pytest.mark.parametrize("code", LANGUAGES)
def test_they_are_those_of_the_source(code):
    folder = SHARED / "mirror/raw.githubusercontent.com/google-research-datasets/lareqa/master/xquad-r"
    assert sha256_file(folder / f"{code}.json") == SHA256[code]
    assert read_paragraphs(folder / f"{code}.json") == read_paragraphs(WIKI / "xquad_r" / f"{code}.json.gz")


def test_the_training_text_holds_nothing_of_the_test_text():
    training, test = read_beir(locate("wiki/squad", "training.folders"), "en"), xquad_r(["en"])
    assert (len(training.queries["en"]), len(training.documents["en"])) == (11_804, 6_640)

    def grams(texts) -> set[tuple[str, ...]]:
        words = [re.findall(r"\w+", text.lower()) for text in texts]
        return {tuple(row[i : i + 8]) for row in words for i in range(len(row) - 7)}

    tested, trained = ([*one.queries["en"].values(), *one.documents["en"].values()] for one in (test, training))
    assert not grams(tested) & grams(trained)


@pytest.mark.parametrize("code", ["de", "ru", "ar"])
def test_dictionaries_and_titles_know_the_language(code):
    words = read_dictionary(locate("wiki/wiktionary", "lexicon.folder") / f"en-{code}.tsv.gz", "en", code)
    assert len(words) > 8_000
    texts = [translation.text for word in words.entries for translation in words[word]]
    assert not [text for text in texts if re.search(r"[+…()]|\.\.", text) or len(text.split()) > 3]
    assert code == "de" or not [text for text in texts if re.search("[A-Za-z]", text)]
    assert {"de": "Haus", "ru": "дом", "ar": "بيت"}[code] in [t.text for t in words["house"]]


@needs_shared("mirror", "data/train_en/squad_sent", "data/dict/wiktionary", "data/wikititles")
def test_the_script_makes_the_same_bytes_again(tmp_path):
    data = SHARED / "data"
    command = [
        sys.executable,
        "tools/make_wiki.py",
        "--out",
        str(tmp_path),
        "--squad",
        str(data / "train_en/squad_sent"),
    ]
    command += ["--wiktionary", str(data / "dict/wiktionary"), "--titles", str(data / "wikititles/titles.core.tsv.gz")]
    environment = {"CSLAB_MIRROR": str(SHARED / "mirror"), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    made = {path.relative_to(tmp_path): sha256_file(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {path.relative_to(WIKI): sha256_file(path) for path in WIKI.rglob("*") if path.is_file()}
