"""Teachers: labels of the English text by encoders and runs, conditions that learn them, and what is refused."""

import json

import numpy as np
import pytest
from transformers import BertModel

from cslab.choices import EncoderChoice, TeacherSettings
from cslab.collections.beir import read_unlabelled
from cslab.collections.collection import Collection
from cslab.collections.trec import Run, write_run
from cslab.config import make_profile
from cslab.held_out import held_out_table
from cslab.ranking.cosine import TextVectors, dense_run
from cslab.ranking.cross_encoder import load_encoder, score_pairs
from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder
from cslab.ranking.first_stage import build_index
from cslab.ranking.kinds import chosen, kind_of
from cslab.stages import open_lab
from cslab.store import CslabError
from cslab.training.pairs import sample_pairs
from cslab.training.teachers import teach, teacher_ranking
from tests.tiny import WORDS, tiny_encoder

DOCUMENTS = {f"d{i}": f"the {WORDS[i % 20]} and the {WORDS[(i * 7 + 3) % 20]}" for i in range(40)}
QUERIES = {f"q{i}": f"where is the {WORDS[i]}" for i in range(8)}
COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": {f"q{i}": {f"d{i}": 1} for i in range(8)}})
PAIRS = sample_pairs(COLLECTION, negatives=3, seed=1)
TEXTS = [(QUERIES[q], DOCUMENTS[d]) for q, d in zip(PAIRS.qids.tolist(), PAIRS.dids.tolist(), strict=True)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A reranker, a sentence encoder, an encoder of neither kind, and a classifier of two labels."""
    home = tmp_path_factory.mktemp("encoders")
    encoder = tiny_encoder(home / "tiny")
    bare = BertModel(encoder.model.config, add_pooling_layer=False)
    for name in ("cross", "dual", "bare", "two"):
        encoder.tokenizer.save_pretrained(home / name)
        (encoder.model if name in ("cross", "two") else bare).save_pretrained(home / name)
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds]
    (home / "dual" / "modules.json").write_text(json.dumps(modules))
    (home / "dual" / "1_Pooling").mkdir()
    (home / "dual" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    config = json.loads((home / "two" / "config.json").read_text())
    (home / "two" / "config.json").write_text(json.dumps(config | {"id2label": {"0": "no", "1": "yes"}}))
    return home


def settings(*models, **further) -> TeacherSettings:
    return TeacherSettings(models=list(models), **further)


def test_the_kind_follows_from_the_files(folders):
    assert [kind_of(str(folders / name)) for name in ("cross", "dual")] == ["cross", "dual"]
    assert kind_of("minilm") == kind_of("me5") == "dual"
    assert chosen(EncoderChoice(dual_encoder=str(folders / "bare"))) == ("dual", str(folders / "bare"))
    for name, message in (("bare", "neither a trained head nor a recipe"), ("two", "its head has 2 labels")):
        with pytest.raises(CslabError, match=message):
            kind_of(str(folders / name))
    with pytest.raises(CslabError, match="no trained head with one label"):
        chosen(EncoderChoice(cross_encoder=str(folders / "dual")))


def test_labels_are_scaled_cosines_and_a_bonus_for_the_judged(folders):
    name = str(folders / "dual")
    taught, report = teach(PAIRS, COLLECTION, settings(name), "fp32")
    encoder = load_dual_encoder(name)
    queries, documents = ([pair[side] for pair in TEXTS] for side in (0, 1))
    cosines = (embed_texts(encoder, queries) * embed_texts(encoder, documents)).sum(1).numpy()
    assert taught.labels == pytest.approx(40 * cosines + 3 * PAIRS.labels, abs=1e-3)
    assert taught.labels.dtype == np.float32
    assert (taught.qids.tolist(), taught.dids.tolist()) == (PAIRS.qids.tolist(), PAIRS.dids.tolist())
    rows = 40 * cosines.reshape(-1, 4)
    assert report["agreement"] == pytest.approx(np.mean(rows.argmax(1) == 0), abs=1e-4)
    assert report["mean margin"] == pytest.approx(np.mean(rows[:, 0] - rows[:, 1:].max(1)), abs=1e-3)
    fewer, _ = teach(PAIRS, COLLECTION, settings(name, scale=2, bonus=0), "fp32")
    assert fewer.labels == pytest.approx(2 * cosines, abs=1e-4)


def test_a_cross_encoder_gives_its_logits(folders):
    name = str(folders / "cross")
    taught, _ = teach(PAIRS, COLLECTION, settings({"cross_encoder": name}, bonus=0), "fp32")
    assert taught.labels == pytest.approx(score_pairs(load_encoder(name), TEXTS, precision="fp32"), abs=1e-5)


def test_a_run_gives_its_scores_and_the_lowest_to_what_it_lacks(tmp_path):
    scores = {q: {d: 5.0, "d39": 1.0} for q, d in zip(QUERIES, DOCUMENTS, strict=False)}
    write_run(Run("known", "en", "en", "known", scores), tmp_path / "known.trec")
    taught, report = teach(PAIRS, COLLECTION, settings({"run": str(tmp_path / "known.trec")}, bonus=0))
    assert taught.labels.reshape(-1, 4).tolist() == [[5, 1, 1, 1]] * 8
    assert (report["agreement"], report["mean margin"], "warning" in report) == (1, 4, False)
    backwards = {q: {d: -s for d, s in found.items()} for q, found in scores.items()}
    write_run(Run("wrong", "en", "en", "wrong", backwards), tmp_path / "wrong.trec")
    # -5 is the lowest score of a question, so that all documents tie: the judged one is not first.
    _, report = teach(PAIRS, COLLECTION, settings({"run": str(tmp_path / "wrong.trec")}))
    assert report["agreement"] == 0
    assert "fewer than half" in report["warning"]
    write_run(Run("few", "en", "en", "few", {"q0": {"d0": 1.0}}), tmp_path / "few.trec")
    with pytest.raises(CslabError, match="without question 'q1'; rank all training questions"):
        teach(PAIRS, COLLECTION, settings({"run": str(tmp_path / "few.trec")}))


def test_several_are_the_mean_of_standardised_scores(folders, tmp_path):
    scores = {q: {d: 100.0, "d39": 1.0} for q, d in zip(QUERIES, DOCUMENTS, strict=False)}
    write_run(Run("known", "en", "en", "known", scores), tmp_path / "known.trec")
    run, dual = {"run": str(tmp_path / "known.trec")}, str(folders / "dual")
    alone = [teach(PAIRS, COLLECTION, settings(one, bonus=0), "fp32")[0].labels.reshape(-1, 4) for one in (run, dual)]
    both, report = teach(PAIRS, COLLECTION, settings(run, dual, bonus=0), "fp32")
    apart = [(one - one.mean(1, keepdims=True)) / one.std(1, keepdims=True) for one in alone]
    assert both.labels.reshape(-1, 4) == pytest.approx((apart[0] + apart[1]) / 2, abs=2e-3)
    assert report["teacher"] == f"{tmp_path / 'known.trec'} + {dual}"
    assert report["scale"] == 1


def test_a_dense_ranking_is_that_of_the_cosines(folders):
    vectors = TextVectors(str(folders / "dual"), precision="fp32")
    run = dense_run(vectors, QUERIES, DOCUMENTS, 5)
    scores = (vectors.of("query", list(QUERIES.values())) @ vectors.of("document", list(DOCUMENTS.values())).T).numpy()
    assert list(run.scores["q3"].values()) == pytest.approx(np.sort(scores[3])[::-1][:5].tolist(), abs=1e-6)
    found = teacher_ranking(settings(str(folders / "dual")), COLLECTION, "fp32", ["q3"])
    assert set(list(found.scores["q3"])[:5]) == set(run.scores["q3"])
    for lacking in (None, settings({"run": "x"})):
        with pytest.raises(CslabError, match="needs a dual encoder"):
            teacher_ranking(lacking, COLLECTION)


# --- an experiment -------------------------------------------------------------------------------------------

CONDITIONS = ["Zero-shot", "Zero-shot + teacher", "ML-CS + teacher"]
TRAINING = {"passages": 60, "queries": 30, "steps": 2, "batch": 10, "max_length": 16, "precision": "fp32"}


@pytest.fixture
def lab(folders, tmp_path):
    def opened(conditions=CONDITIONS, teacher=None, robust=("none",), **training):
        teacher = {"models": [str(folders / "dual")]} if teacher is None else teacher
        values = {"name": "x", "collection": {"passages": 60, "queries": 10, "languages": ["en", "de"]}}
        values |= {"training": TRAINING | training | {"teacher": teacher or None}, "conditions": list(conditions)}
        values |= {"encoder": {"name": str(folders / "cross")}, "lexicon": {"languages": ["de"]}}
        values |= {"robust": list(robust), "evaluation": {"pairs": ["en-en", "en-de"], "depth": 5, "max_length": 16}}
        return open_lab(make_profile(values), outputs=tmp_path / "out")

    return opened


def test_judged_and_taught_rankers_stand_side_by_side(lab, capsys):
    made = lab(unswitched_steps=1)
    systems = {system.name: system for system in made.systems()}
    assert [system.slug for system in systems.values()] == ["zero-shot-s1", "zero-shot+teacher-s1", "ml-cs+teacher-s1"]
    cards = {}
    for name, system in systems.items():
        cards[name] = json.loads((made.train(system).path / "model" / "card.json").read_text())
    assert [card["training"]["loss"] for card in cards.values()] == ["bce", "kl", "kl"]
    assert cards["ML-CS + teacher"]["teacher"]["groups"] == len(made.pairs()) // 5
    assert "the judged document first in" in capsys.readouterr().out
    judged, taught = made.pairs(), made.pairs(taught=True)
    assert judged.dids.tolist() == taught.dids.tolist()
    assert set(judged.labels.tolist()) == {0, 1}
    assert len(set(taught.labels.tolist())) > 10
    texts = made.texts(systems["ML-CS + teacher"])(0, range(10))
    assert texts != made.texts(systems["Zero-shot + teacher"])(0, range(10))
    other = lab(teacher={"models": [str(made.profile.encoder.name)], "bonus": 1})
    same = {name for name, s in systems.items() if other._model(s).key == lab()._model(s).key}
    assert same == {"Zero-shot"}  # judged pairs and rankers do not depend on the teacher


@pytest.mark.parametrize("loss", ["kl", "margin-mse"])
@pytest.mark.parametrize(("robust", "further"), [("fgm", {}), ("none", {"align": 0.5})])
def test_robust_methods_alignment_and_held_out_questions_go_with_a_teacher(lab, folders, loss, robust, further):
    teacher = {"models": [str(folders / "dual")], "loss": loss}
    made = lab(["ML-CS + teacher"], teacher, [robust], dev_queries=6, **further)
    table = held_out_table(made)
    assert table.shape == (1, 2)
    assert table.notna().all(axis=None)


def test_a_teacher_keeps_hard_negatives_out_and_ranks_them(lab, folders):
    few = {"negatives": 2, "passages": 200, "batch": 9}
    plain, dense = lab(**few), lab(**few, negatives_from="dense")
    filtered = lab(**few, teacher={"models": [str(folders / "dual")], "margin": 0.0})

    def beaten(made) -> float:
        rows = made.pairs(taught=True).labels.reshape(-1, 3)
        return float((rows[:, 1:] > rows[:, :1] - 3).mean())

    assert beaten(filtered) < beaten(plain) / 2
    questions = dense.training_collection()
    ranked = teacher_ranking(dense.profile.training.teacher, questions, "fp32", list(questions.queries["en"]))
    pairs = dense.pairs()
    drawn = list(zip(pairs.qids.tolist(), pairs.dids.tolist(), pairs.labels.tolist(), strict=True))
    assert all(did in ranked.scores[qid] for qid, did, label in drawn if not label)


@pytest.fixture
def unlabelled(tmp_path):
    """A folder of eight questions, one of which no passage answers a word of, and forty passages."""
    texts = {"queries": {f"u{q}": text for q, text in QUERIES.items()} | {"none": "xyzzy"}}
    texts["corpus"] = {f"u{d}": text for d, text in DOCUMENTS.items()}
    (tmp_path / "more").mkdir()
    for stem, held in texts.items():
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in held.items())
        (tmp_path / "more" / f"{stem}.jsonl").write_text("".join(lines))
    return str(tmp_path / "more")


@pytest.mark.parametrize("source", ["bm25", "dense"])
def test_questions_without_judgements_are_labelled_by_the_teacher_alone(lab, folders, unlabelled, source):
    plain, made = lab(negatives_from=source), lab(unlabelled=[unlabelled], negatives_from=source)
    judged, taught = made.pairs(), made.pairs(taught=True)
    assert judged.key() == plain.pairs().key()  # rankers without a teacher know nothing of them
    further = taught.qids[len(judged) :].reshape(-1, 5)
    assert set(further[:, 0]) == {f"u{q}" for q in QUERIES} | ({"none"} if source == "dense" else set())
    assert (further == further[:, :1]).all()
    dids = taught.dids[len(judged) :].reshape(-1, 5)
    assert all(len(set(group)) == 5 for group in dids.tolist())
    if source == "bm25":
        index = build_index({f"u{d}": text for d, text in DOCUMENTS.items()}, "en")
        best = zip(further[:, 0].tolist(), dids[:, 0].tolist(), strict=True)
        assert all(did == next(iter(index.search(QUERIES[qid[1:]], 100))) for qid, did in best)
    vectors = TextVectors(str(folders / "dual"), precision="fp32")
    first, asked = DOCUMENTS[dids[0, 0][1:]], QUERIES[further[0, 0][1:]]
    assert taught.labels[len(judged)] == pytest.approx(40 * vectors.cosines([asked], [first])[0], abs=1e-3)
    report = made._taught.make().summary
    assert (report["groups"], report["unjudged groups"]) == (len(judged) // 5, len(further))
    systems = {system.name: system for system in made.systems()}
    assert made._model(systems["Zero-shot"]).key == plain._model(systems["Zero-shot"]).key
    assert made.texts(systems["Zero-shot + teacher"])(0, [len(judged)]) == [(asked, first)]
    made.train(systems["ML-CS + teacher"])


def test_the_unlabelled_questions_of_a_split(tmp_path, unlabelled):
    (tmp_path / "more" / "queries.train.jsonl").write_text('{"_id": "one", "text": "where is the fox"}\n')
    assert set(read_unlabelled([f"{unlabelled}:train"]).queries["en"]) == {"one"}
    assert len(read_unlabelled([unlabelled]).queries["en"]) == 9


def test_unlabelled_text_is_checked(lab, tmp_path, unlabelled):
    with pytest.raises(CslabError, match="questions without judgements need a teacher"):
        lab(["Zero-shot"], teacher=False, unlabelled=[unlabelled])
    with pytest.raises(CslabError, match="'uq0' is in an earlier folder too"):
        lab(unlabelled=[unlabelled, unlabelled]).pairs(taught=True)
    with pytest.raises(CslabError, match=r"training\.unlabelled: 'nowhere' is not in"):
        lab(unlabelled=["nowhere"]).pairs(taught=True)
    (tmp_path / "more" / "corpus.jsonl").write_text('{"_id": "a", "text": "fox"}\n')
    with pytest.raises(CslabError, match="no question has 5 candidates"):
        lab(unlabelled=[unlabelled]).pairs(taught=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"loss": "kl"},
            r"training\.loss=kl learns a teacher's scores; write training\.teacher=\{models: \[me5\], loss",
        ),
        ({"margin": 1.0}, r"training\.margin is a part of the teacher; write .*margin: 1\.0\}"),
        ({"teacher": "me5"}, r"'me5' is one name; write training\.teacher=\{models: \[me5\]\}"),
        ({"teacher": {"models": ["a", "b"], "margin": 1.0}}, "scores of several models are no scores of one"),
        ({"teacher": {"models": [{"run": "a", "name": "b"}]}}, "give one name"),
        (
            {"teacher": {"models": [{"rum": "a"}]}},
            r"unknown key 'training\.teacher\.models\.0\.rum'; did you mean 'run'",
        ),
        ({"teacher": {"models": ["a"], "bonos": 1}}, r"unknown key 'training\.teacher\.bonos'; did you mean 'bonus'"),
    ],
)
def test_older_spellings_and_mistakes_are_refused(values, message):
    with pytest.raises(CslabError, match=message):
        make_profile({"name": "x", "training": values})


def test_a_condition_with_a_teacher_needs_one(lab):
    with pytest.raises(CslabError, match=r"Zero-shot \+ teacher has no teacher; name one, e\.g\. training\.teacher="):
        lab(teacher=False)
    with pytest.raises(CslabError, match=r"learns whole groups of 5 pairs, batches have 16; set training\.batch=15"):
        lab(batch=16)
    assert next(lab(["Zero-shot"], batch=16).systems()).name == "Zero-shot"
