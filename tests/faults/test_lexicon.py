"""Bad dictionaries, titles, dumps, vectors and settings: refused in one line, or left out line by line and counted."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cslab.lexicon.align import Aligning, align
from cslab.lexicon.dictionaries import read_dictionary, read_wiktionary, read_xling
from cslab.lexicon.induce import Retrieval, induce, neighbours
from cslab.lexicon.lexicon import Lexicon, read_lexicon, read_muse, write_muse
from cslab.lexicon.quality import evaluate
from cslab.lexicon.titles import read_titles_tsv, titles_lexicon
from cslab.lexicon.train import Training, train_vectors
from cslab.lexicon.vectors import Vectors, known_address, load_vectors, read_vectors, save_vectors
from cslab.lexicon.wikidumps import Report, read_titles, read_titles_sql, read_titles_xml
from cslab.store import CslabError


def refused(call, *parts: str) -> None:
    """The call raises a `CslabError` of one line that holds all the parts."""
    with pytest.raises(CslabError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


# --- dictionaries --------------------------------------------------------------------------------------------


def test_dictionaries_name_file_and_line(tmp_path):
    refused(lambda: read_muse(put(tmp_path, "a.txt", "fox Fuchs\nhen\n"), "en", "de"), "a.txt:2", "'hen'")
    refused(lambda: read_xling(put(tmp_path, "b.tsv", "fox\tFuchs\nhen\n"), "en", "de"), "b.tsv:2", "expected 2")
    refused(lambda: read_wiktionary(put(tmp_path, "c.tsv", "de\ttgt\tpos\n"), "en", "de"), "c.tsv:1", "'en'")
    refused(lambda: read_dictionary(put(tmp_path, "d.txt", ""), "en", "de"), "d.txt", "holds no entry")
    refused(lambda: read_dictionary(tmp_path / "none.txt", "en", "de"), "no such file")
    refused(lambda: read_muse(put(tmp_path, "e.txt", b"fox F\xfcchse\n"), "en", "de"), "e.txt:1", "UTF-8")
    refused(lambda: read_muse(put(tmp_path, "f.txt", "fox Fuchs\n"), "en", "xq"), "language 'xq'")
    refused(
        lambda: read_lexicon(put(tmp_path, "g.tsv", "source\ttarget\tscore\tmethod\na\tb\tx\tm\n"), "en", "de"),
        "g.tsv:2",
    )
    refused(lambda: read_lexicon(put(tmp_path, "h.tsv", "source\ttarget\tscore\tmethod\n")), "languages are not known")


def test_muse_text_cannot_hold_ngrams_and_leaves_nothing_behind(tmp_path):
    lexicon = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("new york", "New York")])
    refused(lambda: write_muse(lexicon, tmp_path / "x.txt"), "'new york'")
    assert list(tmp_path.iterdir()) == []


# --- titles --------------------------------------------------------------------------------------------------


def test_titles_tsv(tmp_path):
    path = put(tmp_path, "t.tsv", "en\tde\nFox\tFuchs\nHen\n")
    refused(lambda: list(read_titles_tsv(path, "en", "ru")), "t.tsv:1", "no column 'ru'")
    refused(lambda: list(read_titles_tsv(path, "en", "de")), "t.tsv:3", "expected 2")
    refused(lambda: list(read_titles_tsv(put(tmp_path, "u.tsv", ""), "en", "de")), "empty")
    refused(lambda: read_titles(tmp_path / "dump.sql.gz", "en", "de"), "page and langlinks")


XML = """<?xml version="1.0" encoding="UTF-8"?>
<wikipediaparalleltitles>
<translation id="1"><entry lang="en">Fox &amp; Hound</entry><redirects lang="en"><redirect>Fox</redirect></redirects>
<entry lang="de">Cap und Capper</entry></translation>
<translation id="2"><entry lang="en">Hen</entry></translation>
<translation id="3"><entry lang="en">Cow</entry><entry lang="de">Kuh</entry></translation>
</wikipediaparalleltitles>
"""


def test_linguatools_xml(tmp_path):
    path = put(tmp_path, "wikititles-2014_ende.xml.gz", XML)
    report = Report()
    assert list(read_titles(path, "en", "de", report)) == [("Fox & Hound", "Cap und Capper"), ("Cow", "Kuh")]
    assert report.rows == 3
    assert report.left_out == {"no entry of 'de'": 1}
    assert ("Fox", "Cap und Capper") in list(read_titles_xml(path, "en", "de", redirects=True))
    assert list(read_titles_xml(path, "de", "en"))[1] == ("Kuh", "Cow")


def test_broken_xml_is_refused_with_its_line(tmp_path):
    refused(lambda: list(read_titles_xml(put(tmp_path, "cut.xml", XML[:-60]), "en", "de")), "cut.xml:", "not whole XML")
    refused(lambda: list(read_titles_xml(put(tmp_path, "other.xml", "<a><b/></a>"), "en", "de")), "no <translation>")
    packed = gzip.compress(XML.encode() * 1)[:-20]
    (tmp_path / "cut.xml.gz").write_bytes(packed)
    refused(lambda: list(read_titles_xml(tmp_path / "cut.xml.gz", "en", "de")), "cut.xml.gz", "fetch the file again")


HEAD = b"-- dump\nCREATE TABLE `%s` (\n  `a` int, KEY (`a`)\n);\nINSERT INTO `%s` VALUES "


def dump(folder: Path, table: str, rows: list[bytes], end: bytes = b";\n", split: int = 0) -> Path:
    name = table.encode()
    head = HEAD.replace(b"%s", name)
    if split:
        chunks = [b",".join(rows[i : i + split]) for i in range(0, len(rows), split)]
        body = (b";\nINSERT INTO `" + name + b"` VALUES ").join(chunks)
    else:
        body = b",".join(rows)
    return put(folder, f"{table}.sql.gz", head + body + end)


def test_sql_dumps_with_escapes_namespaces_and_redirects(tmp_path):
    page = dump(
        tmp_path,
        "page",
        [
            rb"(1,0,'L\'Aquila',0,0,0.5,'2014','x',NULL)",
            rb"(2,0,'AC\\DC_(Band),_\"live\"',0,0,0.5)",
            rb"(3,14,'Kategorie',0,0,0.5)",
            rb"(4,0,'Umleitung',1,0,0.5)",
            rb"(5,0,'It''s_(a);_trap',0,0,0.1)",
        ],
    )
    links = [
        rb"(1,'en','L\'Aquila')",
        rb"(1,'fr','L\'Aquila fr')",
        rb"(2,'en','AC\\DC')",
        rb"(3,'en','C')",
        rb"(4,'en','R')",
    ]
    langlinks = dump(tmp_path, "langlinks", [*links, rb"(5,'en','It''s a trap')", rb"(9,'en','Nobody')"], split=2)
    report = Report()
    assert list(read_titles_sql(page, langlinks, "en", report)) == [
        ("L'Aquila", "L'Aquila"),
        ('AC\\DC (Band), "live"', "AC\\DC"),
        ("It's (a); trap", "It's a trap"),
    ]
    assert (report.rows, report.left_out) == (12, {})


def test_sql_insert_lines_of_megabytes_are_streamed(tmp_path):
    count = 120_000
    page = dump(
        tmp_path, "page", [b"(%d,0,'Titel_%d',0,0,0.5,'20140101000000','20140101',1,2)" % (i, i) for i in range(count)]
    )
    langlinks = dump(tmp_path, "langlinks", [b"(%d,'en','Title %d')" % (i, i) for i in range(count)])
    assert len(gzip.decompress(page.read_bytes())) > 5 << 20
    pairs = list(read_titles_sql(page, langlinks, "en"))
    assert len(pairs) == count
    assert pairs[77_777] == ("Titel 77777", "Title 77777")


def test_sql_bad_rows_are_left_out_and_counted(tmp_path):
    page = dump(tmp_path, "page", [b"(%d,0,'P%d',0,0)" % (i, i) for i in range(6)])
    langlinks = dump(
        tmp_path,
        "langlinks",
        [b"(0,'en','Zero')", b"(1,'en')", b"(x,'en','Two')", b"(3,'en','F\xfcnf')", b"(4,'en','Four')"],
        end=b",(5,'en','cut of",
    )
    report = Report()
    assert list(read_titles_sql(page, langlinks, "en", report)) == [("P0", "Zero"), ("P4", "Four")]
    assert report.left_out == {
        "langlinks: 2 cells": 1,
        "id is no number": 1,
        "not UTF-8": 1,
        "langlinks: last row is cut": 1,
    }
    assert len(report.examples) == 4


def test_sql_an_unclosed_quote_costs_little(tmp_path):
    rows = [b"(%d,'en','T%d')" % (i, i) for i in range(9000)]
    rows[10] = b"(10,'en',broken'here)"
    page = dump(tmp_path, "page", [b"(%d,0,'P%d',0,0)" % (i, i) for i in range(9000)])
    report = Report()
    found = dict(read_titles_sql(page, dump(tmp_path, "langlinks", rows), "en", report))
    assert found["P9"] == "T9"
    assert found["P11"] == "T11"
    assert found["P8999"] == "T8999"
    assert report.left_out == {"langlinks: row cannot be parsed": 1}


def test_sql_other_files_are_refused(tmp_path):
    page = dump(tmp_path, "page", [b"(1,0,'P',0,0)"])
    refused(lambda: list(read_titles_sql(page, page, "en")), "no row of table 'langlinks'")
    refused(lambda: list(read_titles_sql(page, tmp_path / "none.sql.gz", "en")), "no such file")
    (tmp_path / "cut.sql.gz").write_bytes(page.read_bytes()[:-12])
    refused(lambda: list(read_titles_sql(page, tmp_path / "cut.sql.gz", "en")), "cut.sql.gz", "fetch the file again")


# --- vectors -------------------------------------------------------------------------------------------------


def test_bad_lines_of_vectors_are_left_out_counted_and_named(tmp_path):
    lines = [
        b"12 3",
        b"fox 1 2 3",
        b"new york 4 5 6",
        b"hen 1 2",
        b"cow 1 2 x",
        b"nan 1 nan 3",
        b"f\xfcr 1 2 3",
        b"fox 7 8 9",
    ]
    lines += [b" 1 2 3", b"", b"M\xc3\xa4rz 0 0 1", b"a 1 0 0 ", b"b 0 1 0", b"c 0 1 1", b"d 1 1 0"]
    vectors = read_vectors(put(tmp_path, "v.vec.gz", b"\n".join(lines) + b"\n"), "de")
    assert vectors.words == ("fox", "new york", "März", "a", "b", "c", "d")
    assert vectors.matrix[1].tolist() == [4, 5, 6]
    assert vectors.notes["bad"] == 7
    assert vectors.notes["first bad"][0] == "line 4: 2 numbers, expected 3"
    assert vectors.notes["first bad"][3:] == ["line 7: not UTF-8", "line 8: 'fox' stood before"]
    limited = read_vectors(tmp_path / "v.vec.gz", "de", limit=3)
    assert limited.words == ("fox", "new york")


def test_files_that_are_no_vectors(tmp_path):
    refused(lambda: read_vectors(tmp_path / "none.vec", "de"), "no such file", "wiki.multi")
    refused(lambda: read_vectors(put(tmp_path, "empty.vec", ""), "de"), "empty.vec:1", "no header")
    refused(lambda: read_vectors(put(tmp_path, "html.vec", "<html>\n<body>\n"), "de"), "html.vec:1")
    refused(
        lambda: read_vectors(put(tmp_path, "bad.vec", "3 2\na 1\nb 2\nc 1 2\n"), "de"), "2 of 3 lines are bad", "line 2"
    )
    refused(lambda: read_vectors(put(tmp_path, "text.bin", "no model"), "de"), "text.bin", "not a fastText model")
    (tmp_path / "cut.vec.gz").write_bytes(gzip.compress(b"2 2\na 1 2\nb 1 2\n" * 500)[:-9])
    refused(lambda: read_vectors(tmp_path / "cut.vec.gz", "de"), "cut.vec.gz", "fetch the file again")


def test_a_folder_of_vectors_that_is_not_whole(tmp_path):
    vectors = Vectors("en", ("a", "b"), np.eye(2, dtype=np.float32))
    save_vectors(vectors, tmp_path / "v")
    (tmp_path / "v" / "vectors.npy").write_bytes(b"\x93NUMPY")
    refused(lambda: load_vectors(tmp_path / "v"), "vectors.npy", "make the vectors again")
    (tmp_path / "v" / "record.json").unlink()
    refused(lambda: load_vectors(tmp_path / "v"), "no record.json")
    refused(lambda: Vectors("en", ("a",), np.eye(2)), "1 words", "(2, 2)")
    refused(lambda: known_address("wiki.mult", "de"), "did you mean 'wiki.multi'?")


def test_training_on_nothing(tmp_path):
    refused(lambda: train_vectors(["one two three"], "en", tmp_path / "v", Training(minimum=5)), "occur 5 times")
    assert list(tmp_path.iterdir()) == []
    refused(lambda: Training(dimensions=0), "start at 1")
    refused(lambda: Training(shortest=30), "sub-words")


# --- alignment and induction ---------------------------------------------------------------------------------


def test_alignment_and_induction_settings(tmp_path):
    en = Vectors("en", ("a", "b", "c"), np.eye(3, dtype=np.float32))
    de = Vectors("de", ("x", "y"), np.eye(3, dtype=np.float32)[:2])
    seed = Lexicon.from_pairs("en", "de", [("a", "x"), ("b", "z")])
    refused(lambda: Aligning("procrustean"), "did you mean 'procrustes'?")
    refused(lambda: Aligning(steps=("center",)), "did you mean 'centre'?")
    refused(lambda: Retrieval("cls"), "did you mean 'csls'?")
    refused(lambda: Retrieval(top=0), "start at 1")
    refused(lambda: align(en, de, seed), "1 pairs", "2 entries")
    refused(lambda: align(en, de, "identical"), "0 pairs")
    refused(lambda: align(en, de, "same"), "seed 'same'")
    refused(lambda: align(en, de, seed.inverted()), "de-en", "en-de")
    flat = Vectors("de", ("x",), np.ones((1, 2), np.float32))
    refused(lambda: align(en, flat, seed), "3 and 2 dimensions")
    refused(lambda: induce(en, flat), "3 and 2 dimensions")
    refused(lambda: induce(en, Vectors("de", ("x",), np.zeros((1, 3), np.float32))), "0 target vectors")
    refused(lambda: neighbours("bee", en), "'bee' has no vector")
    refused(lambda: en.with_subwords(["d"]), "no sub-words")


def test_quality_wants_words_of_the_same_pair():
    lexicon = Lexicon.from_pairs("en", "de", [("a", "x")])
    refused(lambda: evaluate(lexicon, Lexicon.from_pairs("en", "de", [])), "0 words")
    refused(lambda: evaluate(lexicon, Lexicon.from_pairs("en", "ru", [("a", "x")])), "en-ru", "en-de")
    refused(lambda: evaluate(lexicon, lexicon).by("length"), "no breakdown by 'length'")


def test_titles_of_no_pairs_make_an_empty_lexicon():
    assert len(titles_lexicon([], "en", "de")) == 0
