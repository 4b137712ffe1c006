"""Training on chosen texts: fresh variants of a batch, the worst of k, and the adversary that trains on the choice.

A variant of a batch is another draw of the same pure function: copy k of the key (seed, epoch, example, k), copy 0
being the batch itself. Where a condition switches source text, variants are drawn in token-id space; where it trains on
translations, they are other translations.

    given = Given(encoder, pairs, texts, max_length=96, lexicons=lexicons)
    attack = OnText(WorstOf(given.variants(), k=4), clean=0.0)
    train(encoder, pairs, texts, settings, folder, adversary=attack)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cslab.ranking.cross_encoder import Encoder
from cslab.store import CslabError
from cslab.switching.draw import Key
from cslab.switching.feed import PairIds
from cslab.switching.policy import Policy, policy_named
from cslab.switching.switch import switcher
from cslab.switching.tokens import TokenSwitcher
from cslab.training.ball import SameDropout, alone, embedding_table, plain_step, shifted, special_ids
from cslab.training.batches import Batch
from cslab.training.conditions import Lexicons, SourceTexts, TranslatedTexts
from cslab.training.loop import Adversary, Objective
from cslab.training.pairs import Pairs
from cslab.training.reading import AsTheyAre, PairTexts, Switching, cut_once, part_key, worth_cutting

Inputs = dict[str, Tensor]
Variants = Callable[[Batch, int], Inputs]  # (batch, copy) → the model's inputs


# --- what methods are given ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """What a training consists of, for methods that look further than the batch.

    Attributes:
        encoder: the one trained.
        pairs: ids and labels.
        texts: what pairs read.
        max_length: tokens of a pair.
        lexicons: target language → lexicon, for methods that switch by a policy of their own.
    """

    encoder: Encoder
    pairs: Pairs
    texts: PairTexts
    max_length: int
    lexicons: Lexicons

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of tokens that are no text."""
        return special_ids(self.encoder.tokenizer)

    def padding(self) -> dict[str, int]:
        """What fills each input up."""
        tokenizer = self.encoder.tokenizer
        names = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        return {"attention_mask": 0} | names

    def ids(self, policy: str | None = None, whole: bool = True) -> PairIds:
        """The pairs in token-id space, switched by the condition's policy or one of `POLICIES`.

        Args:
            policy: a row of `POLICIES`; None for the condition's own.
            whole: whether every text is cut, for those who look at alternatives, or as many as fit the memory.

        Raises:
            CslabError: for a condition whose text cannot be switched, or a policy that lacks a lexicon.
        """
        texts = self.texts
        if not isinstance(texts, SourceTexts):
            raise CslabError(
                "robust training: this condition trains on translations, which the lexicons cannot switch; "
                "use a method on embeddings, such as fgm, or worst-of-k without a policy"
            )
        if whole:
            cut = {"query": list(dict.fromkeys(self.pairs.qids.tolist()))}
            cut["document"] = list(dict.fromkeys(self.pairs.dids.tolist()))
        else:
            cut = worth_cutting(self.pairs, {"query": texts.queries, "document": texts.documents})
        if policy is None and texts.switcher is not None:
            tokens = cut_once(texts, self.encoder.tokenizer, cut)
        else:
            made = switcher(self.lexicons, self._policy(policy or "ML-CS"))
            tokens = TokenSwitcher(self.encoder.tokenizer, made, texts.queries, texts.documents, cut)
        return PairIds(tokens, self.max_length, texts.seed)

    def _policy(self, name: str) -> Policy:
        source = self.pairs.language
        policy = policy_named(name, source)
        if policy.languages != (source,):
            held = tuple(code for code in self.lexicons if code != source)
            return replace(policy, languages=held)
        if source not in self.lexicons:
            raise CslabError(
                f"robust training: policy '{name}' takes synonyms, and there is no {source}→{source} lexicon; "
                "make one with cslab.lexicon.synonyms"
            )
        return policy

    def variants(self, policy: str | None = None) -> Variants:
        """Makes variants of batches; with a policy, of the text as that policy switches it."""
        if policy is None and isinstance(self.texts, TranslatedTexts):
            return _OfTranslations(AsTheyAre(self.texts, self.encoder.tokenizer, self.max_length))
        return _OfIds(Switching(self.pairs, self.ids(policy, whole=False)))


@dataclass(frozen=True)
class _OfIds:
    """Variants drawn in token-id space."""

    read: Switching

    @property
    def key(self) -> Any:
        """The policy they are drawn by."""
        return self.read.ids.tokens.policy.to_dict()

    def __call__(self, batch: Batch, copy: int) -> Inputs:
        window = self.read(batch.epoch, batch.rows, copy)
        return on_device(window.batch(np.arange(len(batch.rows)), width_unit(batch)), batch)


@dataclass(frozen=True)
class _OfTranslations:
    """Variants in other languages drawn from a collection's translations."""

    read: AsTheyAre

    def __call__(self, batch: Batch, copy: int) -> Inputs:
        texts = self.read.texts
        seed = Key(texts.seed, 0, "variant", copy).number() if copy else texts.seed
        window = self.read.window(replace(texts, seed=seed).named(batch.epoch, batch.rows.tolist()))
        return on_device(window.batch(np.arange(len(batch.rows)), width_unit(batch)), batch)


def width_unit(batch: Batch) -> int:
    """What widths are a multiple of, as in the loop."""
    return 8 if batch.labels.device.type == "cuda" else 1


def on_device(inputs: Mapping[str, Tensor], batch: Batch) -> Inputs:
    """Inputs where the batch is."""
    return {name: tensor.to(batch.labels.device, non_blocking=True) for name, tensor in inputs.items()}


# --- choosing ------------------------------------------------------------------------------------------------


class Chooser(Protocol):
    """Chooses the text of a batch that is trained on.

    A `guided` one is given the gradient of the loss at the batch's token embeddings, (pairs, width, dimensions).
    """

    guided: bool

    @property
    def key(self) -> Any:
        """What tells it from others, JSON-like."""

    def __call__(self, model: nn.Module, batch: Batch, objective: Objective, gradient: Tensor | None) -> Inputs:
        """The model's inputs; labels stay."""


@dataclass(frozen=True)
class Fresh:
    """A further draw by a policy, whatever the loss: text augmentation such as RS-DA and CAT."""

    variants: Variants
    guided = False

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return ["fresh", part_key(self.variants)]

    def __call__(self, model: nn.Module, batch: Batch, objective: Objective, gradient: Tensor | None) -> Inputs:
        """The drawn text."""
        return self.variants(batch, 1)


@dataclass(frozen=True)
class WorstOf:
    """For each pair, the one of `k` variants whose logit, put in place of the pair's own, gives the largest loss.

    The batch itself is the first variant. All are compared without dropout, in passes over rows of like length.
    """

    variants: Variants
    k: int
    padding: Mapping[str, int]
    guided = False

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return ["worst", self.k, part_key(self.variants)]

    def __call__(self, model: nn.Module, batch: Batch, objective: Objective, gradient: Tensor | None) -> Inputs:
        """The chosen texts; k forward passes without gradients."""
        if self.k == 1:
            return batch.inputs
        objective, pairs = alone(objective), len(batch.labels)
        stacked = together([batch.inputs, *(self.variants(batch, copy) for copy in range(1, self.k))], self.padding)
        lengths, unit = stacked["attention_mask"].sum(dim=1), width_unit(batch)
        logits = torch.zeros(self.k * pairs, device=batch.labels.device)
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for rows in lengths.argsort(stable=True).split(pairs):
                    logits[rows] = objective.logits(trimmed(stacked, rows, unit))
        finally:
            model.train(training)
        chosen = worst(objective, logits.view(self.k, pairs))
        return trimmed(stacked, chosen * pairs + torch.arange(pairs, device=chosen.device), unit)


def worst(objective: Objective, logits: Tensor) -> Tensor:
    """Which variant of each pair is the worst, the other pairs being as they are.

    Args:
        objective: whose loss is meant; it may compare pairs with each other.
        logits: (variants, pairs), those of the batch itself first.

    Returns:
        (pairs,) numbers of variants; the first of equally bad ones.
    """
    count, pairs = logits.shape
    places = torch.arange(pairs, device=logits.device)
    tried = logits[0].repeat(count * pairs, 1)
    tried[torch.arange(count * pairs, device=logits.device), places.repeat(count)] = logits.reshape(-1)
    return torch.vmap(objective.loss)(tried).view(count, pairs).argmax(dim=0)


def together(variants: Sequence[Inputs], padding: Mapping[str, int]) -> Inputs:
    """The rows of all variants under one another, all as wide as the widest."""
    width = max(one["input_ids"].shape[1] for one in variants)

    def wide(name: str, tensor: Tensor) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=padding.get(name, 0))

    return {name: torch.cat([wide(name, one[name]) for one in variants]) for name in variants[0]}


def trimmed(inputs: Inputs, rows: Tensor, multiple: int) -> Inputs:
    """Some rows, no wider than the longest of them (and a multiple of `multiple`)."""
    longest = -(-int(inputs["attention_mask"][rows].sum(dim=1).max()) // multiple) * multiple
    return {name: tensor[rows, :longest] for name, tensor in inputs.items()}


# --- training on the choice ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnText:
    """The loss on chosen text: `clean` · L(batch) + (1 - `clean`) · L(chosen), the latter plain or by `then`.

    Attributes:
        choose: what is trained on.
        clean: weight of the loss on the batch itself; 0 leaves it out.
        then: an adversary on the chosen text's embeddings.
    """

    choose: Chooser
    clean: float
    then: Adversary | None = None

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return ["on text", self.clean, part_key(self.choose), self.then and part_key(self.then)]

    def __call__(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Callable[[Tensor], None]
    ) -> Tensor:
        """One step's gradients; returns the loss."""
        again = SameDropout(batch.labels.device)
        gradient, value = self._own(model, batch, objective, backward)
        again()
        inputs = self.choose(model, batch, objective, gradient)
        again()
        chosen = replace(batch, inputs=inputs)

        def weighed(loss: Tensor) -> None:
            backward((1 - self.clean) * loss)

        step = (model, chosen, objective, weighed)
        loss = self.then(*step) if self.then else plain_step(chosen, objective, weighed)
        return value + (1 - self.clean) * loss.detach()

    def _own(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Callable[[Tensor], None]
    ) -> tuple[Tensor | None, Tensor | float]:
        """A pass over the batch itself, as far as asked for: the gradient that guides a choice, and the clean loss."""
        if not self.choose.guided and not self.clean:
            return None, 0.0
        if not self.choose.guided:
            loss = objective(batch.inputs)
            backward(self.clean * loss)
            return None, self.clean * loss.detach()
        shape = *batch.inputs["input_ids"].shape, embedding_table(model).embedding_dim
        move = torch.zeros(shape, device=batch.labels.device, requires_grad=True)
        with shifted(model, move):
            if not self.clean:
                return torch.autograd.grad(alone(objective)(batch.inputs), move)[0], 0.0
            loss = objective(batch.inputs)
            backward(self.clean * loss)
        return move.grad, self.clean * loss.detach()
