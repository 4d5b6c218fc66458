"""Negatives of equal chance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.graph import BipartiteGraph


class Uniform(nn.Module):
    """Draws any item that the user has not clicked (RNS: "BPR: Bayesian Personalized Ranking from Implicit Feedback",
    Rendle et al., UAI 2009).

    Args:
        first_item: items below it are never drawn.
    """

    def __init__(self, first_item: int = 0):
        super().__init__()
        self.first_item = first_item

    def forward(self, graph: BipartiteGraph, users: Tensor, n: int, seed: Tensor) -> Tensor:
        """users int64 [B], seed int64 [1] -> int64 [B, n] of items that they have not clicked.

        Raises NoNegatives where a user of the graph, be it among `users` or not, has clicked everything: so training
        ends before it has begun, and on a GPU, where a draw cannot fail, nobody draws what is no item."""
        graph.check_negatives(self.first_item)
        return ops.sample_negatives(graph, users, n, seed, self.first_item)

    def shared(self, graph: BipartiteGraph, n: int, seed: Tensor) -> Tensor:
        """int64 [n] of items, whoever has clicked them: each by `chances`, some perhaps twice. seed: int64 [1]."""
        span = graph.n_items - self.first_item
        return self.first_item + (fine_uniform(seed, n, 1, graph.device)[:, 0] * span).long()

    def chances(self, graph: BipartiteGraph, items: Tensor) -> Tensor:
        """Those of items int64 […] to be one that `shared` draws: float64 […]."""
        return torch.full_like(items, 1 / (graph.n_items - self.first_item), dtype=torch.float64)


def fine_uniform(seed: Tensor, n: int, width: int, device: torch.device) -> Tensor:
    """float64 [n, width] of uniform draws on [0, 1), of 48 bits, the same on every device. seed: int64 [1]."""
    coarse, fine = ops.ans_noise(seed, n, 2 * width, device).double().split(width, 1)
    return coarse + fine * 2**-24
