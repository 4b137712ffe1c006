"""Cross-encoders as ONNX files, for runtimes without PyTorch (pip install onnx onnxscript onnxruntime).

Reads an encoder; writes `onnx/model.onnx` into a folder that `save_encoder` wrote, where CrossEncoder(backend="onnx")
looks for it. Inputs are the tokenizer's (`input_ids`, `attention_mask`, …; pairs × tokens, int64), the output is
`logits`, pairs × 1, float32, the same scores up to rounding.

    file = export_onnx(load_encoder("outputs/demo/train/ml-cs-s1/model"), "outputs/demo/train/ml-cs-s1/model")
    onnxruntime.InferenceSession(file).run(["logits"], {"input_ids": …, "attention_mask": …})
"""

import contextlib
import importlib.util
import io
from pathlib import Path

import torch

from cslab.ranking.cross_encoder import Encoder
from cslab.ranking.pair_tokens import pair_tokens
from cslab.store import CslabError, atomic_path

NEEDED = ("onnx", "onnxscript")
LARGEST = 2**31  # bytes that one file can hold


def export_onnx(encoder: Encoder, folder: str | Path) -> Path:
    """Writes a cross-encoder as ONNX, for any number of pairs and tokens.

    Args:
        encoder: what to export; computed in fp32.
        folder: that of the model.

    Returns:
        The file, `onnx/model.onnx` below the folder.

    Raises:
        CslabError: where the extra is not installed, or the encoder is too large for one file.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise CslabError(f"ONNX export needs {', '.join(missing)}; run pip install {' '.join(NEEDED)}")
    size = sum(weight.numel() * weight.element_size() for weight in encoder.model.parameters())
    if size >= LARGEST:
        raise CslabError(f"{encoder.name}: {size / 2**30:.1f} GiB of weights do not fit one ONNX file of 2 GiB")
    file = Path(folder) / "onnx" / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    # Two pairs of unlike length: an example whose sizes are 1 would be taken for a rule.
    pairs = [("a", "a b c"), ("a b c", "a b c a b c")]
    inputs = pair_tokens(encoder.tokenizer, pairs, encoder.max_length).batch([0, 1])
    inputs = {name: tensor.to(encoder.device) for name, tensor in inputs.items()}
    sizes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in inputs}
    training = encoder.model.training
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.no_grad(), atomic_path(file) as temporary:
            torch.onnx.export(
                encoder.model.eval(), kwargs=inputs, f=str(temporary), input_names=list(inputs),
                output_names=["logits"], dynamo=True, dynamic_shapes=sizes, external_data=False, verbose=False,
            )  # fmt: skip
    finally:
        encoder.model.train(training)
    return file
