"""Makes `data/wiki`, the real text that comes with the repository: two runs give the same bytes.

XQuAD-R is fetched from its original address. The other sources are published in forms that need unpacking, so their
tables are given by path (their addresses stand in `data/wiki/README.md`, which this script writes, too):

    python tools/make_wiki.py --squad train_en/squad_sent --wiktionary dict/wiktionary --titles titles.core.tsv.gz
"""

import argparse
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cslab.collections.download import fetch
from cslab.collections.xquad import SHA256, URL, read_paragraphs
from cslab.store import atomic_open, read_json, read_jsonl, read_tsv, sha256_file, write_tsv
from cslab.text import fold

FOLDER = Path(__file__).resolve().parent.parent / "data" / "wiki"
LANGUAGES = ("en", "de", "ru", "ar", "zh")
TARGETS = ("de", "ru", "ar")  # of dictionaries and titles; Chinese stays a language that no lexicon knows
WORDS = re.compile(r"\w+")
LATIN, NOTE = re.compile("[A-Za-z]"), re.compile(r"[+…()\[\]/;:,0-9]|\.\.")
PARTS = {  # folder or file → (source, address, licence, what was kept)
    "xquad_r": (
        "XQuAD-R of LAReQA (Roy et al. 2020), from XQuAD (Artetxe et al. 2020) and SQuAD (Rajpurkar et al. 2016)",
        "https://github.com/google-research-datasets/lareqa, xquad-r/*.json", "CC BY-SA 4.0",
        "questions, sentences and where answers begin, in English, German, Russian, Arabic and Chinese",
    ),
    "squad": (
        "questions and answer sentences of 44 training articles of SQuAD 1.1 (Rajpurkar et al. 2016), as cut into "
        "sentences by Du et al. 2017",
        "https://github.com/xinyadu/nqg, data/processed/{src,tgt}-test.txt", "CC BY-SA 4.0",
        "all questions but three that share eight words in a row with one of XQuAD-R; lower-cased at the source, with "
        "tokens joined again",
    ),
    "wiktionary": (
        "translations of the English Wiktionary by its authors",
        "https://github.com/open-dsl-dict/wiktionary-dict, dsl/oneway", "CC BY-SA 3.0 and GFDL",
        "word, translation and part of speech, English into German, Russian and Arabic; translations of at most three "
        "words in the script of the language, without notes on grammar",
    ),
    "titles": (
        "titles of Wikipedia articles on the same thing, by Wikidata's links of 2016",
        "https://github.com/open-dict-data, wikidict-{de,en,ru}", "CC0 1.0",
        "English titles of at most three words, all of which occur in the questions and sentences of `squad`",
    ),
}  # fmt: skip


def main() -> None:
    """Reads the paths, writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("squad", "wiktionary", "titles"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    for code in LANGUAGES:
        write_xquad(fetch(URL.format(lang=code), SHA256[code]), given.out / "xquad_r" / f"{code}.json.gz")
    write_squad(given.squad, given.out / "squad", test_text(given.out / "xquad_r" / "en.json.gz"))
    for code in TARGETS:
        rows = (cells for _, cells in read_tsv(given.wiktionary / f"en-{code}.tsv.gz", width=3))
        header = next(rows)
        kept = (row for row in rows if is_text(row[1], code))
        write_tsv(given.out / "wiktionary" / f"en-{code}.tsv.gz", kept, header)
    write_titles(given.titles, given.out / "titles" / "titles.tsv.gz", known_words(given.out / "squad"))
    with atomic_open(given.out / "README.md") as handle:
        handle.write(readme(given.out))


def write_xquad(source: Path, target: Path) -> None:
    """The fields of a LAReQA file that the reader of XQuAD-R asks for."""
    articles = [
        {"paragraphs": [_paragraph(raw) for raw in article["paragraphs"]]} for article in read_json(source)["data"]
    ]
    with atomic_open(target) as handle:
        json.dump({"data": articles}, handle, ensure_ascii=False, separators=(",", ":"))


def _paragraph(raw: dict) -> dict:
    questions = [
        {"id": q["id"], "question": q["question"], "answers": [{"answer_start": q["answers"][0]["answer_start"]}]}
        for q in raw["qas"]
    ]
    return {name: raw[name] for name in ("context", "sentences", "sentence_breaks")} | {"qas": questions}


def test_text(english: Path) -> set[tuple[str, ...]]:
    """Every run of eight words in the questions and sentences that are evaluated on."""
    texts = [
        text for p in read_paragraphs(english) for text in (*p.sentences, *(question for _, question, _ in p.questions))
    ]
    return {run for text in texts for run in _runs(text)}


def _runs(text: str) -> set[tuple[str, ...]]:
    words = WORDS.findall(text.lower())
    return {tuple(words[i : i + 8]) for i in range(len(words) - 7)}


def write_squad(source: Path, target: Path, tested: set[tuple[str, ...]]) -> None:
    """The BEIR folder of the training questions, packed, without texts that share a run of words with the test text."""
    kept = {}
    for name in ("corpus", "queries"):
        rows = [row for _, row in read_jsonl(source / f"{name}.jsonl.gz") if not tested & _runs(row["text"])]
        kept[name] = {row["_id"] for row in rows}
        with atomic_open(target / f"{name}.jsonl.gz") as handle:
            for row in rows:
                handle.write(json.dumps({"_id": row["_id"], "text": row["text"]}, ensure_ascii=False) + "\n")
    header, *rows = (cells for _, cells in read_tsv(source / "qrels.tsv", width=3))
    judged = [row for row in rows if row[0] in kept["queries"] and row[1] in kept["corpus"]]
    write_tsv(target / "qrels.tsv.gz", iter([header, *judged]))


def is_text(translation: str, code: str) -> bool:
    """Whether a translation can stand in running text: no note on grammar, no pattern, at most three words.

    >>> [is_text(text, "ru") for text in ("лиса", "genitive case", "чем + comp.", "чем… тем")]
    [True, False, False, False]
    """
    foreign = code in ("ru", "ar") and LATIN.search(translation)
    return not foreign and not NOTE.search(translation) and len(translation.split()) <= 3


def known_words(folder: Path) -> set[str]:
    """The words of the training text."""
    texts = (row["text"] for name in ("corpus", "queries") for _, row in read_jsonl(folder / f"{name}.jsonl.gz"))
    return {word for text in texts for word in WORDS.findall(fold(text))}


def write_titles(source: Path, target: Path, known: set[str]) -> None:
    """Titles whose English words are all known, in the languages of the dictionaries."""
    write_tsv(target, _titles(source, known), ("en", *TARGETS))


def _titles(source: Path, known: set[str]) -> Iterator[Sequence[str]]:
    header: list[str] = []
    for _, cells in read_tsv(source):
        if not header:
            header = cells
            continue
        row = dict(zip(header, cells, strict=True))
        words = WORDS.findall(fold(re.sub(r"\(.*?\)", "", row["en"])))
        if 0 < len(words) <= 3 and known.issuperset(words) and any(row[code] for code in TARGETS):
            yield row["en"], *(row[code] for code in TARGETS)


def readme(folder: Path) -> str:
    """What each file is, where it comes from and under which licence."""
    lines = [
        "# Real text of the demo", "",
        "`make demo` trains and evaluates on these files. `tools/make_wiki.py` made them; the README with it.", "",
        "**XQuAD-R is evaluation data: never train or tune on it.** No training article is one of its articles.", "",
    ]  # fmt: skip
    for name, (source, address, licence, kept) in PARTS.items():
        lines += [f"## `{name}`", "", f"* Source: {source}", f"* Address: {address}", f"* Licence: {licence}"]
        lines += [f"* Kept: {kept}", ""]
    lines += ["## Files", "", "| file | lines | bytes | sha256 |", "|---|---|---|---|"]
    for path in sorted(folder.rglob("*.gz")):
        with gzip.open(path, "rb") as handle:
            count = sum(1 for _ in handle)
        name = path.relative_to(folder).as_posix()
        lines.append(f"| {name} | {count:,} | {path.stat().st_size:,} | {sha256_file(path)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
