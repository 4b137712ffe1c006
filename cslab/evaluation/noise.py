"""Attacks on embeddings: how a ranker's quality falls as the token embeddings of its pairs are moved.

No text changes; the move lies in a ball around the embeddings of each pair (`cslab.training.ball`), at random, or along
the gradient that lowers relevant documents and raises the others. The gradient is the worst case of what training on
perturbed embeddings is meant for; a random move is the common one.

    scores = noise_scores(encoder, task, epsilons=(0.0, 0.1, 0.2), system="Zero-shot")
    curve(scores)                                     # of attacks.py: the budget is epsilon
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from cslab.collections.trec import Run
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task
from cslab.ranking.cross_encoder import Encoder, checked_length
from cslab.ranking.pair_tokens import PairTokens, pair_tokens, token_batches
from cslab.ranking.precision import choose_precision, computing_in
from cslab.store import CslabError, nearest
from cslab.training.ball import Ball, Field, shifted, special_ids
from cslab.training.batches import Batch

KINDS = ("random", "gradient")


def noise_scores(
    encoder: Encoder,
    task: Task,
    epsilons: Sequence[float] = (0.0, 0.02, 0.05, 0.1),
    kind: str = "gradient",
    system: str = "model",
    seed: int = 0,
    depth: int = 10,
    norm: str = "l2",
    max_length: int | None = None,
    measures: Sequence[str] = ("MRR@10", "nDCG@10"),
    precision: str = "fp32",
) -> pd.DataFrame:
    """Quality under moved embeddings.

    Args:
        encoder: the model under attack.
        task: queries, documents, judgements and candidates.
        epsilons: radii, in units of the norm of each pair's embeddings.
        kind: `random` or `gradient`.
        system: the model's name.
        seed: of the random moves.
        depth: candidates that are ranked.
        norm: of the ball.
        max_length: tokens of a pair.
        measures: names of measures.
        precision: "auto", "fp32" or "bf16".

    Returns:
        The columns of `attacks.attack_scores`; the budget is epsilon, no words change.

    Raises:
        CslabError: for another kind of noise.
    """
    if kind not in KINDS:
        raise CslabError(f"noise: kind '{kind}' is not known; {nearest(kind, KINDS)}")
    ids = [(q, did) for q in task.queries if q in task.candidates.scores for did in task.candidates.ranking(q, depth)]
    texts = [(task.queries[q], task.documents[did]) for q, did in ids]
    relevant = np.array([task.qrels.get(q, {}).get(did, 0) > 0 for q, did in ids])
    tokens, parts = pair_tokens(encoder.tokenizer, texts, checked_length(encoder, max_length)), []
    balls = [Ball(epsilon, norm) for epsilon in epsilons]
    with computing_in(encoder.model, choose_precision(precision, encoder.device)[0]):
        moved = _moved(encoder, tokens, relevant, balls, kind, seed)
    for epsilon, found in zip(epsilons, moved, strict=True):
        scores: dict[str, dict[str, float]] = {}
        for (q, did), score in zip(ids, found.tolist(), strict=True):
            scores.setdefault(q, {})[did] = score
        run = Run(system, task.query_lang, task.doc_lang, task.candidates.first_stage, scores)
        rows = score_run(run, task.qrels, system, 0, measures)
        parts.append(rows.assign(attacked=system, method=f"{kind} noise", budget=epsilon, words=0, rankings=1))
    return pd.concat(parts, ignore_index=True)


def _moved(
    encoder: Encoder, tokens: PairTokens, relevant: np.ndarray, balls: Sequence[Ball], kind: str, seed: int
) -> np.ndarray:
    """Scores of all pairs with their embeddings moved, a row for each ball."""
    model, special = encoder.model, special_ids(encoder.tokenizer)
    scores = np.zeros((len(balls), len(relevant)), np.float32)
    model.eval()
    for number, rows in enumerate(token_batches(tokens.lengths, 4096)):
        inputs = {name: tensor.to(encoder.device) for name, tensor in tokens.batch(rows).items()}
        labels = torch.from_numpy(relevant[rows].astype(np.float32)).to(encoder.device)
        batch = Batch(number, 0, rows, inputs, labels, 0)
        fields = [Field.of(model, batch, ball, special) for ball in balls]
        # At the embeddings as they are, the gradient is the same for every ball.
        gradient = _harm(model, inputs, labels, fields[0].zero()) if kind == "gradient" else None
        for place, field in enumerate(fields):
            if gradient is None:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed * 1_000_003 + number)
                    move = field.drawn()
            else:
                move = field.climbed(field.zero(), gradient, 1.0)
            with torch.inference_mode(), shifted(model, move.detach()):
                scores[place, rows] = model(**inputs).logits[:, 0].float().cpu().numpy()
    return scores


def _harm(model: Any, inputs: dict[str, torch.Tensor], labels: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """The direction in which what is relevant scores lower, and all else higher."""
    with shifted(model, move):
        harm = (model(**inputs).logits[:, 0].float() * (1 - 2 * labels)).sum()
        return torch.autograd.grad(harm, move)[0]
