"""What a profile says of training reaches the loop: losses, teachers, given runs, dev pairs."""

import json

import pytest

from cslab.collections.trec import Run, write_run
from cslab.config import make_profile
from cslab.stages import open_lab
from cslab.store import CslabError
from tests.tiny import tiny_encoder

COLLECTION = {"passages": 60, "queries": 20, "languages": ["en", "de"]}
TRAINING = {"passages": 60, "queries": 40, "steps": 2, "batch": 10, "max_length": 16, "precision": "fp32"}


@pytest.fixture
def lab(tmp_path):
    encoder = tiny_encoder(tmp_path / "tiny")
    encoder.model.save_pretrained(tmp_path / "encoder")
    encoder.tokenizer.save_pretrained(tmp_path / "encoder")

    def opened(**training):
        values = {"name": "x", "collection": COLLECTION, "training": TRAINING | training, "conditions": ["Zero-shot"]}
        values |= {"encoder": {"name": str(tmp_path / "encoder")}, "lexicon": {"languages": ["de"]}}
        return open_lab(make_profile(values), outputs=tmp_path / "out")

    return opened


def system_of(lab):
    return next(iter(lab.systems()))


def test_settings_reach_the_loop_and_dev_pairs_are_held_out(lab):
    dev = {"dev_queries": 6, "dev_pairs": ["en-en", "en-de"], "evaluate_every": 1}
    made = lab(loss="lce", schedule="cosine", accumulate=2, align=0.5, **dev)
    stage = made.train(system_of(made))
    card = json.loads((stage.path / "model" / "card.json").read_text())["training"]
    assert [card[name] for name in ("loss", "schedule", "accumulate", "evaluate_every")] == ["lce", "cosine", 2, 1]
    rows = [json.loads(line) for line in (stage.path / "dev.jsonl").read_text().splitlines()]
    assert [row.keys() for row in rows] == [{"step", "mean", "en-en", "en-de"}] * 2
    assert (stage.path / "last" / "config.json").is_file()
    assert len(set(made.pairs().qids)) == 34


def test_a_teacher_labels_and_filters_pairs_of_given_runs(lab, tmp_path):
    plain = lab()
    queries, documents = plain.training_collection().queries["en"], list(plain.training_collection().documents["en"])
    ranked = {qid: {did: 1.0 / (rank + 1) for rank, did in enumerate(documents[:30])} for qid in queries}
    write_run(Run("given", "en", "en", "given@30", ranked), tmp_path / "given.trec")
    teacher = {"models": [str(tmp_path / "encoder")], "margin": 0.0}
    taught = lab(teacher=teacher, runs=[str(tmp_path / "given.trec")])
    pairs = taught.pairs(taught=True)
    assert len(set(pairs.labels.tolist())) > 2
    assert plain._pairs.key != taught._pairs.key
    assert plain._pairs.key == lab(teacher=teacher | {"margin": None})._pairs.key  # labels alone draw no pairs


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"negatives_from": "dense"}, "training.negatives_from=dense needs a dual encoder"),
        ({"evaluate_every": 1}, "no queries are held out; set training.dev_queries"),
        ({"loss": "lce", "batch": 12}, "cannot hold whole groups of 5; use 10"),
        ({"runs": ["nowhere.trec"]}, "'nowhere.trec' is not in"),
    ],
)
def test_mistakes_are_named(lab, training, message):
    made = lab(**training)
    with pytest.raises(CslabError, match=message):
        made.train(system_of(made))
