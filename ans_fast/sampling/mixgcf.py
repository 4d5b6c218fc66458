"""Synthetic negatives, hop by hop."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast.sampling.dns import DNS


class MixGCF(DNS):
    """ "MixGCF: An Improved Training Method for Graph Neural Network-based Recommender Systems" (Huang et al.,
    KDD 2021).

    Hop by hop, the candidates move a random share of the way to the clicked item, and the highest-scored gives its
    vector to a synthetic negative. The share is one for all candidates, so the highest-scored was so before.
    """

    hop_by_hop = True

    def negatives(self, p: Tensor, n: Tensor) -> Tensor:
        share = torch.rand(*n.shape[:3], 1, device=n.device)
        return torch.lerp(n, p[:, None], share)
