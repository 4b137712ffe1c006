"""Ranks of 5,000 images × 25,000 captions and of 36 languages × 3,600 images: time and memory over a naive full matrix.

    python benchmarks/image_text.py --quick         # seconds: a tenth of the images, only that it works
    python benchmarks/image_text.py                 # some CPU minutes and 3 GiB, nearly all of it the naive way's

The naive way is what evaluation scripts do: all similarities at once, every row sorted, the right key looked up in the
order. Ours and the naive way take turns in one run; peaks of memory are those of a process of their own, less what the
vectors took.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from cslab.evaluation.recall import ranks
from cslab.lexicon.search import unit_rows

DIMENSIONS, CAPTIONS, LANGUAGES = 512, 5, 36
COCO, CROSSMODAL = 5_000, 3_600  # images
BUDGET = 64 << 20  # bytes of a block, ours


def vectors(count: int, seed: int) -> torch.Tensor:
    """Unit rows."""
    return unit_rows(torch.randn(count, DIMENSIONS, generator=torch.Generator().manual_seed(seed)))


def pairs(images: int, captions: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Images, captions near to them, and the image of each caption."""
    shown, items = vectors(images, 1), np.arange(images * captions) % images
    return shown, unit_rows(shown[items] + 6 * vectors(len(items), 2)), items


def naive(queries: torch.Tensor, keys: torch.Tensor, asked: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Ranks by sorting the full matrix."""
    order = np.argsort(-(queries @ keys.t()).numpy(), axis=1)
    return 1 + (held[order] == asked[:, None]).argmax(axis=1)


def ours(queries: torch.Tensor, keys: torch.Tensor, asked: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Ranks in blocks."""
    return ranks(queries, keys, asked, held, budget=BUDGET)


WAYS = {"naive": naive, "ours": ours}


def coco(share: float, images: int) -> list[tuple[str, torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]]:
    """The tasks of a COCO-like test: a share of the captions against all images, and the other way."""
    shown, told, items = pairs(images, CAPTIONS)
    own = np.arange(len(shown))
    some, few = slice(0, int(share * len(told))), slice(0, int(share * len(shown)))
    return [
        ("text to image", told[some], shown, items[some], own),
        ("image to text", shown[few], told, own[few], items),
    ]


def crossmodal(languages: int, images: int) -> list[tuple[str, torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]]:
    """The tasks of an XM3600-like test: the captions of some languages against all images."""
    shown, told, _ = pairs(images, languages)
    own = np.arange(images)
    return [(f"language {n}", told[n * images :][:images], shown, own, own) for n in range(languages)]


def peak(way: str, task: str, quick: bool) -> float:
    """GiB that a way takes beyond its vectors on the whole task, in a process of its own."""
    command = [sys.executable, __file__, "--peak", way, "--task", task, *(["--quick"] if quick else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_peak(way: str, task: str, images: int) -> None:
    """Runs one way on one task and prints by how much the peak of memory grew."""
    if task == "coco":
        job = coco(1.0, images)[0][1:]
    else:
        shown, told, items = pairs(images, 4)  # four languages at once: the matrix of all would not fit everywhere
        job = (told, shown, items, np.arange(len(shown)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    before = highest()
    WAYS[way](*job)
    print((highest() - before) / 2**20)


def highest() -> int:
    """The peak of resident memory in KiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def timed(tasks: list) -> dict[str, float]:
    """Seconds of each way over all tasks, which take turns; their ranks must be the same."""
    spent = dict.fromkeys(WAYS, 0.0)
    for name, *job in tasks:
        found = {}
        for way, run in WAYS.items():
            start = time.perf_counter()
            found[way] = run(*job)
            spent[way] += time.perf_counter() - start
        # Sorting breaks ties by row and rounds alike scores in another order; all but a few ranks are equal.
        same = float((found["naive"] == found["ours"]).mean())
        print(f"  {name}: {same:.2%} of {len(found['ours'])} ranks equal, R@1 {100 * (found['ours'] == 1).mean():.1f}")
    return spent


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=0.4, help="share of the queries of 5,000 × 25,000 that is timed")
    parser.add_argument("--languages", type=int, default=4, help=f"of the {LANGUAGES} languages, those that are timed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--peak", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--task", default="coco", help=argparse.SUPPRESS)
    given = parser.parse_args()
    images = {name: size // (10 if given.quick else 1) for name, size in (("coco", COCO), ("xm3600", CROSSMODAL))}
    if given.peak:
        return measure_peak(given.peak, given.task, images[given.task])
    figures = []
    for task, size in images.items():
        spent = timed(coco(given.share, size) if task == "coco" else crossmodal(given.languages, size))
        whole = 1 / given.share if task == "coco" else LANGUAGES / given.languages
        peaks = {way: peak(way, task, given.quick) for way in WAYS}
        for way in WAYS:
            print(f"  {task} {way}: {spent[way] * whole:.1f} s reckoned for the whole, {peaks[way]:.2f} GiB")
        figures += [
            (f"{task}_time_over_naive", spent["ours"] / spent["naive"], 0.5),
            (f"{task}_peak_over_naive", peaks["ours"] / peaks["naive"], 0.25),
            (f"{task}_peak_gib", peaks["ours"], 0.25),
        ]
    for name, value, target in figures:
        print(f"figure {name} {value:.3f} <={target} {'holds' if value <= target else 'short'}")


if __name__ == "__main__":
    main()
