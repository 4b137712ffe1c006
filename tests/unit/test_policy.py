"""Policies as data."""

import json

import pytest

from cslab.store import CslabError
from cslab.switching import POLICIES, Policy, bilingual, from_source, policy_named, with_rate


@pytest.mark.parametrize("policy", [*POLICIES.values(), bilingual("en", "de"), Policy(weights={"de": 2})], ids=str)
def test_json_round_trip(policy):
    assert Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy
    assert hash(policy) == hash(Policy.from_dict(policy.to_dict()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"qurey": 0.5}, "did you mean 'query'"),
        ({"query": 1.5}, "probability from 0 to 1"),
        ({"query": "half"}, "probability from 0 to 1"),
        ({"query": True}, "probability from 0 to 1"),
        ({"document": float("nan")}, "probability from 0 to 1"),
        ({"draw": "tokens"}, "did you mean 'token'"),
        ({"longest": 0}, "whole number from 1"),
        ({"top_k": 1.5}, "whole number from 0"),
        ({"languages": ["de", "xq"]}, "language 'xq'"),
        ({"languages": ["de", "de"]}, "named twice"),
        ({"weights": {"fr": 1}}, "no target language"),
        ({"weights": {"de": -1}}, "expected a number from 0"),
        ({"languages": ["de"], "weights": {"de": 0}}, "weight 0"),
        ({"phrase": 2, "longest": 3}, "one of them"),
        ({"faithful": "yes"}, "expected null"),
    ],
)
def test_mistakes_are_told_in_one_line(change, said):
    with pytest.raises(CslabError, match=said) as error:
        Policy.from_dict({"name": "mine"} | change)
    assert "\n" not in str(error.value)


def test_bilingual_leaves_the_source_side_alone():
    policy = bilingual("ar", "en", 0.25)
    assert (policy.rate("query"), policy.rate("document")) == (0.25, 0.0)
    assert policy.languages_of("query") == ("ar",)
    assert bilingual("en", "en").rate("query") == 0
    assert bilingual("de", "it").languages == ("de", "it")


def test_policies_are_found_by_name():
    assert policy_named("BL-CS en-de") == bilingual("en", "de")
    assert policy_named("CAT") is POLICIES["CAT"]
    with pytest.raises(CslabError, match="did you mean 'ML-CS'"):
        policy_named("MLCS")
    with pytest.raises(CslabError, match="not known"):
        policy_named("BL-CS en-qq")


def test_policies_for_texts_of_another_language():
    wiki = policy_named("Wiki-CS", "de")
    assert (wiki.source, wiki.languages[:2]) == ("de", ("de", "en"))
    assert policy_named("BL-CS de-en", "de") == bilingual("de", "en", source="de")
    weighted = from_source(Policy(query_languages=("de", "it"), weights={"de": 2, "it": 3}), "de")
    assert weighted.query_languages == ("en", "it")
    assert dict(weighted.weights) == {"en": 2, "it": 3}
    assert from_source(weighted, "en").query_languages == ("de", "it")


def test_with_rate_keeps_a_side_that_is_off():
    assert (with_rate(bilingual("en", "de"), 0.75).query, with_rate(bilingual("en", "de"), 0.75).document) == (0, 0.75)
