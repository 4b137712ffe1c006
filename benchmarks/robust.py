"""What robust training costs: seconds of a step of each method over a clean step, in one run.

    python benchmarks/robust.py                             # MiniLM, some minutes on one core
    python benchmarks/robust.py --encoder atlas --rounds 3  # the small encoder, a minute
    python benchmarks/robust.py --quick                     # only that it works

All methods take turns on the same batches of switched atlas pairs, so other work on the machine strikes all of them;
a ratio is the median over rounds of CPU seconds (of wall seconds on a GPU). A step is forward and backward passes, the
choice of text, clipping and AdamW. `declared` is what `cslab.training.robust.cost` counts in passes. The last lines are
`figure NAME VALUE TARGET holds|short`; worst-of-k's is what the choice takes, in forward passes over the batch, per
variant.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from cslab.collections.atlas import atlas, atlas_lexicon
from cslab.ranking.cross_encoder import load_encoder
from cslab.training.batches import Batch, Plan, batches
from cslab.training.conditions import CONDITIONS, pair_texts
from cslab.training.loop import Adversary, Objective, parameter_groups
from cslab.training.losses import LOSSES
from cslab.training.pairs import sample_pairs
from cslab.training.robust import ROBUST, adversary, cost
from cslab.training.variants import Given, OnText

LANGUAGES = ("de", "ru", "ar")
K = 4
MEASURED = {name: {} for name in ROBUST if name not in ("none", "rs-da")} | {"worst-of-k": {"k": K}}
TARGETS = {"fgm": 2.2, "freelb": 4.2}


class Bench:
    """A model, its optimiser and batches; times steps."""

    def __init__(self, encoder: str, batch: int, rounds: int, max_length: int) -> None:
        collection = atlas("train", passages=600, queries=200, languages=("en",))
        pairs = sample_pairs(collection, negatives=3, seed=1)
        lexicons = {code: atlas_lexicon(code) for code in LANGUAGES}
        texts = pair_texts(CONDITIONS["ML-CS"], pairs, collection, lexicons, seed=1)
        self.encoder = load_encoder(encoder, seed=1)
        self.model, self.device = self.encoder.model.train(), self.encoder.device
        self.given = Given(self.encoder, pairs, texts, max_length, lexicons)
        plan = Plan(len(pairs), batch, 8, 0)
        made = batches(plan, pairs, texts, self.encoder.tokenizer, max_length, range(rounds + 1))
        self.batches = [one.to(self.device) for one in made]
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, 0.01), lr=1e-6, fused=True)

    def objective(self, batch: Batch) -> Objective:
        """The loss of a batch."""
        return Objective(self.model, batch.labels, LOSSES["bce"].compute, "fp32")

    def step(self, batch: Batch, attack: Adversary | None) -> None:
        """One update."""
        torch.manual_seed(batch.step)
        objective = self.objective(batch)
        if attack is None:
            objective(batch.inputs).backward()
        else:
            attack(self.model, batch, objective, torch.Tensor.backward)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def forward(self, batch: Batch) -> None:
        """One forward pass without gradients, with dropout."""
        with torch.no_grad():
            self.objective(batch)(batch.inputs)

    def choose(self, batch: Batch, attack: OnText) -> None:
        """The choice of the text alone."""
        attack.choose(self.model, batch, self.objective(batch), None)

    def seconds(self, work: Callable[[], None]) -> float:
        """What a piece of work takes."""
        on_gpu = self.device.type == "cuda"
        clock = time.perf_counter if on_gpu else time.process_time
        started = clock()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        return clock() - started


def measure(bench: Bench) -> dict[str, list[float]]:
    """Seconds by round: each method's steps, clean steps (`none`), forward passes, and the choice of worst-of-k."""
    attacks = {name: adversary(name, bench.given, **settings) for name, settings in MEASURED.items()}
    spent: dict[str, list[float]] = {name: [] for name in ("none", "forward", "choice", *attacks)}
    for number, batch in enumerate(bench.batches):
        found = {"none": bench.seconds(lambda one=batch: bench.step(one, None))}
        found["forward"] = bench.seconds(lambda one=batch: bench.forward(one))
        found["choice"] = bench.seconds(lambda one=batch: bench.choose(one, attacks["worst-of-k"]))
        for name, attack in attacks.items():
            found[name] = bench.seconds(lambda one=batch, by=attack: bench.step(one, by))
        for name, value in found.items() if number else ():  # the first round warms up
            spent[name].append(value)
    return spent


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm", help="what load_encoder takes")
    parser.add_argument("--batch", type=int, default=32, help="pairs in a batch")
    parser.add_argument("--rounds", type=int, default=12, help="timed steps of each method")
    parser.add_argument("--max-length", type=int, default=96, help="tokens of a pair")
    parser.add_argument("--quick", action="store_true", help="the small encoder, few pairs and rounds")
    options = parser.parse_args()
    if options.quick:
        options.encoder, options.batch, options.rounds = "atlas", 8, 2
    torch.set_num_threads(1)
    bench = Bench(options.encoder, options.batch, options.rounds, options.max_length)
    spent = measure(bench)
    clean = statistics.median(spent["none"])
    print(f"{bench.encoder.name} on {bench.device}: a clean step of {options.batch} pairs takes {clean:.3f} s")
    lines = []
    for name, settings in MEASURED.items():
        ratio = statistics.median(one / base for one, base in zip(spent[name], spent["none"], strict=True))
        print(f"  {name}: {ratio:.2f} clean steps (declared {cost(name, **settings):.2f})")
        if name in TARGETS:
            lines.append((f"{name}_ratio", ratio, TARGETS[name]))
    passes = statistics.median(
        one / (K * forward) for one, forward in zip(spent["choice"], spent["forward"], strict=True)
    )
    lines.append(("worst_of_k_forwards", passes, 1.1))
    for name, value, target in lines:
        print(f"figure {name} {value:.3g} <={target} {'holds' if value <= target else 'short'}")


if __name__ == "__main__":
    main()
