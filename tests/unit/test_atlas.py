"""The atlas: hand-written tables, worlds, texts, lexicons and the errors of a broken table."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from itertools import combinations
from statistics import mean, median

import pytest

from cslab.collections.atlas import (
    DOMAINS,
    LANGUAGES,
    SEEN,
    UNSEEN,
    atlas,
    atlas_lexicon,
    atlas_titles,
    atlas_world,
    hard_negatives,
    monolingual_text,
    split_names,
)
from cslab.collections.atlas_data import FOLDER, load_data
from cslab.collections.atlas_text import capital, place_phrase
from cslab.collections.collection import check
from cslab.resources import PACKAGE
from cslab.store import CslabError
from cslab.text import words

SCRIPTS = {"ru": re.compile(r"[\u0400-\u04ff]"), "ar": re.compile(r"[\u0600-\u06ff]")}
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
SIZES = {"passages": 300, "queries": 120, "seed": 5}


@pytest.fixture(scope="module")
def data():
    return load_data()


@pytest.fixture(scope="module", params=list(DOMAINS))
def domain(request):
    return request.param


# --- tables --------------------------------------------------------------------------------------------------


def test_tables_hold_what_was_promised(data):
    assert set(LANGUAGES) == {*["en", "de", "it", "ru", "ar", "nl"], *["fr", "es", "pt"]}
    assert len(SEEN) == 6
    assert len(UNSEEN) == 3
    assert len(data.concepts) >= 600
    names = [row for group in data.names.values() for row in group.values()]
    assert len(names) >= 150
    assert all(" " in row["en"] for row in names)
    assert min(len(group) for group in data.attributes.values()) >= 8
    for lang in LANGUAGES:
        attributes = [a for group in data.attributes.values() for a in group.values()]
        assert len({a.forms[form][lang] for a in attributes for form in ("statement", "there")}) >= 40


def test_lemmas_and_names_do_not_collide_within_a_language(data):
    for lang in LANGUAGES:
        lemmas = Counter(concept.lemma[lang].lower() for concept in data.concepts.values())
        assert [lemma for lemma, times in lemmas.items() if times > 1] == []
        names = Counter(row[lang] for group in data.names.values() for row in group.values())
        assert [name for name, times in names.items() if times > 1] == []


def test_every_cell_is_in_its_script(data):
    rows = [concept.phrase for concept in data.concepts.values()]
    rows += [row for group in (*data.names.values(), *data.places.values()) for row in group.values()]
    rows += [row for group in data.attributes.values() for a in group.values() for row in a.forms.values()]
    for row in rows:
        for lang, text in row.items():
            bare = re.sub(r"\{\w+\}", "", text)
            right, others = (SCRIPTS[lang], [LATIN]) if lang in SCRIPTS else (LATIN, list(SCRIPTS.values()))
            assert right.search(bare), (lang, text)
            assert not any(other.search(bare) for other in others), (lang, text)


def test_elision_is_never_needed(data):
    """French names of towns follow `de`, so none may begin with a vowel; ships follow a noun."""
    assert not [
        row["fr"] for row in data.names["town"].values() if re.match("[aeiouyhâàéèêëîïôöûü]", row["fr"].lower())
    ]
    assert not re.search(r"\b[dl]e [aeiouéèêâîôœ]\w", " ".join(c.phrase["fr"] for c in data.concepts.values()))


def test_german_lemmas_are_capitalised_and_others_not(data):
    for concept in data.concepts.values():
        assert concept.lemma["de"][0].isupper()
        for lang in ("en", "it", "ru", "nl", "fr", "es", "pt"):
            assert concept.lemma[lang][0].islower(), concept


def test_capital_skips_signs():
    assert capital("¿qué?") == "¿Qué?"
    assert capital("«ёж»") == "«Ёж»"
    assert capital("...") == "..."


# --- collections ---------------------------------------------------------------------------------------------


def test_collection_is_whole_parallel_and_readable(domain):
    collection = atlas("test", domain, **SIZES)
    check(collection)
    assert collection.query_languages == collection.document_languages == LANGUAGES
    for lang in LANGUAGES:
        assert list(collection.documents[lang]) == list(collection.documents["en"])
        assert list(collection.queries[lang]) == list(collection.queries["en"])
        assert collection.qrels[lang] == collection.qrels["en"]
        for text in (*collection.documents[lang].values(), *collection.queries[lang].values()):
            assert not re.search(r"[{}|\t]|  ", text), text
            assert re.search(r"[.?؟]$", text), text
            assert capital(text) == text
    assert len(collection.documents["en"]) == 300
    assert len(collection.queries["en"]) == 120
    assert 25 <= mean(len(words(text)) for text in collection.documents["en"].values()) <= 45
    assert 8 <= median(len(words(text)) for text in collection.queries["en"].values()) <= 20


@pytest.mark.parametrize("lang", LANGUAGES)
def test_qrels_agree_with_a_reader_of_the_text(domain, lang, data):
    """Finds the answers again by matching the sentences themselves, in every language."""
    collection, world = atlas("dev", domain, **SIZES), atlas_world("dev", domain, **SIZES)
    documents = {did: text.lower() for did, text in collection.documents[lang].items()}
    telling = {}
    for attribute in data.attributes[domain].values():
        for concept in data.kinds[attribute.kind]:
            statement, there = (attribute.forms[form][lang] for form in ("statement", "there"))
            value = data.concepts[concept].phrase[lang]
            said = [statement.replace("{place}", "").replace("{v}", value), there.replace("{v}", value)]
            said = [sentence.strip(" ,،").lower() for sentence in said]
            telling[attribute.id, concept] = {did for did, text in documents.items() if any(s in text for s in said)}
    for qid, query in world.queries.items():
        found = set.intersection(*(telling[fact.saying] for fact in query.facts))
        if query.form != "find":
            place = place_phrase(*query.facts[0].place, domain, lang, data).lower()
            found = {did for did in found if place in documents[did]}
            assert place in collection.queries[lang][qid].lower()
        assert found == set(collection.qrels[lang][qid]), qid


def test_passages_tell_two_to_four_facts_of_one_place(domain):
    world = atlas_world("test", domain, **SIZES)
    for facts in world.passages.values():
        assert 2 <= len(facts) <= 4
        assert len({fact.place for fact in facts}) == 1
        assert len({fact.attribute for fact in facts}) == len(facts)
    every = atlas_world("test", domain)
    told = [fact for facts in every.passages.values() for fact in facts]
    assert len(told) == len(set(told))
    assert len({(fact.place, fact.attribute) for fact in told}) == len(told)


def test_any_number_of_passages_keeps_one_world():
    once, often = atlas_world("test", "voyages", seed=2), atlas_world("test", "voyages", passages=1500, seed=2)
    assert len(often.passages) == 1500 > len(once.passages)
    told = {fact for facts in often.passages.values() for fact in facts}
    assert told == {fact for facts in once.passages.values() for fact in facts}


def test_default_test_split_has_the_queries_the_report_needs():
    world = atlas_world("test")
    assert len(world.queries) >= 300
    assert set(Counter(query.form for query in world.queries.values())) == {"question", "question2", "find"}


def test_splits_share_no_town_and_no_ship(domain, data):
    splits = [set(split_names(split, domain)) for split in ("train", "dev", "test")]
    assert all(not one & other for one, other in combinations(splits, 2))
    assert set.union(*splits) == set(data.names[DOMAINS[domain]])
    for split, names in zip(("train", "dev", "test"), splits, strict=True):
        world = atlas_world(split, domain, **SIZES)
        assert {facts[0].place.name for facts in world.passages.values()} <= names


def test_seed_decides_everything():
    one, same, other = (atlas_world("test", passages=100, queries=30, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.queries != other.queries
    small = atlas("test", passages=100, queries=30, seed=1, languages=("de", "ar"))
    assert small.documents["de"] == atlas("test", passages=100, queries=30, seed=1).documents["de"]


def test_other_hash_seeds_give_the_same_texts():
    code = (
        "from cslab.collections.atlas import *; from cslab.store import fingerprint;"
        "c = atlas('dev', 'voyages', passages=80, queries=20, languages=('it', 'ar'));"
        "n = hard_negatives('dev', 'voyages', passages=80, queries=20);"
        "print(fingerprint([c.queries, c.documents, c.qrels, n, list(monolingual_text('nl', 50))]))"
    )
    environments = ({"PYTHONHASHSEED": seed, "PYTHONPATH": str(PACKAGE.parent)} for seed in ("1", "2"))
    runs = [subprocess.run([sys.executable, "-c", code], env=e, capture_output=True, text=True) for e in environments]
    assert runs[0].stdout == runs[1].stdout != "", runs[0].stderr


def test_hard_negatives_share_what_they_should(domain):
    world = atlas_world("dev", domain, **SIZES)
    negatives = hard_negatives("dev", domain, **SIZES, limit=5)
    assert negatives.keys() == world.queries.keys()
    assert mean(len(kinds["attribute"]) for kinds in negatives.values()) > 3
    assert mean(len(kinds["entity"]) for kinds in negatives.values()) > 1
    for qid, kinds in negatives.items():
        query, answers = world.queries[qid], set(world.relevant(qid))
        assert not answers & {did for dids in kinds.values() for did in dids}
        assert all(len(dids) <= 5 for dids in kinds.values())
        assert all(world.place(did) == query.facts[0].place for did in kinds["entity"])
        for did in kinds["attribute"]:
            if query.form == "find":
                stated = {fact.saying for fact in world.passages[did]}
                assert len(stated & {fact.saying for fact in query.facts}) == 1
            else:
                assert query.facts[0].attribute in {fact.attribute for fact in world.passages[did]}
                assert world.place(did) != query.facts[0].place


# --- lexicons and comparable text ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", LANGUAGES[1:])
def test_lexicon_covers_the_running_words(target, data):
    lexicon = atlas_lexicon(target)
    assert (lexicon.source, lexicon.target) == ("en", target)
    for domain, kind in DOMAINS.items():
        collection = atlas("test", domain, **SIZES, languages=("en",))
        names = re.compile("|".join(row["en"] for row in data.names[kind].values()))
        for texts in (collection.queries["en"], collection.documents["en"]):
            running = [word.text for text in texts.values() for word in words(names.sub("", text))]
            assert lexicon.coverage(running) >= 0.97
    in_names = [w.text for group in data.names.values() for row in group.values() for w in words(row["en"])]
    assert lexicon.coverage(in_names) >= 0.97


def test_lexicon_gives_the_thing_first_and_knows_other_uses():
    assert atlas_lexicon("de")["fox"][0].text == "Fuchs"
    assert [t.text for t in atlas_lexicon("de")["coat"]] == ["Mantel", "Wappen"]
    assert [t.text for t in atlas_lexicon("ar")["honey"]] == ["العسل", "عسل"]
    assert atlas_lexicon("ru")["town hall"][0].text == "ратуша"
    assert atlas_lexicon("fr")["northern"][0].text == "nord"


def test_titles_are_parallel_names(data):
    titles = atlas_titles("nl")
    assert titles["Silver Bay"][0].text == "Zilverbaai"
    assert len(titles) == sum(len(group) for group in data.names.values())


@pytest.mark.parametrize("lang", LANGUAGES)
def test_monolingual_text_is_clean_and_seeded(lang):
    lines = list(monolingual_text(lang, 400, seed=3))
    assert len(lines) == 400
    assert lines == list(monolingual_text(lang, 400, seed=3))
    assert lines != list(monolingual_text(lang, 400, seed=4))
    for line in lines:
        assert "{" not in line
        assert line[-1] in ".?؟"
        assert capital(line) == line


def test_monolingual_text_is_comparable_not_parallel(data):
    """The same things stand together in two languages, but the sentences differ."""
    together = {}
    for lang in ("en", "de"):
        by_phrase = {concept.phrase[lang]: concept.id for concept in data.concepts.values()}
        starts = "Together in one picture: ", "Zusammen auf einem Bild: "
        together[lang] = Counter()
        for line in monolingual_text(lang, 8000):
            if line.startswith(starts):
                things = re.split(", | and | und ", line.split(": ")[1].rstrip("."))
                pairs = combinations(sorted(by_phrase[thing] for thing in things), 2)
                together[lang].update(pairs)
    shared = together["en"].keys() & together["de"].keys()
    # By chance two draws of so many out of 260,000 pairs would share a handful.
    expected = len(together["en"]) * len(together["de"]) / (len(data.concepts) ** 2 / 2)
    assert 3 * expected < len(shared) < 0.5 * len(together["en"])


# --- mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: atlas("tests"), "split 'tests'; did you mean 'test'"),
        (lambda: atlas(domain="town"), "domain 'town'; did you mean 'towns'"),
        (lambda: atlas(languages=("en", "xx")), "no language 'xx'"),
        (lambda: atlas(passages=0), "must be 1 or more"),
        (lambda: atlas(passages=10, queries=5000), "ask for fewer queries or more passages"),
        (lambda: atlas_lexicon("en"), "from English to 'en'"),
        (lambda: atlas_titles("zz"), "from English to 'zz'"),
        (lambda: list(monolingual_text("sv", 1)), "no language 'sv'"),
    ],
)
def test_wrong_arguments_are_named(call, says):
    with pytest.raises(CslabError, match=re.escape(says)):
        call()


@pytest.mark.parametrize(
    ("table", "line", "change", "says"),
    [
        ("concepts.tsv", 1, lambda text: text.replace("class", "klass"), "header is"),
        ("concepts.tsv", 7, lambda text: text.rpartition("\t")[0], "10 tab-separated cells, expected 11"),
        ("concepts.tsv", 7, lambda text: text.rpartition("\t")[0] + "\t", "the cell 'pt' is empty"),
        ("concepts.tsv", 7, lambda text: "fox\t" + text.split("\t", 1)[1], "'fox' stands in line 2 already"),
        ("titles.tsv", 4, lambda text: text.replace("\ttown\t", "\ttwon\t"), "did you mean 'town'"),
        ("places.tsv", 3, lambda text: text.replace("{town}", "{tonw}"), "slots ['tonw'] in 'en', expected ['town']"),
        ("attributes.tsv", 5, lambda text: text.replace("{place}", ""), "slots [] in 'en', expected ['place']"),
        ("attributes.tsv", 2, lambda text: text.replace("\tproduct\t", "\tproduce\t", 1), "did you mean 'product'"),
        ("text.tsv", 2, lambda text: "serch" + text[4:], "kind 'serch"),
    ],
)
def test_broken_tables_are_reported_with_file_and_line(tmp_path, table, line, change, says):
    folder = tmp_path / "atlas"
    shutil.copytree(FOLDER, folder)
    lines = (folder / table).read_text(encoding="utf-8").split("\n")
    lines[line - 1] = change(lines[line - 1])
    (folder / table).write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CslabError) as caught:
        load_data(folder)
    assert f"{table}:{line}: " in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_tables_and_forms_are_named(tmp_path):
    with pytest.raises(CslabError, match=r"concepts\.tsv: no such file"):
        load_data(tmp_path / "nowhere")
    shutil.copytree(FOLDER, tmp_path / "atlas")
    path = tmp_path / "atlas" / "attributes.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join(lines[:1] + lines[2:]), encoding="utf-8")
    with pytest.raises(CslabError, match="'main_product' lacks statement"):
        load_data(tmp_path / "atlas")
    (tmp_path / "atlas" / "words.tsv").unlink()
    path.write_text("\n".join(lines), encoding="utf-8")
    load_data.cache_clear()
    with pytest.raises(CslabError, match=r"words\.tsv: no such file"):
        load_data(tmp_path / "atlas")
