"""Pre-training a small encoder on monolingual text: masked words, inverse cloze, and words that stand in both texts.

Reads passages by language (no parallel data) and trains a model in place. An example is `[CLS] first [SEP] second
[SEP]`, an inverse cloze task (Lee et al. 2019, section 4): a sentence with some words missing, and its own passage or
another one. 15 % of the tokens are predicted, of which 80 % are masked, 10 % replaced and 10 % left (Devlin et al.
2019, section 3.1). The model also says of each word of the sentence whether the passage has it; without this dense
signal a small model finds out how to compare two texts only after thousands of steps. Languages take turns in equal
shares.

    pretrain(small_bert(len(tokenizer)), tokenizer, {"en": towns, "de": …}, PretrainSettings(steps=500))
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from cslab.store import CslabError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALIKE = 6.0  # logit of equal tokens in the first attention
NEAR = 0.5  # share of the wrong passages that are of the same group as the right one

Passages = Mapping[str, Sequence[Sequence[str]]]  # language → groups of passages


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pre-training; `lr` is the peak, reached after the share `warmup` of the steps."""

    steps: int = 1000
    batch: int = 64
    lr: float = 5e-4
    warmup: float = 0.1
    max_length: int = 64
    mask: float = 0.15
    weight_decay: float = 0.01
    seed: int = 1
    log_every: int = 50


def small_bert(vocabulary: int, width: int = 128, layers: int = 3, heads: int = 4, positions: int = 128, seed: int = 1):
    """A BERT with both pre-training heads and fresh weights drawn from the seed.

    Queries and keys of a head start as the same random projection, so that a token attends to tokens like itself
    (mimetic initialisation, 2305.09828): small models that start elsewhere need thousands of steps to find that out.
    There is no dropout: a model this small does not fit its text too well, and on a CPU the draws take half of a step.
    """
    from transformers import BertConfig, BertForPreTraining

    torch.manual_seed(seed)
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    shape |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(vocab_size=vocabulary, intermediate_size=4 * width, max_position_embeddings=positions, **shape)
    model = BertForPreTraining(config)
    for layer in model.bert.encoder.layer:
        attention = layer.attention.self
        # Equal tokens (norm √width after LayerNorm) get a logit of about ALIKE above unlike ones.
        nn.init.normal_(attention.query.weight, std=(ALIKE / (width * (width / heads) ** 0.5)) ** 0.5)
        attention.key.weight.data.copy_(attention.query.weight)
        for part in (attention.value, layer.attention.output.dense):
            nn.init.normal_(part.weight, std=0.8 / width**0.5)  # what is attended to counts from the first step on
    return model


def whole_words(texts: Mapping[str, Sequence[str]], size: int) -> Any:
    """A lower-cased WordPiece tokenizer whose pieces are the most frequent words of texts, and single letters.

    Made for text with few distinct words, where pieces of words would only lengthen it. Accents are kept.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    splitter, counted = pre_tokenizers.BertPreTokenizer(), Counter()
    for lines in texts.values():
        for line in lines:
            counted.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(line)))
    letters = sorted({letter for word in counted for letter in word})
    ranked = sorted(counted, key=lambda word: (-counted[word], word))
    pieces = dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *ranked])
    vocabulary = {piece: row for row, piece in enumerate(list(pieces)[:size])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, splitter, decoders.WordPiece()
    ids = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIAL}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names)


def pretrain(
    model: Any,
    tokenizer: Any,
    passages: Passages,
    settings: PretrainSettings,
    progress: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Trains a masked language model in place.

    Args:
        model: a BERT with its masked-word and pair heads, as `small_bert` gives it.
        tokenizer: its fast tokenizer, with a mask token.
        passages: language → groups of passages that are easily confused.
        settings: how long and how fast.
        progress: called with a line of text now and then.

    Returns:
        The mean loss of the last tenth of the steps, and the seconds it took.

    Raises:
        CslabError: if a group has fewer than two passages, or the loss is not a number.
    """
    if short := [code for code, groups in passages.items() if min(map(len, groups), default=0) < 2]:
        raise CslabError(f"passages in '{short[0]}': a group has fewer than two; add some or leave the group out")
    device = next(model.parameters()).device
    torch.manual_seed(settings.seed)
    shared = nn.Linear(model.config.hidden_size, 1).to(device)  # "the passage has this word"; thrown away at the end
    trained = [*model.parameters(), *shared.parameters()]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr)
    warm = max(1, int(settings.warmup * settings.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, max(0.02, (settings.steps - s) / max(1, settings.steps - warm)))
    )
    losses, started = [], time.time()
    model.train()
    for step, batch in enumerate(_batches(passages, tokenizer, settings)):
        loss = _loss(model, shared, {name: torch.as_tensor(value, device=device) for name, value in batch.items()})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise CslabError(f"pre-training: the loss is {losses[-1]} at step {step + 1}; lower the learning rate")
        if progress and ((step + 1) % settings.log_every == 0 or step + 1 == settings.steps):
            recent, speed = float(np.mean(losses[-settings.log_every :])), (step + 1) / (time.time() - started)
            progress(f"step {step + 1} of {settings.steps}: loss {recent:.3f}, {speed:.2f} steps/s")
    model.eval()
    last = losses[-max(1, settings.steps // 10) :]
    return {"loss": round(float(np.mean(last)), 4), "seconds": round(time.time() - started, 1)}


def _loss(model: Any, shared: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the chosen tokens (logits are made for them alone), of the shared words and of the pairs."""
    labels, pairs, both = (batch.pop(name) for name in ("labels", "pairs", "shared"))
    made = model.base_model(**batch)
    logits = model.cls.predictions(made.last_hidden_state[labels != -100])
    loss = nn.functional.cross_entropy(logits.float(), labels[labels != -100])
    loss = loss + nn.functional.cross_entropy(model.cls.seq_relationship(made.pooler_output).float(), pairs)
    asked = both >= 0
    found = shared(made.last_hidden_state[asked])[:, 0]
    return loss + 2 * nn.functional.binary_cross_entropy_with_logits(found.float(), both[asked].float())


def _batches(passages: Passages, tokenizer: Any, settings: PretrainSettings) -> Iterator[dict[str, np.ndarray]]:
    random, languages = np.random.default_rng(settings.seed), list(passages)
    special = np.array(sorted(tokenizer.all_special_ids))
    for _ in range(settings.steps):
        rows = [_cloze(passages[languages[i % len(languages)]], random) for i in range(settings.batch)]
        flat = [text for first, second, _ in rows for text in (first, second)]
        ids = tokenizer(flat, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        joined = _pad(list(zip(ids[::2], ids[1::2], strict=True)), tokenizer, settings.max_length)
        made = _masked(*joined, tokenizer, special, settings.mask, random)
        yield made | {"pairs": np.array([label for *_, label in rows]), "shared": _shared(*joined, special)}


def _cloze(groups: Sequence[Sequence[str]], random: np.random.Generator) -> tuple[str, str, int]:
    """A sentence with three words in ten missing, a passage, and 0 if it is the sentence's own (BERT's "is next")."""
    group = groups[int(random.integers(len(groups)))]
    own, other = random.choice(len(group), 2, replace=False)
    sentences = group[own].split(". ")
    kept = [w for w in sentences[int(random.integers(len(sentences)))].split() if random.random() > 0.3]
    label = int(random.integers(2))
    if not label:
        return " ".join(kept), group[own], label
    if random.random() < NEAR:
        return " ".join(kept), group[other], label
    group = groups[int(random.integers(len(groups)))]
    return " ".join(kept), group[int(random.integers(len(group)))], label


def _shared(ids: np.ndarray, types: np.ndarray, special: np.ndarray) -> np.ndarray:
    """For each token of a cloze sentence whether its passage has it; -1 for all other tokens."""
    words = ~np.isin(ids, special)
    found = np.full_like(ids, -1)
    for row in range(len(ids)):
        asked = words[row] & (types[row] == 0)
        found[row, asked] = np.isin(ids[row, asked], ids[row, words[row] & (types[row] == 1)])
    return found


def _pad(rows: Sequence[tuple[list[int], list[int]]], tokenizer: Any, limit: int) -> tuple[np.ndarray, np.ndarray]:
    cls, sep, room = tokenizer.cls_token_id, tokenizer.sep_token_id, limit - 3
    joined = []
    for a, b in rows:
        first = a[: max(room // 2, room - len(b))]
        joined.append(([cls, *first, sep], [*b[: room - len(first)], sep]))
    width = max(len(a) + len(b) for a, b in joined)
    ids = np.full((len(rows), width), tokenizer.pad_token_id, dtype=np.int64)
    types = np.zeros_like(ids)
    for row, (a, b) in enumerate(joined):
        ids[row, : len(a)], ids[row, len(a) : len(a) + len(b)] = a, b
        types[row, len(a) : len(a) + len(b)] = 1
    return ids, types


def _masked(
    ids: np.ndarray, types: np.ndarray, tokenizer: Any, special: np.ndarray, share: float, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """The model's inputs with a share of the tokens to be predicted, and `labels`: these tokens, −100 elsewhere."""
    usable = ~np.isin(ids, special)
    chosen = usable & (random.random(ids.shape) < share)
    labels = np.where(chosen, ids, -100)
    fate = random.random(ids.shape)
    masked = np.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids)
    other = random.integers(len(special), len(tokenizer), ids.shape)
    masked = np.where(chosen & (fate >= 0.9), other, masked)
    attention = (ids != tokenizer.pad_token_id).astype(np.int64)
    return {"input_ids": masked, "token_type_ids": types, "attention_mask": attention, "labels": labels}
