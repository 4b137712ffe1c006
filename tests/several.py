"""Several processes at work on one training: what each of them runs, and how a test starts them.

python -m tests.several FOLDER is run by each process; the test compares what they leave with what one process makes.
With `killed` behind it, one process trains and is killed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from cslab.collections.collection import Collection
from cslab.lexicon.lexicon import Lexicon
from cslab.processes import processes, wait
from cslab.ranking.cross_encoder import Encoder, score_pairs
from cslab.recipe import Recipe
from cslab.store import CslabError
from cslab.training.auxiliary import Alignment
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.loop import train
from cslab.training.pairs import Pairs, sample_pairs
from cslab.training.record import Record
from cslab.training.settings import TrainSettings
from tests.tiny import LETTERS, tiny_encoder

NOUNS = ["fox", "hen", "barn", "wolf", "cat", "moon"]
DOCUMENTS = {f"{a}-{b}": f"the {a} is in the {b}" + " and the river" * (len(a) % 3) for a in NOUNS for b in NOUNS}
QUERIES = {did: f"where is the {did.split('-')[0]} ? the {did.split('-')[1]}" for did in DOCUMENTS}
COLLECTION = Collection("toy", {"en": QUERIES}, {"en": DOCUMENTS}, {"en": {q: {q: 1} for q in QUERIES}})
LEXICON = Lexicon.from_pairs("en", "ru", [(noun, LETTERS[26 + i]) for i, noun in enumerate(NOUNS)])
SETTINGS = {"steps": 8, "batch": 12, "lr": 1e-3, "max_length": 32, "window": 3, "log_every": 4, "save_every": 3}
CASES = {
    "bce": {"loss": "bce"},
    "groups": {"loss": "lce", "accumulate": 2, "schedule": "cosine"},
    "aligned": {"loss": "bce", "workers": 2},
    "shards": {"loss": "bce", "accumulate": 2, "evaluate_every": 4, "train_embeddings": False},
}
# What `accelerate launch --use_fsdp --fsdp_version 2 --fsdp_activation_checkpointing true` sets.
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_ACTIVATION_CHECKPOINTING": "true"}


def made_pairs() -> Pairs:
    return sample_pairs(COLLECTION, negatives=2, seed=0)


def livelier(encoder: Encoder) -> Encoder:
    """Weights as large as such narrow layers need; smaller ones see no difference between texts."""
    for weight in encoder.model.parameters():
        weight.data.mul_(10 if weight.ndim > 1 else 1)
    return encoder


def trained(case: str, folder: Path) -> dict:
    """One training of the table of cases, without dropout."""
    encoder, pairs = livelier(tiny_encoder(folder / f"tiny-{os.environ.get('RANK', 0)}", dropout=0.0)), made_pairs()
    texts = pair_texts(CONDITIONS["ML-CS"], pairs, COLLECTION, {"ru": LEXICON}, seed=1)
    plain = pair_texts(CONDITIONS["Zero-shot"], pairs, COLLECTION, {}, seed=1)
    adversary = Alignment(plain, pairs, encoder.tokenizer, 32) if case == "aligned" else None
    settings = TrainSettings(**SETTINGS, **CASES[case], precision="fp32", seed=7)
    evaluate = partial(mean_score, plain(0, range(9))) if settings.evaluate_every else None
    return train(encoder, pairs, texts, settings, folder, adversary, None, evaluate=evaluate)


def mean_score(pairs: list[tuple[str, str]], encoder: Encoder) -> dict[str, float]:
    return {"en-en": float(score_pairs(encoder, pairs, precision="fp32").mean())}


def stopped(case: str, folder: Path) -> None:
    """The training of a case, whose processes stop after the fifth step; the last checkpoint is of the third."""
    count = Record.count

    def counted(record: Record, batch, loss) -> None:
        count(record, batch, loss)
        if batch.step == 4:
            raise KeyboardInterrupt

    with mock.patch.object(Record, "count", counted), contextlib.suppress(KeyboardInterrupt):
        trained(case, folder)


def trained_in_shards(case: str, folder: Path) -> dict:
    """A training in shards that is stopped and goes on; what it left is copied for one process to go on from."""
    with mock.patch.dict(os.environ, FSDP):
        stopped(case, folder)
        if not processes()[0]:
            shutil.copytree(folder, folder.with_name(f"{case}-stopped"))
        wait()
        return trained(case, folder)


def twenty_steps(folder: Path, killed: bool = False) -> None:
    """Twenty steps with dropout, switching and two workers; asked to, kills its process after the eleventh."""

    def told(line: str) -> None:
        if killed and line.startswith("step 11 of 20"):
            os.kill(os.getpid(), signal.SIGKILL)

    encoder, pairs = tiny_encoder(folder / "tiny"), made_pairs()
    texts = pair_texts(CONDITIONS["ML-CS"], pairs, COLLECTION, {"ru": LEXICON}, seed=1)
    settings = {**SETTINGS, "steps": 20, "save_every": 10, "log_every": 11 if killed else 20}
    train(encoder, pairs, texts, TrainSettings(**settings, workers=2, seed=3), folder, progress=told)


def staged(folder: Path) -> list[str]:
    """A stage that one process makes, and one that all make together out of it."""
    rank = int(os.environ["RANK"])

    def alone(place: Path) -> dict:
        (place / "rank.txt").write_text(str(rank))
        return {"rank": rank}

    def together(place: Path) -> dict:
        (place / f"helper-{rank}.txt").write_text("was here")
        torch.distributed.barrier()
        return {"rank": rank}

    first = Recipe(folder / "one" / "a", {"n": 1}, alone)
    second = Recipe(folder / "two" / "b", {"n": 2}, together, (first,), shared=True)
    last = Recipe(folder / "three" / "c", {"n": 3}, lambda place: {"found": second.make().summary}, (second,))
    return [str(recipe.make().summary) for recipe in (last, second, first)]


def main(folder: Path) -> None:
    """What each process does."""
    rank, told = int(os.environ["RANK"]), {}
    for case in CASES:
        summary = (trained_in_shards if case == "shards" else trained)(case, folder / case)
        told[case] = {name: summary[name] for name in ("steps", "loss", "padding", "processes")}
    told["stages"] = staged(folder / "stages")
    try:
        train(*_uneven(folder), folder / "uneven", progress=None)
    except CslabError as error:
        told["uneven"] = str(error)
    (folder / f"told-{rank}.json").write_text(json.dumps(told))


def _uneven(folder: Path) -> tuple:
    encoder = tiny_encoder(folder / "uneven-tiny" / os.environ["RANK"])
    texts = pair_texts(CONDITIONS["Zero-shot"], made_pairs(), COLLECTION, {}, seed=1)
    return encoder, made_pairs(), texts, TrainSettings(**{**SETTINGS, "batch": 9}, loss="lce")


def start(folder: Path, count: int = 2, seconds: int = 900) -> list[dict]:
    """Starts the processes as torchrun would, and gives what each of them told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    shared |= {"LOCAL_WORLD_SIZE": str(count), "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.several", str(folder)], stderr=subprocess.PIPE, text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=seconds)[1] for process in started]
        assert [process.returncode for process in started] == [0] * count, "\n".join(errors)[-3000:]
    finally:
        for process in started:
            process.kill()
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(count)]


if __name__ == "__main__":
    twenty_steps(Path(sys.argv[1]), killed=True) if "killed" in sys.argv else main(Path(sys.argv[1]))
