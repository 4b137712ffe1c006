"""Compiled training on a GPU: which shapes it sees, and whether CUDA graphs pay.

`torch.compile` fuses the small operations between matrix products. Batches differ in length: told so, PyTorch compiles
once for all.

A GPU takes some microseconds to be told of each kernel, and a step has hundreds. A large encoder keeps the GPU busy
meanwhile; a small one is done sooner than the next kernel is there. Then CUDA graphs pay: all kernels of a pass start
at once. A graph belongs to one shape and keeps its memory, so texts are padded to one of few lengths.

>>> width_multiple(torch.device("cuda"), 256, graphs=True), width_multiple(torch.device("cuda"), 256, graphs=False)
(32, 8)
"""

import torch
from torch import nn

from cslab.training.flops import Meter

# Operations of a step from which on an H100 is surely busy for longer than it takes to launch the step's kernels. The
# 1,164 of BERT base take 30 ms of the GPU at 64 pairs (5 · 10^12 operations); a host was seen to need 55 ms for them.
BUSY = 1e13
WIDTHS = 8  # lengths that graphs are made for, at most


def graphs_pay(model: nn.Module, device: torch.device, pairs: int, length: int) -> bool:
    """Whether launching kernels takes longer than a step of `pairs` pairs of up to `length` tokens itself."""
    flops = Meter.of(model, torch.device("cpu"), "fp32").flops(pairs * length, pairs * length**2)
    return device.type == "cuda" and flops < BUSY


def width_multiple(device: torch.device, length: int, graphs: bool) -> int:
    """What the length of a batch is padded to a multiple of: 1 on a CPU, on a GPU a multiple of 8, for tensor cores."""
    if device.type != "cuda":
        return 1
    return 8 * -(-length // (8 * WIDTHS)) if graphs else 8
