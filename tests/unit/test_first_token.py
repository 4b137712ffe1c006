"""The last layer for the first token alone gives the logits and gradients of the whole."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from cslab.ranking.first_token import first_token_only

pytestmark = pytest.mark.numbers

SIZES = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "num_labels": 1, "max_position_embeddings": 40, "attn_implementation": "sdpa",
}  # fmt: skip
MAKERS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "bert eager": lambda: BertForSequenceClassification(BertConfig(**SIZES | {"attn_implementation": "eager"})),
    "xlm-r": lambda: XLMRobertaForSequenceClassification(XLMRobertaConfig(**SIZES)),
}


def batch(padded: bool) -> dict[str, torch.Tensor]:
    mask = torch.ones(5, 20, dtype=torch.long)
    if padded:
        mask[1, 7:] = mask[3, 19:] = 0
    return {"input_ids": torch.randint(3, 60, (5, 20)) * mask + (1 - mask), "attention_mask": mask}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("padded", [False, True])
def test_logits_and_gradients_are_those_of_the_whole_layer(kind, padded):
    torch.manual_seed(0)
    model, inputs, found = MAKERS[kind]().eval(), batch(padded), []
    for first in (False, True):
        model.zero_grad()
        if first:
            with first_token_only(model):
                made = model(**inputs, output_hidden_states=True)
        else:
            made = model(**inputs)
        made.logits.square().sum().backward()
        found.append((made.logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=1e-5)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], atol=1e-6, rtol=1e-4, msg=name)
    assert made.hidden_states[-1].shape == (5, 1, 32), "the last layer was computed for one token"
    assert model(**inputs, output_hidden_states=True).hidden_states[-1].shape == (5, 20, 32)


def test_other_models_stay_as_they_are():
    model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4)).eval()
    inputs = batch(True)
    expected = model(**inputs).logits
    with first_token_only(model):
        assert torch.equal(model(**inputs).logits, expected)


def test_an_error_gives_the_model_back():
    model = MAKERS["bert"]().eval()
    with pytest.raises(KeyError), first_token_only(model):
        raise KeyError
    assert "forward" not in vars(model.bert.encoder.layer[-1])
