"""The last layer of a cross-encoder, computed only for the token that its head reads.

The classification heads of the BERT family read the first token alone. For it the last layer needs keys and values of
all tokens, but queries, output and feed-forward of one: five sixths of the layer's matrix products are saved, a seventh
of the work of six layers, a fourteenth of that of twelve. Logits and gradients are the same up to rounding.

    with first_token_only(model):
        model(**batch).logits
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

# Classes of transformers whose head reads `hidden[:, 0]`, directly or through a pooler.
FAMILY = tuple(f"{name}ForSequenceClassification" for name in ("Bert", "Roberta", "XLMRoberta", "Camembert", "Electra"))


@contextmanager
def first_token_only(model: nn.Module) -> Iterator[None]:
    """Inside, hidden states of the last layer have one token; models of other families stay as they are."""
    layer = _last_layer(model)
    if layer is None:
        yield
        return
    # What the class's own forward gives: a tuple until transformers 4, a tensor from 5 on.
    packed = str(type(layer).forward.__annotations__.get("return")).startswith("tuple")
    layer.forward = partial(_forward, layer, packed)
    try:
        yield
    finally:
        del layer.forward


def _last_layer(model: nn.Module) -> nn.Module | None:
    inner = getattr(model, "module", model)
    if type(inner).__name__ not in FAMILY:
        return None
    config = inner.config
    plain = getattr(config, "position_embedding_type", None) in (None, "absolute") and not config.is_decoder
    return inner.base_model.encoder.layer[-1] if plain and config._attn_implementation in ("sdpa", "eager") else None


def _forward(
    layer: Any, packed: bool, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor | tuple[Tensor]:
    attend = layer.attention.self
    first = hidden_states[:, :1]

    def heads(states: Tensor) -> Tensor:
        return states.unflatten(-1, (attend.num_attention_heads, attend.attention_head_size)).transpose(1, 2)

    found = nn.functional.scaled_dot_product_attention(
        heads(attend.query(first)), heads(attend.key(hidden_states)), heads(attend.value(hidden_states)),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
        dropout_p=attend.dropout.p if layer.training else 0.0,
    )  # fmt: skip
    attended = layer.attention.output(found.transpose(1, 2).flatten(2), first)
    made = layer.output(layer.intermediate(attended), attended)
    return (made,) if packed else made
