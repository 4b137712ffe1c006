"""Precision of computing: fp32 or bf16, decided in one place.

A profile says `precision: auto`, `fp32` or `bf16`, and every path that computes is told. Functions that are called
without a precision compute in fp32. `auto` is bf16 on a GPU that computes in it and fp32 everywhere else: a CPU with
bf16 instructions would give other numbers than one without, and a table should not depend on the machine that made it.
`precision: bf16` still asks for it on a CPU, where it can save time.

    choose_precision("auto", torch.device("cpu"))     # ("fp32", "a CPU computes in fp32 unless bf16 is asked for")
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from cslab.store import CslabError, nearest

PRECISIONS = ("auto", "fp32", "bf16")


def choose_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """Decides between fp32 and bf16 autocast, and says why.

    Returns:
        ("fp32" or "bf16", the reason).

    Raises:
        CslabError: for another name, or bf16 on a GPU that has none.
    """
    if precision not in PRECISIONS:
        hint = (
            "fp16 needs loss scaling and gains nothing over bf16"
            if precision == "fp16"
            else nearest(precision, PRECISIONS)
        )
        raise CslabError(f"precision '{precision}' is not offered; {hint}; use one of {', '.join(PRECISIONS)}")
    if device.type != "cuda":
        return ("fp32", "a CPU computes in fp32 unless bf16 is asked for") if precision == "auto" else _asked(precision)
    able = torch.cuda.is_bf16_supported(including_emulation=False)
    reason = f"{torch.cuda.get_device_name(device)} {'computes' if able else 'does not compute'} in bf16"
    if precision == "bf16" and not able:
        raise CslabError(f"precision bf16: {reason}; use fp32")
    return ("bf16" if able else "fp32", reason) if precision == "auto" else _asked(precision)


def _asked(precision: str) -> tuple[str, str]:
    return precision, "asked for"


@contextlib.contextmanager
def computing_in(model: nn.Module, precision: str) -> Iterator[None]:
    """Autocast to bf16 around a forward pass, with the last layer in fp32 (see `head_in_float32`)."""
    if precision == "fp32":
        yield
        return
    with head_in_float32(model), torch.autocast(next(model.parameters()).device.type, torch.bfloat16):
        yield


@contextlib.contextmanager
def head_in_float32(model: nn.Module) -> Iterator[None]:
    """Computes the last layer in fp32 whatever autocast says; within another such block it does nothing.

    A logit rounded to bf16 has 8 bits: good candidates would tie by the dozen. The head costs nothing in fp32.
    """
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 1]
    handles = [h.register_forward_hook(_in_float32) for h in heads if _in_float32 not in h._forward_hooks.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_float32(head: nn.Linear, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> torch.Tensor:
    with torch.autocast(inputs[0].device.type, enabled=False):
        return nn.functional.linear(inputs[0].float(), head.weight.float(), head.bias)


def aligned(model: nn.Module) -> nn.Module:
    """Moves the weights of a model to memory that begins at a multiple of 64 bytes, as torch itself would place them.

    Weights that were read from a file lie as they lay in the file. Kernels then add in another order: a model in memory
    and the same model read again would differ in the last digit.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model
