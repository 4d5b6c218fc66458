"""Losses that tell pairs of vectors of length 1 from many others; products are cosines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast import ops

Map = Callable[[Tensor], Tensor]


def _itself(tensor: Tensor) -> Tensor:
    return tensor


class Negatives(NamedTuple):
    """Rows [n, K] that all pairs are told from, the ids int64 [n] of what they are of, and what is added to their
    logits, [n] or None: nothing."""

    rows: Tensor
    ids: Tensor
    bias: Tensor | None = None

    def log_sums(self, rows: Tensor, ids: Tensor, temperature: float) -> Tensor:
        """log Σ exp(cosine / temperature + bias) of each of rows [B, K] over the negatives whose id is not its own of
        ids int64 [B]: [B], -inf where there is none."""
        return ops.log_sum_exp(rows, self.rows, ids, self.ids, self.bias, 1 / temperature)


class OwnNegatives(NamedTuple):
    """Rows [n, K], which of them each pair is told from, int64 [B, M], and what is added to these logits, [B, M] or
    None: nothing."""

    rows: Tensor
    places: Tensor
    bias: Tensor | None = None

    def log_sums(self, rows: Tensor, temperature: float) -> Tensor:
        """log Σ exp(cosine / temperature + bias) of each of rows [B, K] over its own negatives: [B]."""
        logits = ops.candidate_scores(rows.to(self.rows.dtype), self.rows, self.places) / temperature
        return (logits if self.bias is None else logits + self.bias).logsumexp(1)


def sampled_softmax(logits: Tensor, negatives: Tensor) -> Tensor:
    """−log of each pair's share in a softmax over it and its negatives: [B].

    SSM, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation" (Wu et al., arXiv 2201.02327).

    Args:
        logits: [B], the pairs' cosines over the temperature. negatives: [B], the `log_sums` of their negatives.
    """
    return F.softplus(negatives - logits)


def bilateral_softmax(logits: Tensor, negatives: Tensor) -> Tensor:
    """The negatives' log-sums less the pairs' logits, each with a temperature of its own: [B].

    BSL, "BSL: Understanding and Improving Softmax Loss for Recommendation" (Wu et al., ICDE 2024), as its published
    code has it, whose t1 is the negatives' temperature and t1 t2 the pairs', over t2. A pair is no part of the sum.
    Arguments as in `sampled_softmax`; a pair without negatives has its logit alone.
    """
    return negatives.masked_fill(negatives == -torch.inf, 0.0) - logits


def top_k_weights(cosines: Tensor, thresholds: Tensor, temperature: float) -> Tensor:
    """The weights of clicks in a loss that looks at the first K alone: near 1 above, near 0 below what a score must
    reach to be among these, [B].

    SL@K, "Breaking the Top-K Barrier: Advancing Top-K Ranking Metrics Optimization in Recommender Systems" (Yang et
    al., KDD 2025), which weighs sampled softmaxes. As in its published code gradients go through the weights too.

    Args:
        cosines: [B]. thresholds: [B], the users' K-th best scores. temperature: what the difference is divided by.
    """
    return ((cosines - thresholds) / temperature).sigmoid()


def alignment_and_uniformity(
    users: Tensor, items: Tensor, gamma: float, own_of: Map = _itself, total: Map = _itself
) -> tuple[Tensor, Tensor]:
    """DirectAU's mean |u − i|², and gamma times the mean of both sides' uniformity.

    "Towards Representation Alignment and Uniformity in Collaborative Filtering" (Wang et al., KDD 2022).

    Args:
        users, items: [B, K].
        own_of: gives of B rows those whose part of the losses is wanted. total: the sum over all parts of what is given
            of one, with gradients. By default the part is the whole.
    """
    alignment = (own_of(users) - own_of(items)).square().sum(1).mean()
    return alignment, gamma * (uniformity(users, own_of, total) + uniformity(items, own_of, total)) / 2


def uniformity(rows: Tensor, own_of: Map = _itself, total: Map = _itself) -> Tensor:
    """log of the mean of e^(−2 |x − y|²) over the pairs of rows [B, K]; 0 where there is no pair."""
    n_rows = len(rows)
    if n_rows < 2:
        return rows.new_zeros(())
    each = torch.arange(n_rows, device=rows.device)
    sums = Negatives(rows, each).log_sums(own_of(rows), own_of(each), 1 / 4)  # |x − y|² is 2 − 2 x·y
    return total(sums.exp().sum()).log() - 4 - math.log(n_rows * (n_rows - 1))
