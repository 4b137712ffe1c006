"""Losses, as a table: name → function, what it wants, when to use it, and where it is from.

A loss takes the encoder's logits and the labels of a batch, float32, and gives a scalar. A loss of *pairs* sees them as
(pairs,); a loss of *groups* sees them as (groups, size), the positive first, as `Pairs` keeps them, and the loop then
never parts a group. Every loss is a mean over equal parts, so that processes and accumulation do not change it. A
teacher's scores take the place of labels (see `teachers.py`). Adding a loss is a function and a row.

    >>> bce(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])).item()  # ln 2: a model that knows nothing
    0.6931471824645996
    >>> one_group = torch.tensor([[2.0, 1.0, 0.0]])
    >>> round(lce(one_group, torch.tensor([[1.0, 0.0, 0.0]])).item(), 4)  # -ln softmax of the positive
    0.4076
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cslab.store import CslabError, nearest

ANY = (-float("inf"), float("inf"))


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        name: as settings call it.
        compute: function of (logits, labels), both (pairs,) or, if `grouped`, (groups, size).
        labels: the range its labels must be in.
        use: what it is for.
        reference: where it is from.
        grouped: whether it compares the pairs of a group.
        first: whether the first pair of a group must have its highest label above 0.
    """

    name: str
    compute: Callable[[Tensor, Tensor], Tensor]
    labels: tuple[float, float]
    use: str
    reference: str
    grouped: bool = False
    first: bool = False

    def __call__(self, logits: Tensor, labels: Tensor, group: int = 1) -> Tensor:
        """The loss of flat logits and labels, (pairs,) each, whose groups of `group` follow one another."""
        if not self.grouped:
            return self.compute(logits, labels)
        return self.compute(logits.view(-1, group), labels.view(-1, group))


# --- pair by pair --------------------------------------------------------------------------------------------


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of each pair on its own, in its stable form on logits, averaged.

    Args:
        logits: (pairs,), any real number.
        labels: (pairs,), in [0, 1].

    >>> round(bce(torch.tensor([3.0, 1.0]).log(), torch.tensor([1.0, 1.0])).item(), 4)  # -(ln 3/4 + ln 1/2) / 2
    0.4904
    """
    return functional.binary_cross_entropy_with_logits(logits, labels)


# --- two pairs of a group ------------------------------------------------------------------------------------


def hinge(logits: Tensor, labels: Tensor) -> Tensor:
    """Pairwise hinge loss: a better document should lead a worse one by a margin of 1.

    Averaged over the couples of a group whose labels differ, then over groups; a group without any counts as 0.

    Args:
        logits: (groups, size).
        labels: (groups, size), any grades.

    >>> hinge(torch.tensor([[2.0, 1.5, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])).item()  # 0.5 is missing to one of two
    0.25
    """
    return _over_couples(functional.relu(1 - _differences(logits)), labels)


def ranknet(logits: Tensor, labels: Tensor) -> Tensor:
    """RankNet: the cross-entropy of "this document is better than that one", averaged as in `hinge`.

    Args:
        logits: (groups, size).
        labels: (groups, size), any grades.

    >>> round(ranknet(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 1.0]])).item(), 4)  # ln 2: no order yet
    0.6931
    """
    return _over_couples(functional.softplus(-_differences(logits)), labels)


def margin_mse(logits: Tensor, labels: Tensor) -> Tensor:
    """MarginMSE: the lead of the first document over each other one should be the teacher's.

    Args:
        logits: (groups, size), the positive first.
        labels: (groups, size), a teacher's scores on any scale.

    >>> margin_mse(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[5.0, 4.0, 4.0]])).item()  # leads 1, 2; wanted 1, 1
    0.5
    """
    mine, teacher = (scores[:, :1] - scores[:, 1:] for scores in (logits, labels))
    return functional.mse_loss(mine, teacher)


def _differences(scores: Tensor) -> Tensor:
    """(groups, size, size): score of the row's document minus that of the column's."""
    return scores[:, :, None] - scores[:, None, :]


def _over_couples(costs: Tensor, labels: Tensor) -> Tensor:
    better = (_differences(labels) > 0).to(costs.dtype)
    return ((costs * better).sum((1, 2)) / better.sum((1, 2)).clamp(min=1)).mean()


# --- a whole group -------------------------------------------------------------------------------------------


def lce(logits: Tensor, labels: Tensor) -> Tensor:
    """Localised contrastive estimation: softmax cross-entropy of the positive among its group (InfoNCE's form).

    Labels are divided by their sum, so graded ones, or several positives, are a distribution to match.

    Args:
        logits: (groups, size).
        labels: (groups, size), not negative, the first above 0.

    >>> round(lce(torch.tensor([[3.0, 1.0]]).log(), torch.tensor([[1.0, 0.0]])).item(), 4)  # -ln 3/4
    0.2877
    """
    return functional.cross_entropy(logits, labels / labels.sum(1, keepdim=True))


def lambdaloss(logits: Tensor, labels: Tensor, mu: float = 10.0) -> Tensor:
    """LambdaLoss, NDCG-Loss2++: couples weighed by what their order is worth in nDCG at the current ranks.

    With gains G = (2^label - 1) / ideal DCG and discounts D(rank) = log2(1 + rank), a couple whose labels differ costs
    log2(1 + exp(s_j - s_i)) · |G_i - G_j| · (|1/D(r_i) - 1/D(r_j)| + mu · |1/D(|r_i - r_j|) - 1/D(|r_i - r_j| + 1)|).
    The first term is LambdaRank's, the second NDCG-Loss2's, a tighter bound. Summed over couples, averaged over groups.

    Args:
        logits: (groups, size).
        labels: (groups, size), grades; those of sampled pairs are 1 and 0.
        mu: weight of the second term.

    >>> round(lambdaloss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item(), 4)  # 1 · 1 · 11 (1 - 1 / log2 3)
    4.0598
    """
    gains = _gains(labels)
    with torch.no_grad():
        # Rank from 1 on; equal scores in the order of the group.
        order = logits.argsort(dim=1, descending=True, stable=True)
        ranks = (order.argsort(dim=1) + 1).to(logits.dtype)
        apart = _differences(ranks).abs()
        swap = (1 / _discount(ranks[:, :, None]) - 1 / _discount(ranks[:, None, :])).abs()
        near = (1 / _discount(apart.clamp(min=1)) - 1 / _discount(apart + 1)).abs()
        weights = (swap + mu * near) * _differences(gains).abs() * (_differences(labels) > 0)
    costs = functional.softplus(-_differences(logits)) / np.log(2)
    return (costs * weights).sum((1, 2)).mean()


def kl(logits: Tensor, labels: Tensor) -> Tensor:
    """Distillation: KL divergence of the model's softmax over a group from the teacher's, averaged over groups.

    Args:
        logits: (groups, size).
        labels: (groups, size), a teacher's logits.

    >>> round(kl(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()).item(), 4)  # 3/4 ln 3/2 + 1/4 ln 1/2
    0.1308
    """
    told, wanted = logits.log_softmax(1), labels.log_softmax(1)
    return functional.kl_div(told, wanted, log_target=True, reduction="batchmean")


def _discount(rank: Tensor) -> Tensor:
    return torch.log2(1 + rank)


def _gains(labels: Tensor) -> Tensor:
    gains = torch.exp2(labels) - 1
    ranks = torch.arange(1, labels.shape[1] + 1, device=labels.device, dtype=labels.dtype)
    ideal = (gains.sort(dim=1, descending=True).values / _discount(ranks)).sum(1, keepdim=True)
    return gains / ideal.clamp(min=1e-9)


# --- two readings of a group ---------------------------------------------------------------------------------


def jensen_shannon(logits: Tensor, other: Tensor) -> Tensor:
    """Jensen–Shannon divergence, in nats, of two softmax distributions over a group, averaged over groups.

    Args:
        logits: (groups, size).
        other: (groups, size), of the same documents read differently.

    >>> round(jensen_shannon(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()).item(), 4)  # at most ln 2
    0.0338
    """
    p, q = logits.log_softmax(1), other.log_softmax(1)
    middle = torch.logaddexp(p, q) - np.log(2)
    return sum(functional.kl_div(middle, side, log_target=True, reduction="batchmean") for side in (p, q)) / 2


def alignment(logits: Tensor, other: Tensor, labels: Tensor, right: Callable[[Tensor, Tensor], Tensor] = lce) -> Tensor:
    """Auxiliary of two readings of the same pairs (one switched or translated): they should agree, and both be right.

    2604.05684 adds a Jensen–Shannon divergence between the representations of parallel texts to InfoNCE. A
    cross-encoder has no representation of a text alone; its distribution over the documents of a group takes the place.

    Args:
        logits: (groups, size), of the texts that are trained on.
        other: (groups, size), of the other reading.
        labels: (groups, size), as for `right`.
        right: the loss of the other reading; `kl` where labels are a teacher's scores.

    >>> round(alignment(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item(), 4)  # they agree
    0.6931
    """
    return jensen_shannon(logits, other) + right(other, labels)


# --- the table -----------------------------------------------------------------------------------------------

GRADES = (0.0, 10.0)

LOSSES: dict[str, Loss] = {
    row.name: row
    for row in (
        Loss(
            name="bce",
            compute=bce,
            labels=(0.0, 1.0),
            use="relevance judged pair by pair, scores that mean a probability; the default",
            reference="2305.05295, section 4.2; monoBERT (1901.04085)",
        ),
        Loss(
            name="hinge",
            compute=hinge,
            labels=GRADES,
            use="only the order counts and a lead of 1 is enough; the loss of many rankers before monoBERT",
            reference="Joachims (KDD 2002); for BERT: CEDR (1904.07094)",
            grouped=True,
        ),
        Loss(
            name="ranknet",
            compute=ranknet,
            labels=GRADES,
            use="only the order counts; graded labels",
            reference="Burges et al. (ICML 2005)",
            grouped=True,
        ),
        Loss(
            name="lce",
            compute=lce,
            labels=GRADES,
            use="one positive among hard negatives; usually the best of those without a teacher",
            reference="localised contrastive estimation (2101.08751)",
            grouped=True,
            first=True,
        ),
        Loss(
            name="lambdaloss",
            compute=lambdaloss,
            labels=GRADES,
            use="graded labels, or when the top of the list matters most",
            reference="1811.04415, NDCG-Loss2++",
            grouped=True,
        ),
        Loss(
            name="margin-mse",
            compute=margin_mse,
            labels=ANY,
            use="a teacher's scores as labels; scales of teacher and model may differ by a constant",
            reference="2010.02666",
            grouped=True,
        ),
        Loss(
            name="kl",
            compute=kl,
            labels=ANY,
            use="a teacher's logits as labels, groups of many documents",
            reference="Hinton et al. (1503.02531); over a query's documents: ColBERTv2 (2112.01488); of translated "
            "text by a teacher of English: Translate-Distill (2401.04810)",
            grouped=True,
        ),
    )
}


def loss_named(name: str, labels: np.ndarray, group: int = 1) -> Loss:
    """The loss of a name, once all labels are known to suit it.

    Args:
        name: a row of the table.
        labels: (pairs,), all that will be trained on.
        group: pairs in a group.

    Raises:
        CslabError: for an unknown name, a label outside the loss's range, or groups that it cannot use.
    """
    if name not in LOSSES:
        raise CslabError(f"loss '{name}' is not known; {nearest(name, list(LOSSES))}")
    loss, (low, high) = LOSSES[name], LOSSES[name].labels
    outside = np.flatnonzero(~((labels >= low) & (labels <= high) & np.isfinite(labels)))
    if len(outside):
        bad, wanted = labels[outside[0]], "finite numbers" if loss.labels == ANY else f"{low:g} to {high:g}"
        raise CslabError(f"pair {outside[0]} has label {bad:g}; loss '{name}' wants {wanted}; rescale the labels")
    if loss.grouped and group < 2:
        raise CslabError(f"loss '{name}' compares the pairs of a group, but groups have {group}; sample negatives")
    if loss.first:
        check_positives(labels, group, f"loss '{name}'")
    return loss


def guessing(loss: Loss, labels: np.ndarray, group: int = 1) -> float:
    """The loss of a ranker that gives all pairs the same score, the best one: what training has to get below.

    Args:
        loss: a row of the table.
        labels: (pairs,), all that is trained on.
        group: pairs in a group.

    >>> round(guessing(LOSSES["bce"], np.array([1, 0, 0, 0, 0])), 4)  # the entropy of one in five
    0.5004
    >>> round(guessing(LOSSES["lce"], np.array([1, 0, 0, 0, 0]), group=5), 4)  # ln 5
    1.6094
    """
    known = torch.tensor(labels, dtype=torch.float32)
    # Losses that compare the pairs of a group do not see which constant it is.
    score = torch.zeros(()) if loss.grouped else torch.logit(known.mean(), eps=1e-6)
    return float(loss(score.expand(len(known)).contiguous(), known, group))


def check_positives(labels: np.ndarray, group: int, who: str) -> None:
    """Makes sure that the first pair of every group has a label above 0.

    Raises:
        CslabError: naming the first group without.
    """
    lacking = np.flatnonzero(~(labels[::group] > 0))
    if len(lacking):
        raise CslabError(f"group {lacking[0]} does not begin with a label above 0; {who} wants the positive first")
