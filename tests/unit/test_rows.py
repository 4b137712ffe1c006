"""Rows without training: encoders as they are, and rankers together with the first stage."""

import json

import numpy as np
import pytest
from transformers import BertModel

from cslab.choices import EncoderChoice
from cslab.collections.trec import Run
from cslab.config import make_profile
from cslab.evaluation.measures import by_pair
from cslab.evaluation.settings import Task
from cslab.findings import tables_of
from cslab.held_out import held_out_table
from cslab.ranking.cross_encoder import load_encoder, score_pairs
from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder
from cslab.ranking.fusion import choose_weight, reciprocal, weighted
from cslab.stages import open_lab
from cslab.store import CslabError
from cslab.systems import FIRST_STAGE, Fused, Untouched
from cslab.workbench.cases import experiment_of
from cslab.workbench.whatif import WhatIf
from tests.tiny import tiny_encoder

FIRST = Run("bm25", "en", "de", "bm25", {"q": {"a": 9.0, "b": 2.0, "c": 1.0}, "r": {"a": 1.0, "b": 1.0}})
RANKER = Run("ranker", "en", "de", "bm25", {"q": {"a": -1.0, "b": 3.0, "c": 4.0}, "r": {"a": 0.5, "b": 0.7}})


def test_a_weighted_sum_is_of_standardised_scores():
    found = weighted(RANKER, FIRST, 0.25, "both").scores
    one, other = np.array([-1.0, 3.0, 4.0]), np.array([9.0, 2.0, 1.0])
    expected = 0.75 * (one - one.mean()) / one.std() + 0.25 * (other - other.mean()) / other.std()
    assert list(found["q"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert list(found["r"].values()) == pytest.approx([-0.75, 0.75])  # the first stage has no opinion there
    for weight, run in ((0.0, RANKER), (1.0, FIRST)):
        assert weighted(RANKER, FIRST, weight).ranking("q") == run.ranking("q")


def test_reciprocal_ranks_share_the_best_of_equal_ones():
    found = reciprocal(RANKER, FIRST).scores
    assert list(found["q"].values()) == pytest.approx([1 / 63 + 1 / 61, 1 / 62 + 1 / 62, 1 / 61 + 1 / 63], abs=1e-7)
    assert list(found["r"].values()) == pytest.approx([1 / 62 + 1 / 61, 1 / 61 + 1 / 61], abs=1e-7)


def test_the_weight_is_the_smallest_of_the_best():
    def task(qrels) -> Task:
        return Task("en", "de", {"q": "x"}, {}, qrels, FIRST)

    ranked = Run("ranker", "en", "de", "bm25", {"q": RANKER.scores["q"]})
    assert choose_weight([(ranked, task({"q": {"c": 1}}))], "MRR@10")[0] == 0
    weight, tried = choose_weight([(ranked, task({"q": {"a": 1}}))], "MRR@10")
    assert (tried["0"], tried["1"], tried[f"{weight:g}"]) == (pytest.approx(100 / 3, abs=1e-3), 100, 100)
    assert 0 < weight < 1
    assert tried[f"{weight - 0.05:g}"] < 100
    # Of two tasks that want other answers the mean decides.
    both = [(ranked, task({"q": {"a": 1}})), (ranked, task({"q": {"c": 1}}))]
    assert set(choose_weight(both, "MRR@10")[1]) == set(tried)


# --- an experiment -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("encoders")
    encoder = tiny_encoder(home / "tiny")
    for name, model in (("cross", encoder.model), ("dual", BertModel(encoder.model.config, add_pooling_layer=False))):
        encoder.tokenizer.save_pretrained(home / name)
        model.save_pretrained(home / name)
    return home


@pytest.fixture
def profile(folders):
    def made(**further):
        values = {"name": "x", "collection": {"passages": 60, "queries": 12, "languages": ["en", "de"]}}
        training = {"passages": 60, "queries": 30, "steps": 1, "batch": 10, "max_length": 16, "precision": "fp32"}
        values |= {"training": training | {"dev_queries": 8}, "conditions": ["Zero-shot", "ML-CS"]}
        values |= {"encoder": {"name": str(folders / "cross")}, "lexicon": {"languages": ["de"]}}
        values |= {"evaluation": {"pairs": ["en-en", "en-de", "xx-xx"], "depth": 6, "max_length": 32}}
        values |= {"untouched": [str(folders / "cross"), {"dual_encoder": str(folders / "dual")}]}
        return make_profile(values | {"fuse": ["ML-CS", "ML-CS (rrf)", f"{folders / 'dual'} (rrf)"]} | further)

    return made


def test_rows_stand_in_every_table(profile, tmp_path, folders):
    test = {"collection": {"passages": 60, "queries": 6, "languages": ["en", "de"], "seed": 3}}
    test["evaluation"] = {"pairs": ["de-en"], "depth": 4, "max_length": 32}
    lab = open_lab(profile(tests={"other": test}), outputs=tmp_path / "out")
    names = ["cross, as it is", "dual, as it is", "dual, as it is, with BM25 (rrf)", "Zero-shot", "ML-CS"]
    names += ["ML-CS, with BM25", "ML-CS, with BM25 (rrf)"]
    assert [row.name for row in lab.rows()] == names
    assert len({row.slug for row in lab.rows()}) == len(names)
    assert lab.rows()[2].slug == "dual-as-it-is-with-bm25-rrf"
    scores = lab.scores()
    assert set(scores["system"]) == {FIRST_STAGE, *names}
    assert by_pair(scores, "MRR@10").groupby("system")["pair"].agg(set).map(len).eq(3).all()
    assert not (lab.folder / "models" / "dual-as-it-is").exists()
    assert set(lab.on("other").scores()["system"]) == {FIRST_STAGE, *names}
    assert set(tables_of(lab)["scores"].index) >= set(names)
    states = lab.status().set_index("stage").loc[["runs", "weights", "tests/other/runs", "tests/other/weights"]]
    assert (set(states["state"]), len(states)) == ({"done"}, 2 * (len(names) + 1))
    again = open_lab(profile(), outputs=tmp_path / "out")
    assert all(again._runs(row).state() == "done" for row in again.rows())

    task, rows = lab.task("en-de"), {row.name: row for row in lab.rows()}
    runs = {name: lab.runs(row)["en-de"] for name, row in rows.items()}
    qid = next(iter(task.queries))
    dids = list(task.candidates.scores[qid])
    documents = [task.documents[did] for did in dids]
    dual = load_dual_encoder(folders / "dual")
    cosines = embed_texts(dual, [task.queries[qid]], max_length=32) @ embed_texts(dual, documents, max_length=32).T
    assert [runs["dual, as it is"].scores[qid][did] for did in dids] == pytest.approx(cosines[0].tolist(), abs=1e-5)
    logits = score_pairs(load_encoder(folders / "cross"), [(task.queries[qid], text) for text in documents], 32)
    assert [runs["cross, as it is"].scores[qid][did] for did in dids] == pytest.approx(logits.tolist(), abs=1e-4)

    summary = lab._runs(rows["ML-CS, with BM25"]).make().summary
    assert "8 held-out training questions, as they are and switched" in summary["chosen on"]
    best = max(summary["by weight"].values())
    assert summary["by weight"][f"{summary['weight']:g}"] == best
    expected = weighted(runs["ML-CS"], task.candidates, summary["weight"])
    assert runs["ML-CS, with BM25"].scores == expected.scores
    assert runs["ML-CS, with BM25 (rrf)"].scores == reciprocal(runs["ML-CS"], task.candidates).scores


def test_encoders_as_they_are_are_asked_the_held_out_questions(profile, tmp_path):
    lab = open_lab(profile(conditions=["Zero-shot"], fuse=[]), outputs=tmp_path / "out")
    table = held_out_table(lab)
    assert list(table.index) == ["cross-as-it-is", "dual-as-it-is", "zero-shot-s1"]
    assert table.notna().all(axis=None)
    assert list(held_out_table(lab, list(lab.systems())).index) == ["zero-shot-s1"]


def test_rows_without_a_model_are_not_asked_again(profile, tmp_path):
    lab = open_lab(profile(conditions=["Zero-shot"], fuse=["Zero-shot (rrf)"]), outputs=tmp_path / "out")
    experiment = experiment_of(lab)
    whatif, task = WhatIf(experiment), experiment.task("en-en")
    runs = {name: experiment.run("en-en", name) for name in experiment.systems["en-en"]}
    qid = next(iter(task.queries))
    whatif.ask(task.queries[qid], "en", qid)
    whatif.edit.value = "where is the fox?"
    after = whatif.scored(task, qid, runs, whatif.change)
    changed = {name for name, run in after.items() if run.scores[qid] != runs[name].scores[qid]}
    assert changed == {"Zero-shot"}
    told = whatif.told(task, qid, runs, after)
    assert told.count("(not asked again)") == 4  # BM25, two encoders as they are, and what is fused


def test_variations_compare_rankers_alone(profile, tmp_path):
    lab = open_lab(profile(ablations=["p"]), outputs=tmp_path / "out")
    assert {row.name for one in lab.variations("p").values() for row in one.rows()} == {"ML-CS"}


def test_names_of_hub_ids_and_folders():
    row = Untouched(EncoderChoice(name="BAAI/bge-reranker-v2-m3"))
    assert (row.name, row.slug) == ("BAAI/bge-reranker-v2-m3, as it is", "baai-bge-reranker-v2-m3-as-it-is")
    assert Fused(row).name == "BAAI/bge-reranker-v2-m3, as it is, with BM25"


@pytest.mark.parametrize(
    ("further", "message"),
    [
        ({"fuse": ["ML-SC"]}, "fuse names 'ML-SC'; did you mean 'ML-CS'"),
        ({"fuse": ["me6"]}, "fuse names 'me6'; valid names: Zero-shot, ML-CS, "),
        ({"training": {"dev_queries": 0}}, r"set training\.dev_queries, e\.g\. to 150, or fuse 'ML-CS \(rrf\)'"),
        (
            {"untouched": ["a/x", {"dual_encoder": "a/x"}], "fuse": []},
            "two untouched encoders are called 'a/x, as it is'",
        ),
    ],
)
def test_mistakes_are_refused_at_once(profile, tmp_path, further, message):
    with pytest.raises(CslabError, match=message):
        open_lab(profile(**further), outputs=tmp_path / "out")
    assert not list(tmp_path.rglob("*.json"))


def test_an_encoder_without_a_head_is_refused_before_anything_is_trained(profile, folders, tmp_path):
    lab = open_lab(profile(untouched=[str(folders / "dual")], fuse=[]), outputs=tmp_path / "out")
    with pytest.raises(CslabError, match="neither a trained head nor a recipe of sentence-transformers; say"):
        lab.scores()
    assert not (lab.folder / "models").exists()
    card = {path.name for path in lab.folder.iterdir()}
    assert card <= {"collections", "runs", "tokens"}, json.dumps(sorted(card))
