"""Losses over vectors of pairs, whose negatives are the other pairs'."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast import ops


def sampled_softmax(users: Tensor, items: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """The mean of −log of each click's share in a softmax over the batch's items.

    SSM, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation" (Wu et al., arXiv 2201.02327), with
    in-batch negatives: an item is drawn as often as it is clicked, which counteracts popularity.

    Args:
        users, items: [B, K], of length 1, so that products are cosines.
        ids: int64 [B] of the items: a click's own item is no negative of it, wherever it stands.
        temperature: what cosines are divided by.
    """
    positive = (users * items).sum(1) / temperature
    negative = ops.log_sum_exp(users, items, ids, ids, scale=1 / temperature)
    return F.softplus(negative - positive).mean()


def alignment_and_uniformity(users: Tensor, items: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """DirectAU's mean |u − i|², and gamma times the mean of both sides' uniformity.

    "Towards Representation Alignment and Uniformity in Collaborative Filtering" (Wang et al., KDD 2022). users, items:
    [B, K], of length 1.
    """
    alignment = (users - items).square().sum(1).mean()
    return alignment, gamma * (uniformity(users) + uniformity(items)) / 2


def uniformity(rows: Tensor) -> Tensor:
    """log of the mean of e^(−2 |x − y|²) over the pairs of rows [B, K] of length 1; 0 where there is no pair."""
    n_rows = len(rows)
    if n_rows < 2:
        return rows.new_zeros(())
    each = torch.arange(n_rows, device=rows.device)
    sums = ops.log_sum_exp(rows, rows, each, each, scale=4.0)  # |x − y|² is 2 − 2 x·y
    return sums.logsumexp(0) - 4 - math.log(n_rows * (n_rows - 1))
