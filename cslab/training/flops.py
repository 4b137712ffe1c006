"""How much arithmetic a training does: floating-point operations per second, and their share of what a GPU could do.

A forward pass takes two operations per weight and token, and attention 4 · layers · width · length² per text; a
backward pass takes twice as much (PaLM, 2204.02311, appendix B). Padding is not counted as work, so model FLOPs
utilisation (MFU) falls with padding.

    >>> Meter(weights=1_000_000, attention=6 * 384).flops(tokens=1000, squares=64_000)
    7769472000.0
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Dense bf16 operations per second, in units of 10^12, by a part of the device's name; the first that fits counts.
# From the vendor's data sheets, without sparsity.
PEAKS = {
    "H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "GH200": 989, "B200": 2250, "A100": 312, "L40S": 362,
    "L4": 121, "A10": 125, "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip


@dataclass(frozen=True)
class Meter:
    """Counts operations: weights outside embedding tables, layers × width, and the peak of all devices together."""

    weights: int
    attention: int
    peak: float | None = None  # operations per second; None where it is not known

    @classmethod
    def of(cls, model: nn.Module, device: torch.device, precision: str, devices: int = 1) -> "Meter":
        """The meter of a model on a device; a peak is known for some GPUs in bf16."""
        tables = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Embedding))
        config: Any = getattr(model, "config", None)
        attention = getattr(config, "num_hidden_layers", 0) * getattr(config, "hidden_size", 0)
        weights = sum(p.numel() for p in model.parameters()) - tables
        peak = None
        if device.type == "cuda" and precision == "bf16":
            name = torch.cuda.get_device_name(device)
            peak = next((value * 1e12 * devices for part, value in PEAKS.items() if part in name), None)
        return cls(weights, attention, peak)

    def flops(self, tokens: float, squares: float) -> float:
        """Operations of training on texts of `tokens` tokens in all, whose squared lengths sum to `squares`."""
        return 6.0 * self.weights * tokens + 12.0 * self.attention * squares

    def figures(self, tokens: float, squares: float, seconds: float) -> dict[str, float]:
        """`tflops` (10^12 operations per second) and, where the peak is known, `mfu`."""
        rate = self.flops(tokens, squares) / max(seconds, 1e-9)
        share = {} if self.peak is None else {"mfu": round(rate / self.peak, 4)}
        return {"tflops": round(rate / 1e12, 4), **share}
