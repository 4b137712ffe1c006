"""A model and its optimizer in training: whole in every process, or each process a shard of them (FSDP).

Shards are for encoders whose training does not fit one GPU: weights, gradient and AdamW's moments take 16 bytes per
weight, and every process holds its share of each. A layer is put together while it is computed. Accelerate's
configuration asks for it, and cslab takes from it whether layers are parted again after the forward pass, which layers,
and activation checkpointing:

    accelerate launch --num_processes 8 --use_fsdp --fsdp_version 2 -m cslab train …

PyTorch's `fully_shard` does the work (after PyTorch FSDP, 2304.11277). Batches, order and updates are those of plain
data parallelism. A checkpoint holds whole tensors in either case: training may go on with another number of processes.

    weights = Weights(model, torch.optim.AdamW(model.parameters()))
    held = weights.state(); weights.restore(held)
"""

import contextlib
import copy
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cslab.processes import processes
from cslab.store import CslabError


@dataclass(frozen=True)
class Weights:
    """What is trained.

    Attributes:
        model: whole; while shards are trained it lies on the CPU and is as old as the last `gather`.
        optimizer: of what is trained.
        shards: what is trained in place of the model, where every process holds a part.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    shards: nn.Module | None = None

    def gather(self) -> None:
        """Brings the whole model up to date; all processes come here together."""
        if self.shards is None:
            return
        held = self.model.state_dict()
        # One tensor at a time: a GPU need not hold the whole model beside its shard.
        for name, part in self.shards.state_dict().items():
            held[name].copy_(whole(part))

    @contextlib.contextmanager
    def gathered(self, device: torch.device) -> Iterator[None]:
        """Inside, the whole model is up to date and on the device; all processes come here together."""
        self.gather()
        if self.shards is None:
            yield
            return
        self.model.to(device)
        try:
            yield
        finally:
            self.model.to("cpu")

    def state(self) -> dict[str, Any]:
        """What the first process keeps in a checkpoint: whole tensors. All processes come here together."""
        self.gather()
        held = self.optimizer.state_dict()
        if self.shards is not None:
            held["state"] = {number: _kept(values) for number, values in held["state"].items()}
        return {"model": self.model.state_dict(), "optimizer": held}

    def restore(self, held: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint; all processes come here together."""
        self.model.load_state_dict(held["model"])
        optimizer = held["optimizer"]
        if self.shards is not None:
            parts = self.shards.state_dict()
            self.shards.load_state_dict({name: _part(tensor, parts[name]) for name, tensor in held["model"].items()})
            trained = [weight for group in self.optimizer.param_groups for weight in group["params"]]
            state = {
                number: {name: _part(value, trained[number]) for name, value in values.items()}
                for number, values in optimizer["state"].items()
            }
            optimizer = {**optimizer, "state": state}
        self.optimizer.load_state_dict(optimizer)


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from the shards of all processes; others as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _kept(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What AdamW knows of a weight, whole, in the memory of the first process alone."""
    first = processes()[0] == 0
    found = {name: whole(value) for name, value in values.items()}
    return {name: value.cpu() for name, value in found.items() if first}


def _part(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's shard of a tensor, parted like another; what is not parted there, and counts, as they are."""
    if not hasattr(like, "full_tensor") or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements)


# --- shards --------------------------------------------------------------------------------------------------


def shards_asked_for() -> bool:
    """Whether Accelerate's configuration asks for shards, and there are processes to share."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true" and processes()[1] > 1


def sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a model in shards, as Accelerate's configuration says; the model itself goes to the CPU.

    All processes call it with the same weights.

    Raises:
        CslabError: for what the loop has no part in (FSDP 1, parameters kept on the CPU, layers chosen by size), or
            layers that the model has not.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plugin = FullyShardedDataParallelPlugin()
    _check(plugin)
    shards = copy.deepcopy(model.to("cpu"))
    if plugin.activation_checkpointing:
        with warnings.catch_warnings():
            # Newer transformers rename the method; older ones know no other name.
            warnings.simplefilter("ignore", FutureWarning)
            shards.gradient_checkpointing_enable({"use_reentrant": False})
    # From the innermost outwards; what is in none of them (the head, say) is parted with the model itself.
    layers = reversed(_layers(shards, plugin.transformer_cls_names_to_wrap))
    mesh = init_device_mesh(device.type, (processes()[1],))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=plugin.reshard_after_forward)
    fully_shard(shards, mesh=mesh)
    return shards


def _check(plugin: Any) -> None:
    from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

    if plugin.fsdp_version != 2:
        raise CslabError("training: FSDP 1 is not offered; set fsdp_version: 2 in Accelerate's configuration")
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise CslabError("training: FSDP with parameters on the CPU is not offered; set fsdp_offload_params: false")
    if plugin.auto_wrap_policy is size_based_auto_wrap_policy:
        raise CslabError(
            "training: FSDP by size is not offered; set fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP, by layers"
        )


def _layers(model: nn.Module, asked: list[str] | None) -> list[nn.Module]:
    names = set(asked or getattr(model, "_no_split_modules", None) or ())
    found = [module for module in model.modules() if type(module).__name__ in names]
    if missing := sorted(names - {type(module).__name__ for module in found}) if asked else []:
        raise CslabError(f"training: FSDP: no layer of {type(model).__name__} is a {missing[0]}; correct its name")
    if not found:
        raise CslabError(
            f"training: FSDP: {type(model).__name__} does not tell its layers; "
            "name their class as fsdp_transformer_layer_cls_to_wrap in Accelerate's configuration"
        )
    return found
