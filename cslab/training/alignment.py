"""How well an encoder's languages are aligned: does a text lie nearest to its translation?

Reads pairs of texts (words of a dictionary, or parallel sentences) and a model; writes nothing. A text is the mean of
its token states in a layer. Encoders whose languages are apart find few translations though both texts are close to
their neighbours of the same language, so retrieval tells more than cosine alone.

    alignment(model, tokenizer, [("Hund", "dog"), ("Katze", "cat")])      # {"p@1": …, "back p@1": …, "margin": …}
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cslab.store import CslabError

Pairs = Sequence[tuple[str, str]]
BATCH = 128


def alignment(
    model: Any, tokenizer: Any, pairs: Pairs, layer: int | None = None, max_length: int = 64
) -> dict[str, float]:
    """Retrieval of translations by cosine.

    Args:
        model: any transformer with `base_model`.
        tokenizer: its tokenizer.
        pairs: (text, English text); texts that stand twice on a side are left out, since they have no one answer.
        layer: whose states are averaged (default: the middle one, where languages are closest).
        max_length: tokens of a text.

    Returns:
        `p@1` and `back p@1`: share of texts whose nearest is their translation, into English and back; `margin`: mean
        cosine of translations less that of other pairs; `pairs`.

    Raises:
        CslabError: for fewer than two pairs.
    """
    kept = _distinct(pairs)
    if len(kept) < 2:
        raise CslabError(f"alignment: {len(kept)} pairs that stand once; give at least two")
    source, target = (embed(model, tokenizer, side, layer, max_length) for side in zip(*kept, strict=True))
    return retrieval(source, target)


def retrieval(source: Tensor, target: Tensor) -> dict[str, float]:
    """The measures of `alignment` for two matrices of unit rows, row i of one belonging to row i of the other.

    >>> found = retrieval(torch.eye(3), torch.eye(3)[[0, 2, 1]])
    >>> round(found["p@1"], 2), round(found["margin"], 2), found["pairs"]
    (0.33, 0.0, 3)
    """
    cosines = source @ target.T
    own, right = cosines.diagonal(), torch.arange(len(cosines), device=cosines.device)
    other = (cosines.sum() - own.sum()) / max(1, cosines.numel() - len(own))
    return {
        "p@1": float((cosines.argmax(dim=1) == right).float().mean()),
        "back p@1": float((cosines.argmax(dim=0) == right).float().mean()),
        "margin": float(own.mean() - other),
        "pairs": len(own),
    }


def embed(model: Any, tokenizer: Any, texts: Sequence[str], layer: int | None = None, max_length: int = 64) -> Tensor:
    """Mean token states of texts, as unit rows, (texts, width)."""
    device, rows = next(model.parameters()).device, []
    chosen = model.config.num_hidden_layers // 2 if layer is None else layer
    special = torch.tensor(sorted(tokenizer.all_special_ids), device=device)
    with torch.inference_mode():
        for first in range(0, len(texts), BATCH):
            part = tokenizer(
                list(texts[first : first + BATCH]), padding=True, truncation=True, max_length=max_length,
                return_tensors="pt",
            ).to(device)  # fmt: skip
            states = model.base_model(**part, output_hidden_states=True).hidden_states[chosen]
            # A text without any piece that is known keeps its special tokens, so that its mean is a number.
            words = part["attention_mask"].bool() & ~torch.isin(part["input_ids"], special)
            mask = torch.where(words.any(dim=1, keepdim=True), words, part["attention_mask"].bool()).unsqueeze(-1)
            rows.append((states * mask).sum(dim=1) / mask.sum(dim=1))
    return torch.nn.functional.normalize(torch.cat(rows).float(), dim=-1)


def _distinct(pairs: Pairs) -> list[tuple[str, str]]:
    firsts, seconds = {}, {}
    for a, b in pairs:
        firsts[a], seconds[b] = firsts.get(a, 0) + 1, seconds.get(b, 0) + 1
    return [(a, b) for a, b in pairs if firsts[a] == seconds[b] == 1]
