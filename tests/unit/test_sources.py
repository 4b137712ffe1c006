"""From the settings of a profile to records: every reader and lexicon that a profile can name."""

import gzip
import json

import numpy as np
import pytest

from cslab.collections.trec import Run
from cslab.config import CollectionSettings, LexiconSettings, load_profile
from cslab.evaluation.settings import make_task
from cslab.sources import (
    COLLECTIONS,
    LEXICONS,
    collection_files,
    lexicon_files,
    read_lexicon,
    read_pairs,
    read_runs,
    read_test,
    read_training,
)
from cslab.sources import collections as readers
from cslab.store import CslabError
from tests.real import SHARED, needs_shared

TEXTS = {"en": ("a red fox", "the old hen"), "nl": ("een rode vos", "de oude hen")}


def write_beir(folder, code: str = "en", prefix: str = "") -> None:
    folder.mkdir(parents=True)
    rows = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(TEXTS[code])]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [{"_id": f"{prefix}{i}", "text": text.split()[-1]} for i, text in enumerate(TEXTS[code])]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    judged = "".join(f"{prefix}{i}\td{i}\t1\n" for i in range(2))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)


def settings(**given) -> CollectionSettings:
    return CollectionSettings.model_validate(given)


def test_every_source_of_the_settings_has_a_reader():
    assert set(COLLECTIONS) == set(CollectionSettings.model_fields["source"].annotation.__args__)
    assert set(LEXICONS) == set(LexiconSettings.model_fields["source"].annotation.__args__)


def test_beir_folders_by_language(tmp_path):
    for code in TEXTS:
        write_beir(tmp_path / code, code)
    chosen = settings(source="beir", folders={c: str(tmp_path / c) for c in TEXTS}, languages=["en", "nl"])
    found = read_test(chosen)
    assert found.document_languages == ("en", "nl")
    assert {f.name for f in collection_files(chosen)} == {"corpus.jsonl", "queries.jsonl", "qrels.tsv"}
    with pytest.raises(CslabError, match=r"beir needs a set; set collection\.name"):
        read_test(settings(source="beir"))
    with pytest.raises(CslabError, match=r"pool needs folders; set collection\.folders"):
        read_test(settings(source="pool"))


def test_a_pool_brings_its_candidates(tmp_path):
    write_beir(tmp_path / "en")
    (tmp_path / "en" / "run.dense.trec").write_text("0 Q0 d1 1 2.0 dense\n0 Q0 d0 2 1.0 dense\n1 Q0 d1 1 1.0 dense\n")
    chosen = settings(source="pool", folders={"en": str(tmp_path / "en")}, languages=["en"], run="dense")
    found = read_test(chosen)
    given = read_runs(chosen, "english", found)
    task = make_task(found, "en", "en", depth=1, given=given)
    assert task.candidates.scores["0"] == {"d1": 2.0}
    assert task.candidates.first_stage == "dense@2"
    with pytest.raises(CslabError, match="no run 'dens'; did you mean 'dense'"):
        read_runs(settings(**chosen.model_dump() | {"run": "dens"}), "english", found)


def test_candidates_without_an_order_are_not_cut(tmp_path):
    write_beir(tmp_path / "en")
    (tmp_path / "en" / "run.flat.trec").write_text("0 Q0 d1 1 0 flat\n0 Q0 d0 2 0 flat\n1 Q0 d1 1 0 flat\n")
    chosen = settings(source="pool", folders={"en": str(tmp_path / "en")}, languages=["en"], run="flat")
    found = read_test(chosen)
    given = read_runs(chosen, "english", found)
    with pytest.raises(CslabError, match=r"have no order, so the best 1 cannot be told; set evaluation\.depth to 2"):
        make_task(found, "en", "en", depth=1, given=given)
    pooled = make_task(found, "en", "xx", depth=2, given=given)
    assert set(pooled.documents) == {"en:d0", "en:d1"}


def test_mkqa_asks_the_documents_of_folders(tmp_path, monkeypatch):
    write_beir(tmp_path / "en", prefix="7")
    questions = {"en": {"70": "fox?", "99": "moon?"}, "ar": {"70": "ثعلب؟", "99": "قمر؟"}}
    monkeypatch.setattr(readers, "mkqa_queries", lambda languages: {code: questions[code] for code in languages})
    chosen = settings(source="mkqa", folders={"en": str(tmp_path / "en")}, languages=["en", "ar"])
    found = read_test(chosen)
    assert found.queries["ar"] == {"70": "ثعلب؟"}
    assert found.qrels == {"en": {"70": {"d0": 1}}}
    write_beir(tmp_path / "other")
    with pytest.raises(CslabError, match="judges no question of MKQA"):
        read_test(settings(source="mkqa", folders={"en": str(tmp_path / "other")}, languages=["en"]))


def test_miracl_keeps_the_questions_of_languages_apart(tmp_path, monkeypatch):
    for code in TEXTS:
        write_beir(tmp_path / code, code)
    one = {c: readers.read_beir_folders({c: tmp_path / c}) for c in TEXTS}
    monkeypatch.setattr(readers, "miracl", lambda code, split, passages: one[code])
    found = read_test(settings(source="miracl", languages=["en", "nl"], queries=1))
    assert [next(iter(q)).split(".")[0] for q in found.queries.values()] == ["en", "nl"]
    assert {len(q) for q in found.queries.values()} == {1}
    with pytest.raises(CslabError, match="no query in 'en' is judged on documents in 'nl'; leave en-nl out"):
        make_task(found, "en", "nl", "own")


def test_beir_nl_is_english_and_dutch(tmp_path, monkeypatch):
    for code in TEXTS:
        write_beir(tmp_path / code, code)
    one = {c: readers.read_beir_folders({c: tmp_path / c}) for c in TEXTS}
    monkeypatch.setattr(readers, "beir", lambda *given: one["en"])
    monkeypatch.setattr(readers, "beir_nl", lambda *given: one["nl"])
    found = read_test(settings(source="beir-nl", name="scifact", languages=["en", "nl"]))
    assert make_task(found, "en", "nl", depth=2).queries == {"0": "fox", "1": "hen"}
    with pytest.raises(CslabError, match="'de' is not in it"):
        read_test(settings(source="beir-nl", name="scifact", languages=["de"]))


# --- lexicons ------------------------------------------------------------------------------------------------


def lexicon(**given) -> LexiconSettings:
    return LexiconSettings.model_validate(given)


def test_titles_of_a_folder_are_those_that_have_the_language(tmp_path):
    (tmp_path / "core.tsv").write_text("en\tde\nFox (animal)\tFuchs\n")
    with gzip.open(tmp_path / "ext.tsv.gz", "wt") as handle:
        handle.write("en\tfr\nFox\tRenard\n")
    chosen = lexicon(source="titles", folder=str(tmp_path))
    assert [t.text for t in read_lexicon(chosen, "fr")["fox"]] == ["Renard"]
    assert [f.name for f in lexicon_files(chosen, "de")] == ["core.tsv"]
    with pytest.raises(CslabError, match="no titles in English and 'ru'"):
        read_lexicon(chosen, "ru")
    with pytest.raises(CslabError, match=r"lexicon\.folder is empty"):
        read_lexicon(lexicon(source="titles"), "de")


def test_sources_are_merged_by_priority(tmp_path):
    (tmp_path / "en-de.txt").write_text("fox Fuchs\n")
    (tmp_path / "titles.tsv").write_text("en\tde\nFox\tFüchse\nHen\tHenne\n")
    further = [{"source": "titles", "folder": str(tmp_path / "titles.tsv")}]
    found = read_lexicon(lexicon(source="muse", folder=str(tmp_path), further=further), "de")
    assert [t.text for t in found["fox"]] == ["Fuchs", "Füchse"]
    assert found["hen"][0].method == "titles"


def test_a_lexicon_is_induced_from_given_vectors(tmp_path):
    random, words = np.random.default_rng(0), [f"w{i}" for i in range(30)]
    matrix = random.normal(size=(30, 8))
    for code, mark in (("en", ""), ("de", "x")):
        rows = [f"{w}{mark} " + " ".join(f"{v:.4f}" for v in row) for w, row in zip(words, matrix, strict=True)]
        (tmp_path / f"v.{code}.vec").write_text("30 8\n" + "\n".join(rows) + "\n")
    (tmp_path / "seed-de.txt").write_text("".join(f"{w} {w}x\n" for w in words[:20]))
    given = {"source": "induced", "vectors": str(tmp_path / "v.{language}.vec"), "limit": 25}
    for extra in ({}, {"seed": str(tmp_path / "seed-{language}.txt"), "refine": False}):
        found = read_lexicon(lexicon(**given, **extra), "de")
        assert len(found) == 25
        assert sum(found[w][0].text == f"{w}x" for w in found) == 25
    assert [f.name for f in lexicon_files(lexicon(**given), "de")] == ["v.en.vec", "v.de.vec"]
    with pytest.raises(CslabError, match=r"write \{language\} in it"):
        read_lexicon(lexicon(source="induced", vectors="v.vec"), "de")
    with pytest.raises(CslabError, match=r"share no space; set lexicon\.seed"):
        read_lexicon(lexicon(source="induced", text=str(tmp_path / "v.{language}.vec")), "de")


def test_articles_are_names_and_things():
    found = read_lexicon(lexicon(source="atlas-articles"), "de")
    assert found["silver bay"][0].text == "Silberbucht"
    assert found["honey"][0].text == "Honig"
    assert "the" not in found


@needs_shared("data/wikititles", "data/squad_dev", "data/ntrex", "data/dict/muse")
def test_the_real_profile_finds_its_text(monkeypatch):
    monkeypatch.setenv("CSLAB_DATA", str(SHARED / "data"))
    profile = load_profile("real")
    assert len(lexicon_files(profile.lexicon.titles, "zh")) == 1
    assert read_lexicon(profile.lexicon, "nl")["house"]
    ntrex = read_test(profile.tests["ntrex"].collection)
    assert len(ntrex.queries["nl"]) == 123


def test_mmarco_brings_candidates_and_pairs(tmp_path, monkeypatch):
    write_beir(tmp_path / "en")
    one = readers.read_beir_folders({"en": tmp_path / "en"})
    asked = []
    monkeypatch.setattr(readers, "mmarco", lambda languages, split: asked.append((tuple(languages), split)) or one)
    run = Run("bm25", "en", "en", "bm25(en)@1000", {"0": {"d0": 0.0, "d1": 0.0}, "1": {"d1": 0.0}})
    monkeypatch.setattr(readers, "top1000_run", lambda qids: run)
    monkeypatch.setattr(readers, "held_out", dict)
    monkeypatch.setattr(readers, "sbert_pairs", lambda *given: iter([("0", "d0", 1.0), ("1", "d0", 0.0)]))
    settings = ["training.steps=1", "training.batch=2", "training.negatives=1", "conditions=[Zero-shot]"]
    profile = load_profile("mmarco", settings)
    found = read_test(profile.collection)
    task = make_task(found, "en", "en", depth=1000, given=read_runs(profile.collection, "english", found))
    assert (task.candidates.first_stage, task.candidates.scores) == ("bm25(en)@1000", run.scores)
    training = read_training(profile)
    assert asked == [(tuple(profile.collection.languages), "dev.small"), (("en",), "train")]
    assert read_pairs(profile, training).labels.tolist() == [1.0, 0.0]
