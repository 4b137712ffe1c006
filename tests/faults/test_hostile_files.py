"""Every file format under every kind of damage: nothing changes, or one line says which file is wrong."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cslab.collections.beir import read_beir
from cslab.collections.captions import read_caption_table, xflickrco, xm3600
from cslab.collections.miracl import read_topics
from cslab.collections.mkqa import mkqa_queries
from cslab.collections.mmarco import own_run, top1000_run
from cslab.collections.mmarco_triples import read_triples
from cslab.collections.squad import squad_sentences
from cslab.collections.trec import read_qrels, read_run
from cslab.collections.xquad import read_paragraphs
from cslab.config import load_profile
from cslab.lexicon.dictionaries import read_dictionary, read_wiktionary, read_xling
from cslab.lexicon.lexicon import read_lexicon, read_muse
from cslab.lexicon.titles import read_titles_tsv
from cslab.lexicon.vectors import read_vectors
from cslab.lexicon.wikidumps import read_titles_sql, read_titles_xml
from cslab.store import CslabError, read_jsonl

WORDS = "fox\tFüchsin\nhen\tHenne\n"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<titles><translation id="1"><entry lang="en">Café</entry><entry lang="de">Kaffeehaus</entry></translation></titles>
"""
SQUAD = json.dumps(
    {"data": [{"title": "Farm", "paragraphs": [{
        "context": "A fox. A hén.", "sentences": ["A fox.", "A hén."], "sentence_breaks": [[0, 6], [7, 13]],
        "qas": [{"id": "q1", "question": "Who?", "answers": [{"answer_start": 9, "text": "hén"}]}],
    }]}]}, ensure_ascii=False,
)  # fmt: skip
PAGE = "INSERT INTO `page` VALUES (1,0,'Fuchs',0,0),(2,0,'Füchsin',0,0);\n"
LINKS = "INSERT INTO `langlinks` VALUES (1,'en','Fox'),(2,'en','Vixén');\n"
BEIR = {
    "corpus.jsonl": '{"_id": "d1", "title": "", "text": "The foxé."}\n',
    "queries.jsonl": '{"_id": "q1", "text": "Whoé?"}\n',
    "qrels.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
}


def beir(path: Path) -> Any:
    """Reads the file in a folder with whole ones."""
    for name, text in BEIR.items():
        if name not in path.name:
            path.with_name(name).write_text(text, encoding="utf-8")
    return read_beir(path.parent)


def sql(path: Path) -> Any:
    other, text = ("langlinks", LINKS) if "page" in path.name else ("page", PAGE)
    path.with_name(f"{other}.other.sql").write_text(text, encoding="utf-8")
    files = {other: path.with_name(f"{other}.other.sql"), path.name.split(".")[0]: path}
    return list(read_titles_sql(files["page"], files["langlinks"], "en"))


def vectors(path: Path) -> Any:
    found = read_vectors(path, "de")
    return found.words, found.matrix.tolist()


# File name → what stands in it, and how it is read.
FORMATS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "lexicon.tsv": (
        "source\ttarget\tscore\tmethod\nfox\tFüchsin\t1\tm\nhen\tHenne\t0.5\tm\n",
        lambda path: read_lexicon(path, "en", "de").entries,
    ),
    "dictionary.tsv": (WORDS, lambda path: read_dictionary(path, "en", "de").entries),
    "xling.tsv": (WORDS, lambda path: read_xling(path, "en", "de").entries),
    "muse.txt": (WORDS.replace("\t", " "), lambda path: read_muse(path, "en", "de").entries),
    "wiktionary.tsv": (
        "en\tde\tpos\nfox\tFüchsin\tn\nhen\tHenne\tn\n",
        lambda path: read_wiktionary(path, "en", "de").entries,
    ),
    "titles.tsv": ("en\tde\nFox\tFüchsin\nHen\tHenne\n", lambda path: list(read_titles_tsv(path, "en", "de"))),
    "titles.xml": (XML, lambda path: list(read_titles_xml(path, "en", "de"))),
    "page.sql": (PAGE, sql),
    "langlinks.sql": (LINKS, sql),
    "words.vec": ("3 2\nfox 1 2\nfür 2 3\nhen 1 1\n", vectors),
    **{name: (text.replace("d1", "dé") if "qrels" in name else text, beir) for name, text in BEIR.items()},
    "run.trec": ("q1 Q0 dé 1 2.5 s\nq1 Q0 d2 2 1.5 s\n", lambda path: read_run(path, "en", "de").scores),
    "qrels.trec": ("q1 0 dé 1\nq1 0 d2 1\n", read_qrels),
    "xquad.json": (SQUAD, read_paragraphs),
    "squad.json": (SQUAD, lambda path: squad_sentences(path).documents),
    "run.mmarco.tsv": ("q1\tdé\t1\nq1\td2\t2\n", lambda path: own_run("de", path=path).scores),
    "top1000.dev": ("q1\td1\twho?\té\n", lambda path: top1000_run(path=path).scores),
    "triples.tsv": ("1\t2\t3\n4\t5\t6\n", lambda path: [*read_triples(path)] or none(path)),
    "topics.tsv": ("q1\tWhoé?\n", lambda path: read_topics(path) or none(path)),
    "docs.jsonl": (
        '{"docid": "1#0", "text": "é"}\n',
        lambda path: [*read_jsonl(path, ("docid", "text"))] or none(path),
    ),
    "captions.tsv": (
        "image\ten\tde\na.jpg\tcafé\tCafé\n",
        lambda path: read_caption_table(path, ["en", "de"], "captions").texts,
    ),
    "xflickrco.jsonl": (
        '{"img_path": "a.jpg", "sentences": ["café"]}\n',
        lambda path: xflickrco(["en"], {"en": path}).texts,
    ),
    "xm3600.jsonl": (
        '{"image/key": "a", "en": {"caption": ["café"]}}\n',
        lambda path: xm3600(["en"], path).texts,
    ),
    "mkqa.tsv": ("id\ten\tde\n1\tcafé\tCafé\n", lambda path: mkqa_queries(["en", "de"], path)),
    "mkqa.jsonl": ('{"example_id": 1, "queries": {"en": "é"}}\n', lambda path: mkqa_queries(["en"], path)),
    "profile.yaml": ("about: é\ntraining: {steps: 5}\n", lambda path: load_profile(str(path)).model_dump()),
}
HTML = b"<!DOCTYPE html>\n<html>\n<body>Not Found</body>\n</html>\n"
# What a program or a transfer does to a file, and what must not matter.
HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "a byte order mark": lambda good: b"\xef\xbb\xbf" + good,
    "line ends of Windows": lambda good: good.replace(b"\n", b"\r\n"),
}
FATAL: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda good: good.decode().replace("é", "e").replace("ü", "u").encode("utf-16-le"),
    "a page of a server": lambda good: HTML,
}
OTHER: dict[str, Callable[[bytes], bytes]] = {
    "Latin-1": lambda good: good.decode().encode("latin-1"),
    "line ends of old": lambda good: good.replace(b"\n", b"\r"),
    "blank lines": lambda good: b"\n \n" + good + b"\n \n",
    "a wide line": lambda good: good + b"a\tb\tc\td\te\tf\tg\th\n",
    "a narrow line": lambda good: good + b"x\n",
    "twice": lambda good: good + good,
    "cut": lambda good: good[: len(good) * 2 // 3],
    "zeros": lambda good: good + b"\0" * 512,
    "a huge line": lambda good: b"x" * 300_000 + b"\n" + good,
    "a list": lambda good: b"[1, 2]\n",
    "a number": lambda good: b"17\n",
    "objects": lambda good: b'{"data": 1, "images": 2, "_id": 3, "docid": {}, "text": [], "queries": []}\n',
    "no finite number": lambda good: good.replace(b"1", b"nan").replace(b"2", b"inf"),
    "half a pair": lambda good: good.replace(b"Who", b"\\ud83d"),
    "too many digits": lambda good: good.replace(b"1", b"1" * 5000),
    "deep": lambda good: b"[" * 100_000,
}
LENIENT = {("profile.yaml", "empty")}  # a profile of defaults


def none(path: Path) -> None:
    """What asks for the rows of these files refuses to get none."""
    raise CslabError(f"{path}: nothing in it; fetch it again")


def outcome(read: Callable[[Path], Any], path: Path) -> tuple[str, Any]:
    """What reading gave: ("read", it) or ("refused", the line)."""
    try:
        return "read", read(path)
    except CslabError as error:
        line = str(error)
        assert "\n" not in line, line
        assert len(line) < 2500, line[:300]
        assert str(path.parent) in line, line
        return "refused", line


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_told_in_one_line_or_does_not_matter(name, tmp_path):
    text, read = FORMATS[name]
    good = text.replace("dé", "d1").encode() if name in BEIR else text.encode()
    path = tmp_path / name
    path.write_bytes(good)
    said, expected = outcome(read, path)
    assert said == "read", expected
    for damage, spoil in (HARMLESS | FATAL | OTHER).items():
        path.write_bytes(spoil(good))
        said, found = outcome(read, path)
        if damage in HARMLESS:
            assert (said, found) == ("read", expected), (damage, found)
        if damage in FATAL and (name, damage) not in LENIENT:
            assert said == "refused", (damage, found)
    path.unlink()
    assert outcome(read, path)[0] == "refused", "a missing file"
    path.mkdir()
    assert outcome(read, path)[0] == "refused", "a folder"
    path.rmdir()
    if name != "profile.yaml":
        packed = tmp_path / f"{name}.gz"
        packed.write_bytes(gzip.compress(good))
        assert outcome(read, packed) == ("read", expected), "packed"
        packed.write_bytes(gzip.compress(good)[:-10])
        assert outcome(read, packed)[0] == "refused", "cut off"
        packed.write_bytes(good)
        assert outcome(read, packed)[0] == "refused", "named .gz, not packed"


def test_scores_of_a_lexicon_are_finite_numbers(tmp_path):
    path = tmp_path / "lexicon.tsv"
    for score in ("nan", "-inf", "high", "1e999"):
        path.write_text(f"source\ttarget\tscore\tmethod\nfox\tFuchs\t{score}\tm\n")
        said, line = outcome(lambda path: read_lexicon(path, "en", "de"), path)
        assert (said, f"lexicon.tsv:2: score '{score}' is not a finite number" in line) == ("refused", True)


def test_vectors_that_end_early_are_refused_unless_no_more_were_asked_for(tmp_path):
    path = tmp_path / "words.vec"
    path.write_text("5 2\na 1 2\nb 1 2\n")
    assert "its header announces 5 words, it ends after 2" in outcome(vectors, path)[1]
    assert len(read_vectors(path, "de", limit=2)) == 2


def test_a_key_of_a_profile_stands_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training:\n  steps: 5\n  steps: 6\n")
    assert outcome(lambda path: load_profile(str(path)), path)[1].endswith(
        "mine.yaml:3: not YAML (key 'steps' stands twice); repair the line"
    )
    path.write_text("name: ..\n")
    assert "name = '..'" in outcome(lambda path: load_profile(str(path)), path)[1]
