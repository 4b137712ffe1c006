"""A vocabulary cut to what is needed: a multilingual encoder in a quarter of its memory, with the same scores.

Most of a multilingual encoder is its vocabulary: 96 of the 118 million weights of `me5` are embeddings of 250,000 word
pieces, and a collection in five languages uses a tenth of them. Here those pieces stay that the texts at hand are cut
into, every single character, and the special tokens; embeddings keep their values and pieces their order.

A Unigram tokenizer cuts a text into the pieces with the highest sum of scores. The best cut of these texts is still on
offer and every other one was worse already, so they are cut as before. Any other text can still be cut, into smaller
pieces perhaps; it holds an unknown token only where a character is in no single piece of the whole vocabulary either.
WordPiece and BPE work otherwise: there a piece may be needed on the way to another one, so they are refused.

Reads an encoder and texts; gives a new encoder, whose notes count the pieces of the `whole` vocabulary and the `kept`.

    small = cut_vocabulary(load_encoder("me5"), texts)
    small.notes         # {"whole": 250002, "kept": 38210}
"""

import copy
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from cslab.ranking.cross_encoder import Encoder
from cslab.ranking.pair_tokens import backend, token_blocks, with_state
from cslab.store import CslabError

KIND = "Unigram"


def cut_vocabulary(encoder: Encoder, texts: Iterable[str]) -> Encoder:
    """An encoder whose vocabulary is what some texts need.

    Args:
        encoder: an encoder with a Unigram tokenizer; it is left as it is.
        texts: all texts that are to be cut into pieces as before, prefixes of an encoder included.

    Raises:
        CslabError: for a tokenizer of another kind, or with a layout of pairs that is not understood.
    """
    kept = needed_pieces(encoder.tokenizer, texts, encoder.name)
    old = encoder.model.get_input_embeddings()
    weight = nn.Parameter(old.weight.detach()[torch.from_numpy(kept).to(old.weight.device)].clone())
    # The copy takes the small table for the large one, which is never copied.
    model = copy.deepcopy(encoder.model, {id(old.weight): weight})
    model.get_input_embeddings().num_embeddings = model.config.vocab_size = len(kept)
    notes = {**encoder.notes, "whole": len(encoder.tokenizer), "kept": len(kept)}
    return replace(encoder, model=model, tokenizer=with_kept(encoder.tokenizer, kept), notes=notes)


def needed_pieces(tokenizer: Any, texts: Iterable[str], name: str = "tokenizer") -> np.ndarray:
    """The ids, ascending, of the pieces that texts are cut into, single characters, and special tokens.

    Raises:
        CslabError: for a tokenizer that is not Unigram.
    """
    state = json.loads(backend(tokenizer).to_str())
    if (kind := state["model"]["type"]) != KIND:
        raise CslabError(
            f"{name}: its vocabulary is {kind}; only {KIND} vocabularies can be cut: set encoder.vocabulary to whole"
        )
    pieces = state["model"]["vocab"]
    kept = {i for i, (piece, _) in enumerate(pieces) if len(piece) == 1}
    kept |= {token["id"] for token in state["added_tokens"]} | {state["model"]["unk_id"] or 0}
    # What an unknown character costs is reckoned from the lowest score.
    kept.add(min(range(len(pieces)), key=lambda i: pieces[i][1]))
    for ids, _ in token_blocks(tokenizer, texts):
        kept.update(np.unique(ids).tolist())
    return np.array(sorted(kept), np.int64)


def with_kept(tokenizer: Any, kept: Sequence[int] | np.ndarray) -> Any:
    """A copy of a Unigram tokenizer with some of its pieces, numbered anew in their order.

    Raises:
        CslabError: for a layout of pairs other than a template.
    """
    state = json.loads(backend(tokenizer).to_str())
    number = {int(old): new for new, old in enumerate(kept)}
    pieces, layout = state["model"]["vocab"], state["post_processor"]
    if layout["type"] != "TemplateProcessing":
        raise CslabError(
            f"tokenizer: pairs are laid out by {layout['type']}; save it with a template of special tokens"
        )
    state["model"]["vocab"] = [pieces[old] for old in number if old < len(pieces)]
    state["model"]["unk_id"] = number.get(state["model"]["unk_id"])
    for token in state["added_tokens"]:
        token["id"] = number[token["id"]]
    for token in layout["special_tokens"].values():
        token["ids"] = [number[old] for old in token["ids"]]
    return with_state(tokenizer, state)
