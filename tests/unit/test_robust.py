"""Robust training: at rest every method is the plain step; moves stay in the ball; choices are the worst ones."""

import numpy as np
import pytest
import torch

from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.pair_tokens import pair_tokens
from cslab.store import CslabError, fingerprint
from cslab.switching import POLICIES, Key
from cslab.switching.draw import SIDES
from cslab.switching.tokens import TokenSwitcher
from cslab.training import ball
from cslab.training.ball import Ball, embedding_table, shifted
from cslab.training.batches import Plan, batches
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.flips import _gains
from cslab.training.loop import Objective, train
from cslab.training.losses import LOSSES
from cslab.training.reading import part_key, texts_key
from cslab.training.robust import ROBUST, adversary, cost, steps_within
from cslab.training.variants import Given, OnText
from tests.tiny import LETTERS, WORDS, tiny_encoder
from tests.unit.test_loop import COLLECTION, LEXICON, PAIRS, SETTINGS, changed

pytestmark = pytest.mark.numbers

SYNONYMS = Lexicon.from_pairs("en", "en", [("zebra", "okapi")])
GERMAN = Lexicon.from_pairs("en", "ru", [(word, letter) for word, letter in zip(WORDS, LETTERS, strict=False)])
AT_REST = {
    "rs-rp": {"epsilon": 0.0},
    "fgm": {"epsilon": 0.0},
    "pgd": {"epsilon": 0.0},
    "freelb": {"epsilon": 0.0},
    "smart": {"epsilon": 0.0},
    "worst-of-k": {"k": 1},
    "gradient-guided": {"share": 0.0},
    "rs-da": {},
    "worst-of-k+freelb": {"k": 1, "epsilon": 0.0},
}
# Nothing is left out of the computation: the move, the switching or the ascent is there and does nothing.
IDLE = {
    "freelb": {"steps": 1, "start": 0.0},
    "gradient-guided": {"share": 0.0, "clean": 0.0},
    "worst-of-k": {"k": 3, "policy": "RS-DA"},
    "rs-da": {"clean": 0.5},
}


def given(folder, condition="ML-CS", lexicons=None, seed=0) -> Given:
    lexicons = lexicons or {"ru": LEXICON}
    texts = pair_texts(CONDITIONS[condition], PAIRS, COLLECTION, lexicons if condition == "ML-CS" else {}, seed=1)
    return Given(tiny_encoder(folder, seed), PAIRS, texts, 32, lexicons | {"en": SYNONYMS})


def batch_of(held: Given, size: int = 8):
    plan = Plan(len(PAIRS), size, 3, 7)
    return next(batches(plan, PAIRS, held.texts, held.encoder.tokenizer, held.max_length, range(1)))


def gradients(held: Given, batch, attack, seed: int = 3) -> dict[str, torch.Tensor]:
    model = held.encoder.model.train()
    model.zero_grad()
    objective = Objective(model, batch.labels, LOSSES["bce"].compute, "fp32")
    torch.manual_seed(seed)
    if attack is None:
        loss = objective(batch.inputs)
        loss.backward()
    else:
        loss = attack(model, batch, objective, torch.Tensor.backward)
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    return found | {"loss": loss.detach()}


def same(one, other) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("condition", ["Zero-shot", "ML-CS"])
@pytest.mark.parametrize("rest", [AT_REST, IDLE], ids=["at rest", "idle"])
def test_at_rest_every_method_is_the_plain_step(tmp_path, condition, rest):
    held = given(tmp_path, condition)
    batch = batch_of(held)
    plain = gradients(held, batch, None)
    for name, settings in rest.items():
        if condition == "ML-CS" and {"rs-da", "RS-DA"} & {name, settings.get("policy")}:
            continue  # synonyms are drawn for the source text, which the batch does not show
        assert same(plain, gradients(held, batch, adversary(name, held, **settings))), name


def test_every_method_is_at_work_otherwise(tmp_path):
    held = given(tmp_path, lexicons={"ru": GERMAN})
    batch = batch_of(held)
    plain = gradients(held, batch, None)
    for name in [*ROBUST, "worst-of-k+fgm", "gradient-guided+smart"]:
        if name not in ("none", "rs-da"):
            attack = adversary(name, held, **({"worst-of-k.clean": 0.5} if name == "worst-of-k+fgm" else {}))
            found = gradients(held, batch, attack)
            assert not same(plain, found), name
            assert same(found, gradients(held, batch, attack)), name


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("relative", [True, False])
def test_moves_stay_in_the_ball_and_off_special_tokens(tmp_path, monkeypatch, norm, relative):
    held, moves = given(tmp_path), []
    batch, table = batch_of(held), embedding_table(held.encoder.model)

    def spied(model, move, module):
        moves.append(move.detach().double())
        return shifted(model, move, module)

    monkeypatch.setattr(ball, "shifted", spied)
    ids = batch.inputs["input_ids"]
    still = torch.isin(ids, torch.tensor([0, 2, 3]))
    shown = table(ids).detach().double() * ~still[:, :, None]
    radius = 0.3
    if relative:
        flat = shown.flatten(1)
        radius = 0.3 * (flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1))
    for name in ("rs-rp", "fgm", "pgd", "freelb", "smart"):
        moves.clear()
        gradients(held, batch, adversary(name, held, epsilon=0.3, norm=norm, relative=relative))
        assert moves
        for move in moves:
            flat = move.flatten(1)
            size = flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1)
            assert (size <= radius).all(), name
            assert not move[still].any(), name
        # SMART begins so near that scores may differ in their last digit only: a row without a gradient stays there.
        assert (size > 0.5 * radius).double().mean() > (0.5 if name == "smart" else 0.99), name


def test_random_moves_fill_the_ball():
    unit, mask = Ball(1.0), torch.ones(4000, 1, 1)
    sizes = unit.size(unit.sample(mask, (4000, 1, 3), torch.Generator().manual_seed(0))).flatten()
    assert sizes.max() <= 1
    assert (sizes**3).mean().item() == pytest.approx(0.5, abs=0.03)  # volume within a radius is uniform


def test_worst_of_k_finds_the_worst_text(tmp_path):
    held = given(tmp_path, lexicons={"ru": GERMAN})
    batch, attack = batch_of(held), adversary("worst-of-k", held, k=4)
    tokenizer, model = held.encoder.tokenizer, held.encoder.model.eval()
    objective = Objective(model, batch.labels, LOSSES["bce"].compute, "fp32")
    inputs = attack.choose(model, batch, objective, None)
    switcher = held.texts.switcher
    for row, pair in enumerate(batch.rows.tolist()):
        qid, did = str(PAIRS.qids[pair]), str(PAIRS.dids[pair])
        texts = [
            (
                switcher.text(COLLECTION.queries["en"][qid], Key(1, 0, qid, copy), "query"),
                switcher.text(COLLECTION.documents["en"][did], Key(1, 0, did, copy), "document"),
            )
            for copy in range(4)
        ]
        with torch.no_grad():
            logits = [
                model(**pair_tokens(tokenizer, [text], 32).batch([0])).logits[0, 0] * (1 - 2 * batch.labels[row])
                for text in texts
            ]
        wanted = pair_tokens(tokenizer, [texts[int(torch.stack(logits).argmax())]], 32).batch([0])["input_ids"][0]
        assert inputs["input_ids"][row][inputs["attention_mask"][row].bool()].tolist() == wanted.tolist()


def test_first_order_gains_are_those_of_the_definition(tmp_path):
    held = given(tmp_path, lexicons={"ru": GERMAN})
    batch, chooser = batch_of(held), adversary("gradient-guided", held).choose
    table = embedding_table(held.encoder.model).weight.detach()
    gradient = torch.randn(*batch.inputs["input_ids"].shape, table.shape[1])
    for side in SIDES:
        slots = chooser._slots(side, batch)
        first = 1 if side == "query" else 2
        starts = np.full(len(batch.rows), 1)
        if side == "document":
            starts = starts + chooser._slots("query", batch).drawn.lengths + 1
        gains = _gains(slots, starts, np.full(len(starts), 100), gradient, table)
        assert len(gains) > 20
        for place, entry, gain in zip(slots.places, slots.entries, gains, strict=True):
            text = next(n for n, s in enumerate(slots.drawn.starts) if s <= place < s + slots.drawn.counts[n])
            before = slots.drawn.entries[slots.drawn.starts[text] : place]
            column = starts[text] + slots.drawn.bank.lengths[before].sum()
            old, new = slots.drawn.bank[slots.drawn.entries[place]], slots.drawn.bank[entry]
            assert batch.inputs["input_ids"][text, column : column + len(old)].tolist() == old.tolist()
            assert batch.inputs["input_ids"][text, starts[text] - 1] == (2 if first == 1 else 3)
            wanted = sum(
                gradient[text, column + i] @ (table[new[(2 * i + 1) * len(new) // (2 * len(old))]] - table[token])
                for i, token in enumerate(old)
            )
            assert gain == pytest.approx(wanted.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("condition", ["Zero-shot", "ML-CS"])
def test_gradient_guided_exchanges_the_best_words(tmp_path, condition):
    held = given(tmp_path, condition, {"ru": GERMAN})
    batch, model = batch_of(held), held.encoder.model.eval()
    objective = Objective(model, batch.labels, LOSSES["bce"].compute, "fp32")
    losses = []
    for share in (0.0, 0.3, 1.0):
        attack = adversary("gradient-guided", held, share=share)
        gradient, _ = attack._own(model, batch, objective, torch.Tensor.backward)
        inputs = attack.choose(model, batch, objective, gradient)
        if not share:
            assert torch.equal(inputs["input_ids"], batch.inputs["input_ids"])
        losses.append(objective(inputs).item())
    assert losses[0] < losses[1] < losses[2]


def test_policies_that_cannot_be_exchanged_word_by_word_are_refused(tmp_path):
    texts = pair_texts(CONDITIONS["Fine-tuning"], PAIRS, COLLECTION, {}, seed=1)
    held = Given(tiny_encoder(tmp_path), PAIRS, texts, 32, {})
    with pytest.raises(CslabError, match="trains on translations"):
        adversary("gradient-guided", held)
    assert isinstance(adversary("worst-of-k", held), OnText)
    with pytest.raises(CslabError, match="no en→en lexicon"):
        adversary("rs-da", Given(held.encoder, PAIRS, given(tmp_path).texts, 32, {"ru": LEXICON}))


def test_in_the_loop(tmp_path):
    weights = []
    for name, settings in ((None, {}), ("freelb", {"steps": 1, "start": 0.0}), ("worst-of-k+fgm", {})):
        held = given(tmp_path / "tiny")
        attack = adversary(name, held, **settings) if name else None
        folder = tmp_path / str(name)
        made = train(held.encoder, PAIRS, held.texts, changed(steps=3, save_every=0), folder, attack, progress=None)
        assert np.isfinite(made["loss"])
        weights.append(held.encoder.model.classifier.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_robust_run_cuts_its_texts_once(tmp_path, monkeypatch, one_thread):
    cut, cuts = TokenSwitcher._cut, []
    monkeypatch.setattr(TokenSwitcher, "_cut", lambda self: (cuts.append(1), cut(self)))
    settings = changed(steps=6, save_every=0)
    for name in ("worst-of-k", "gradient-guided"):
        weights = []
        for apart in (False, True):
            held = given(tmp_path / "tiny", lexicons={"ru": GERMAN})
            other = given(tmp_path / "tiny", lexicons={"ru": GERMAN}).texts if apart else held.texts
            cuts.clear()
            train(held.encoder, PAIRS, other, settings, tmp_path / f"{name} {apart}", adversary(name, held), None)
            assert len(cuts) == 1 + apart, name
            weights.append(held.encoder.model.classifier.weight.detach().clone())
        assert torch.equal(*weights), name


def test_what_a_checkpoint_knows_tells_methods_apart(tmp_path):
    held = given(tmp_path)
    made = [adversary(name, held) for name in ROBUST if name != "none"]
    made += [adversary("worst-of-k", held, policy=policy) for policy in ("RS-DA", "CAT")]
    made += [adversary("worst-of-k+fgm", held), adversary("worst-of-k+fgm", held, epsilon=0.2)]
    made += [adversary("fgm", held, epsilon=0.2), adversary("gradient-guided", held, share=0.1)]
    keys = [fingerprint(part_key(one)) for one in made]
    assert len(set(keys)) == len(keys)
    again = given(tmp_path)
    assert keys[: len(ROBUST) - 1] == [fingerprint(part_key(adversary(n, again))) for n in ROBUST if n != "none"]
    texts = [given(tmp_path, name).texts for name in ("Zero-shot", "ML-CS", "ML-CS")]
    known = [fingerprint(texts_key(one)) for one in texts]
    assert known[0] != known[1] == known[2]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fgsm", {}, "did you mean 'fgm'"),
        ("fgm+pgd", {}, "do not combine"),
        ("fgm(epsilon)", {}, "'epsilon' is no setting; write name=value"),
        ("fgm(epsilom=1)", {}, r"no setting 'fgm\.epsilom'; did you mean 'epsilon'"),
        ("none+fgm", {}, "do not combine"),
        ("fgm", {"epsilom": 1}, "no setting 'epsilom'; did you mean 'epsilon'"),
        ("smart", {"clean": 0.5}, "no setting 'clean'"),
        ("fgm", {"epsilon": -1}, "epsilon is -1; expected a number from 0"),
        ("fgm", {"clean": 1.0}, r"clean is 1\.0; expected from 0 to below 1"),
        ("worst-of-k", {"k": 2.5}, r"k is 2\.5; expected a whole number from 1"),
        ("worst-of-k+fgm", {"clean": 0.5}, r"write worst-of-k\.clean or fgm\.clean"),
        ("fgm", {"norm": "l3"}, "norm 'l3' is not known"),
        ("freelb", {"moved": "images"}, "moved 'images' is not known; did you mean 'image'"),
        ("smart", {"divergence": "kl"}, "divergence 'kl' is not known"),
        ("worst-of-k", {"policy": "RSDA"}, "policy 'RSDA' is not known"),
    ],
)
def test_mistakes_are_named(tmp_path, name, settings, message):
    with pytest.raises(CslabError, match=message):
        adversary(name, given(tmp_path), **settings)


def test_compiled_models_are_refused(tmp_path):
    model = torch.compile(tiny_encoder(tmp_path).model)
    with pytest.raises(CslabError, match="train without compile"), shifted(model, torch.zeros(1, 1, 32)):
        pass


def test_none_needs_nothing_and_others_do():
    assert adversary("none") is None
    with pytest.raises(CslabError, match="needs encoder"):
        adversary("fgm")


def test_costs():
    assert cost("none") == 1
    assert cost("fgm", clean=0.0) == pytest.approx(5 / 3)
    assert cost("pgd", steps=3) == pytest.approx(3)
    assert cost("worst-of-k", k=4, clean=0.5) == pytest.approx(10 / 3)
    assert cost("gradient-guided") == pytest.approx(2)
    assert cost("gradient-guided+fgm") == pytest.approx(3)
    assert cost("worst-of-k(k=1)+freelb(steps=2, epsilon=0.01)") == pytest.approx(2)
    assert steps_within(300, "steps", "freelb") == 300
    assert steps_within(300, "compute", "fgm") == 150
    assert steps_within(300, "compute", "fgm", clean_steps=100) == 200
    assert steps_within(300, "compute", "fgm", measured=3.0) == 100
    with pytest.raises(CslabError, match="did you mean 'compute'"):
        steps_within(1, "computes", "fgm")


def test_rows_and_policies_agree():
    assert {"RS-DA", "CAT"} <= set(POLICIES)
    assert SETTINGS.loss in LOSSES
    for row in ROBUST.values():
        assert row.what
        assert row.kind == "none" or "clean" in row.defaults or row.name == "smart"
