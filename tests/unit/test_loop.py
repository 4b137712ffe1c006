"""The training loop."""

import json

import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker

from cslab.collections.collection import Collection
from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import load_encoder, score_pairs
from cslab.ranking.pair_tokens import pair_tokens
from cslab.store import CslabError
from cslab.training import record
from cslab.training.auxiliary import Alignment
from cslab.training.batches import Plan, batches
from cslab.training.compiling import graphs_pay, width_multiple
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.loop import TrainSettings, learning_rate, parameter_groups, train
from cslab.training.losses import LOSSES, alignment, bce
from cslab.training.pairs import sample_pairs
from cslab.training.robust import Given, adversary
from tests.tiny import LETTERS, WORDS, tiny_encoder

pytestmark = pytest.mark.numbers

NOUNS = ["fox", "hen", "barn", "wolf", "cat", "moon", "sun", "river"]
DOCUMENTS = {f"{a}-{b}": f"the {a} is in the {b}" for a in NOUNS for b in NOUNS}
QUERIES = {did: f"where is the {did.split('-')[0]} ? the {did.split('-')[1]}" for did in DOCUMENTS}
COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": {q: {q: 1} for q in QUERIES}})
LEXICON = Lexicon.from_pairs("en", "ru", [(noun, LETTERS[26 + i]) for i, noun in enumerate(NOUNS)])
PAIRS = sample_pairs(COLLECTION, negatives=1, seed=0)
SETTINGS = TrainSettings(steps=20, batch=8, lr=1e-3, max_length=32, window=3, log_every=4, save_every=5, seed=7)


def switched_texts():
    return pair_texts(CONDITIONS["ML-CS"], PAIRS, COLLECTION, {"ru": LEXICON}, seed=1)


def read_log(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def changed(**values) -> TrainSettings:
    return TrainSettings(**{**SETTINGS.__dict__, **values})


def test_training_learns_a_toy_task(tmp_path):
    texts = pair_texts(CONDITIONS["Zero-shot"], PAIRS, COLLECTION, {}, seed=1)
    lines: list[str] = []
    encoder = tiny_encoder(tmp_path / "tiny", hidden=64, dropout=0.0)
    settings = changed(steps=200, batch=32, lr=3e-3, log_every=20, save_every=0)
    summary = train(encoder, PAIRS, texts, settings, tmp_path / "run", progress=lines.append)
    log = read_log(tmp_path / "run")
    assert [row["step"] for row in log] == list(range(20, 201, 20))
    assert log[0].keys() == {"step", "loss", "pairs_per_s", "padding", "tflops", "lr", "seconds"}
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]
    assert summary["steps"] == 200
    assert summary["loss"] == log[-1]["loss"]
    assert summary["device"] == "cpu"
    assert summary["learnt"]
    assert len(lines) == 11
    assert "fp32 (" in lines[0]
    saved = load_encoder(tmp_path / "run" / "model", device="cpu")
    scores = score_pairs(saved, texts(0, range(len(PAIRS))))
    assert scores[PAIRS.labels == 1].mean() > scores[PAIRS.labels == 0].mean() + 1
    assert saved.max_length == 32
    np.testing.assert_array_equal(scores, score_pairs(encoder, texts(0, range(len(PAIRS)))))
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text())
    assert card["training"]["steps"] == 200
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def weights_of(folder) -> dict[str, torch.Tensor]:
    return load_encoder(folder / "model", device="cpu").model.state_dict()


@pytest.mark.parametrize("method", ["none", "fgm", "worst-of-k"])
def test_a_beginning_that_is_shared_gives_the_weights_of_one_that_is_not(method, tmp_path):
    settings, texts = changed(clean_steps=10), switched_texts()

    def trained(folder, name, **given) -> list[int]:
        encoder, asked = tiny_encoder(tmp_path / "tiny"), []
        attack = adversary(name, Given(encoder, PAIRS, texts, 32, {"ru": LEXICON}), **({"k": 2} if "k" in name else {}))

        def step(model, batch, *rest):
            asked.append(batch.step)
            return attack(model, batch, *rest)

        step.key = name
        train(encoder, PAIRS, texts, settings, tmp_path / folder, attack and step, progress=None, **given)
        return asked

    trained("begun", "none", until=10)
    assert not (tmp_path / "begun" / "model").exists()
    steps = [] if method == "none" else list(range(10, 20))
    assert trained("alone", method) == trained("shared", method, beginning=tmp_path / "begun") == steps
    alone, shared = weights_of(tmp_path / "alone"), weights_of(tmp_path / "shared")
    assert all(torch.equal(alone[name], shared[name]) for name in alone)
    logs = [[(row["step"], row["loss"]) for row in read_log(tmp_path / name)] for name in ("alone", "shared")]
    assert logs[0] == logs[1]


def test_a_beginning_of_something_else_is_refused(tmp_path):
    def trained(folder, lr=1e-3, **given):
        start, settings = tiny_encoder(tmp_path / "tiny"), changed(clean_steps=10, lr=lr)
        train(start, PAIRS, switched_texts(), settings, tmp_path / folder, progress=None, **given)

    trained("further", until=15)
    with pytest.raises(CslabError, match="beginning of 15 steps; no more than 10"):
        trained("run", beginning=tmp_path / "further")
    with pytest.raises(CslabError, match="of another training"):
        trained("run", lr=1e-4, beginning=tmp_path / "further")
    with pytest.raises(CslabError, match="leave some for the robust method"):
        changed(clean_steps=20)


def test_switching_sets_in_when_it_is_told_to(tmp_path):
    tokenizer, switched = tiny_encoder(tmp_path / "tiny").tokenizer, switched_texts()
    plain = pair_texts(CONDITIONS["Zero-shot"], PAIRS, COLLECTION, {}, seed=1)
    plan = Plan(len(PAIRS), 8, 3, 7)
    assert plan.steps > 7
    drawn = list(batches(plan, PAIRS, switched, tokenizer, 32, range(plan.steps + 2), unswitched=7))
    for batch in drawn:  # the third window begins with step 6 and has steps of both kinds
        texts = plain if batch.step < 7 else switched
        expected = pair_tokens(tokenizer, texts(batch.epoch, batch.rows.tolist()), 32).batch(np.arange(8))
        assert torch.equal(batch.inputs["input_ids"], expected["input_ids"]), batch.step
    rows = np.concatenate([batch.rows for batch in drawn[: plan.steps]])
    assert len(set(rows.tolist())) == len(rows)
    later = list(batches(plan, PAIRS, switched, tokenizer, 32, range(8, plan.steps + 2), unswitched=7))
    assert [b.rows.tolist() for b in later] == [b.rows.tolist() for b in drawn[8:]]

    for name, texts, settings in (("a", plain, SETTINGS), ("b", switched, changed(unswitched_steps=20))):
        train(tiny_encoder(tmp_path / "tiny"), PAIRS, texts, settings, tmp_path / name, progress=None)
    a, b = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_that_learns_nothing_says_so(tmp_path):
    texts = pair_texts(CONDITIONS["Zero-shot"], PAIRS, COLLECTION, {}, seed=1)
    lines: list[str] = []
    encoder = tiny_encoder(tmp_path / "tiny", hidden=64, dropout=0.0)
    summary = train(encoder, PAIRS, texts, changed(lr=1e-9), tmp_path / "run", progress=lines.append)
    assert not summary["learnt"]
    assert lines[-1].startswith("nothing was learnt: ")
    assert "that of guessing (0.693)" in lines[-1]  # one of two is right: ln 2


def test_resumed_training_ends_with_the_same_weights(tmp_path, monkeypatch, one_thread):
    straight = tiny_encoder(tmp_path / "a")
    train(straight, PAIRS, switched_texts(), SETTINGS, tmp_path / "straight", progress=None)

    count, calls = record.Record.count, []

    def killed(self, batch, loss):
        count(self, batch, loss)
        calls.append(batch.step)
        if batch.step == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(record.Record, "count", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_encoder(tmp_path / "b"), PAIRS, switched_texts(), SETTINGS, tmp_path / "cut", progress=None)
    monkeypatch.setattr(record.Record, "count", count)
    torch.rand(17)  # whatever else happened in the process does not matter
    resumed = tiny_encoder(tmp_path / "c")
    train(resumed, PAIRS, switched_texts(), SETTINGS, tmp_path / "cut", progress=None)
    assert calls == list(range(13))
    for name, tensor in straight.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    logs = [read_log(tmp_path / name) for name in ("straight", "cut")]
    for name in ("step", "loss", "lr"):
        assert [row[name] for row in logs[0]] == pytest.approx([row[name] for row in logs[1]])


@pytest.mark.parametrize("loss", [name for name in LOSSES if LOSSES[name].grouped])
def test_every_loss_of_groups_trains(tmp_path, loss):
    encoder = tiny_encoder(tmp_path / "tiny", dropout=0.0)
    summary = train(encoder, PAIRS, switched_texts(), changed(loss=loss, steps=8, log_every=8), tmp_path, progress=None)
    assert np.isfinite(summary["loss"])
    with pytest.raises(CslabError, match="whole groups of 2; use 8"):
        train(encoder, PAIRS, switched_texts(), changed(loss=loss, batch=7), tmp_path, progress=None)


def test_the_seed_decides(tmp_path, one_thread):
    weights = []
    for number, seed in enumerate((7, 7, 8)):
        encoder = tiny_encoder(tmp_path / "tiny")
        train(encoder, PAIRS, switched_texts(), changed(steps=4, seed=seed), tmp_path / str(number), progress=None)
        weights.append(encoder.model.classifier.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_frozen_embeddings_stay(tmp_path):
    encoder = tiny_encoder(tmp_path / "tiny")
    table = encoder.model.get_input_embeddings().weight.detach().clone()
    train(encoder, PAIRS, switched_texts(), changed(steps=3, train_embeddings=False), tmp_path / "run", progress=None)
    assert torch.equal(table, encoder.model.get_input_embeddings().weight)
    train(encoder, PAIRS, switched_texts(), changed(steps=3), tmp_path / "again", progress=None)
    assert not torch.equal(table, encoder.model.get_input_embeddings().weight)


def test_bf16_is_close_to_fp32(tmp_path):
    losses = []
    for precision in ("fp32", "bf16"):
        encoder = tiny_encoder(tmp_path / "tiny")
        settings = changed(steps=8, precision=precision)
        losses.append(train(encoder, PAIRS, switched_texts(), settings, tmp_path / precision, progress=None)["loss"])
        assert next(encoder.model.parameters()).dtype == torch.float32
    assert losses[0] == pytest.approx(losses[1], abs=0.02)


def test_decay_spares_vectors(tmp_path):
    model = tiny_encoder(tmp_path).model
    decayed, spared = parameter_groups(model, 0.01)
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") and "LayerNorm" not in names[id(p)] for p in decayed["params"])
    assert all("bias" in names[id(p)] or "LayerNorm" in names[id(p)] for p in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_schedules():
    paper = TrainSettings(steps=200, warmup=5, lr=1.0, schedule="paper")
    assert learning_rate(4, paper) == learning_rate(5, paper) == 1.0
    assert learning_rate(199, paper) == pytest.approx(0.37, abs=0.01)
    linear = TrainSettings(steps=200, warmup=0, lr=1.0)
    assert [learning_rate(s, linear) for s in (0, 100, 199)] == pytest.approx([1.0, 0.5, 0.005])
    assert TrainSettings(steps=200, warmup=0.1).warmup_steps == 20


def test_an_adversary_takes_the_place_of_the_plain_step(tmp_path, one_thread):
    calls = []

    def twice_half(model, batch, loss_of, backward):
        for _ in range(2):
            loss = loss_of(batch.inputs)
            backward(loss / 2)
        calls.append(batch.step)
        return loss

    plain, attacked = tiny_encoder(tmp_path / "a", dropout=0.0), tiny_encoder(tmp_path / "b", dropout=0.0)
    train(plain, PAIRS, switched_texts(), changed(steps=3), tmp_path / "plain", progress=None)
    train(attacked, PAIRS, switched_texts(), changed(steps=3), tmp_path / "attacked", twice_half, progress=None)
    assert calls == [0, 1, 2]
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(tensor, attacked.model.state_dict()[name], msg=name)


def test_accumulated_parts_make_the_same_update(tmp_path, one_thread):
    weights = []
    for parts in (1, 4):
        encoder = tiny_encoder(tmp_path / "tiny", dropout=0.0)
        settings = changed(steps=5, accumulate=parts, precision="fp32")
        train(encoder, PAIRS, switched_texts(), settings, tmp_path / str(parts), progress=None)
        weights.append(encoder.model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=1e-5, msg=name)
    rows = [read_log(tmp_path / str(parts)) for parts in (1, 4)]
    assert rows[0][0]["loss"] == pytest.approx(rows[1][0]["loss"], abs=1e-5)
    assert rows[1][0]["padding"] <= rows[0][0]["padding"]


def test_parts_that_are_not_alike_are_refused(tmp_path):
    with pytest.raises(CslabError, match=r"does not part evenly among 1 processes × 3 .* multiple of 3, e.g. 9"):
        train(tiny_encoder(tmp_path), PAIRS, switched_texts(), changed(accumulate=3), tmp_path / "run", progress=None)
    assert not (tmp_path / "run").exists()


def test_alignment_reads_every_pair_twice(tmp_path):
    encoder, rows = tiny_encoder(tmp_path / "tiny", dropout=0.0), range(len(PAIRS))
    plain = pair_texts(CONDITIONS["Zero-shot"], PAIRS, COLLECTION, {}, seed=1)
    readings = [score_pairs(encoder, texts(0, rows), precision="fp32") for texts in (switched_texts(), plain)]
    groups = [torch.from_numpy(values).view(-1, 2) for values in (*readings, PAIRS.labels)]
    expected = bce(groups[0], groups[2]) + 0.5 * alignment(*groups)
    auxiliary = Alignment(plain, PAIRS, encoder.tokenizer, 32, weight=0.5)
    settings = changed(steps=1, batch=len(PAIRS), precision="fp32")
    summary = train(encoder, PAIRS, switched_texts(), settings, tmp_path / "run", auxiliary, progress=None)
    assert summary["loss"] == pytest.approx(expected.item(), abs=1e-5)
    with pytest.raises(CslabError, match="whole groups of 2"):
        train(encoder, PAIRS, switched_texts(), changed(batch=7), tmp_path / "odd", auxiliary, progress=None)


def test_trackers_get_what_the_log_gets(tmp_path):
    class Kept(GeneralTracker):
        name, requires_logging_directory, tracker = "kept", False, None

        def __init__(self):
            super().__init__()
            self.rows, self.settings, self.over = [], {}, False

        def store_init_configuration(self, values):
            self.settings = values

        def log(self, values, step=None, **_):
            self.rows.append((step, values))

        def finish(self):
            self.over = True

    kept = Kept()
    train(tiny_encoder(tmp_path), PAIRS, switched_texts(), SETTINGS, tmp_path / "run", progress=None, trackers=[kept])
    assert kept.settings["steps"] == 20
    assert [step for step, _ in kept.rows] == [4, 8, 12, 16, 20]
    assert kept.rows[0][1]["loss"] == read_log(tmp_path / "run")[0]["loss"]
    assert kept.over


@pytest.mark.parametrize(
    ("name", "message"), [("wandbb", "did you mean 'wandb'"), ("aim", "'aim' is not installed; pip install aim")]
)
def test_trackers_that_are_not_there_are_named(tmp_path, monkeypatch, name, message):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(CslabError, match=message):
        train(tiny_encoder(tmp_path), PAIRS, switched_texts(), SETTINGS, tmp_path / "run", trackers=[name])


def test_the_model_is_compiled_if_asked_for(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, mode: compiled.append(mode) or model)
    train(tiny_encoder(tmp_path), PAIRS, switched_texts(), changed(steps=2), tmp_path / "no", progress=None)
    assert not compiled
    train(
        tiny_encoder(tmp_path), PAIRS, switched_texts(), changed(steps=2, compile=True), tmp_path / "a", progress=None
    )
    assert compiled == [None], "no CUDA graphs on a CPU"


def test_a_compiled_training_is_the_plain_one_and_is_compiled_once(tmp_path, monkeypatch, one_thread):
    graphs, weights, compiling = [], [], torch.compile

    def counted(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def texts(epoch, rows):
        return [(WORDS[i % 20], " ".join(WORDS[: 1 + (i + epoch) % 9])) for i in rows]

    monkeypatch.setattr(torch, "compile", lambda model, mode: compiling(model, backend=counted))
    for compiled in (False, True):
        encoder = tiny_encoder(tmp_path / "tiny", dropout=0.0)
        settings = changed(steps=12, compile=compiled, precision="bf16")
        train(encoder, PAIRS, texts, settings, tmp_path / str(compiled), progress=None)
        weights.append(encoder.model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=0, atol=1e-4, msg=name)
    assert len(graphs) == 1, "one for all lengths"


def test_graphs_pay_for_small_encoders_on_a_gpu(tmp_path):
    model, gpu = tiny_encoder(tmp_path).model, torch.device("cuda")
    assert graphs_pay(model, gpu, pairs=64, length=64)
    assert not graphs_pay(model, torch.device("cpu"), pairs=64, length=64)
    assert not graphs_pay(model, gpu, pairs=1 << 20, length=512)


@pytest.mark.parametrize("length", [8, 64, 96, 100, 256, 512])
def test_graphs_are_made_for_few_lengths(length):
    multiple = width_multiple(torch.device("cuda"), length, graphs=True)
    assert multiple % 8 == 0
    assert len({-(-one // multiple) for one in range(1, length + 1)}) <= 8
    assert width_multiple(torch.device("cuda"), length, graphs=False) == 8
    assert width_multiple(torch.device("cpu"), length, graphs=False) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"warmup": -1}, "warmup is -1"),
        ({"batch": 2.5}, r"batch is 2\.5; it must be a whole number"),
        ({"schedule": "liner"}, "did you mean 'linear'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"accumulate": 0}, "accumulate is 0; it must be above 0"),
        ({"workers": -1}, "workers is -1; it must not be negative"),
        ({"patience": 2}, "patience is 2 but evaluate_every is 0"),
        ({"precision": "fp16"}, "precision 'fp16' is not known"),
        ({"loss": "bcee"}, "did you mean 'bce'"),
    ],
)
def test_settings_out_of_range_are_named(values, message):
    with pytest.raises(CslabError, match=message):
        TrainSettings(**values)


def test_words_are_known():
    assert set(NOUNS) <= set(WORDS)


def test_frozen_layers_stay_with_all_below_them(tmp_path):
    encoder = tiny_encoder(tmp_path / "tiny")
    before = {name: weight.clone() for name, weight in encoder.model.state_dict().items()}
    train(encoder, PAIRS, switched_texts(), changed(steps=3, frozen_layers=1), tmp_path / "run", progress=None)
    moved = {name for name, weight in encoder.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert not [name for name in moved if "embeddings" in name or ".layer.0." in name]
    assert [name for name in moved if ".layer.1." in name]
    with pytest.raises(CslabError, match="9 frozen layers of 2; leave some"):
        train(encoder, PAIRS, switched_texts(), changed(frozen_layers=9), tmp_path / "all", progress=None)
