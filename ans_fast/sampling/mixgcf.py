"""Synthetic negatives, hop by hop."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast import ops
from ans_fast.sampling.dns import DNS


class MixGCF(DNS):
    """ "MixGCF: An Improved Training Method for Graph Neural Network-based Recommender Systems" (Huang et al.,
    KDD 2021).

    Hop by hop, the candidates move a random share of the way to the clicked item, and the highest-scored gives its
    vector to a synthetic negative. The share is one for all candidates, so the highest-scored was so before.
    """

    hop_by_hop = True

    def draw(self, users: Tensor, n_negatives: int, n_hops: int, seed: Tensor) -> dict[str, Tensor]:
        share = ops.ans_noise(seed, len(users) * n_negatives, n_hops, users.device)
        return {"mixed": share.view(len(users), n_negatives, n_hops, 1)}

    def negatives(self, p: Tensor, n: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        return torch.lerp(n, p[:, None], drawn["mixed"])
