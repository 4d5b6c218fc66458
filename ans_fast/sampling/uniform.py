"""Negatives of equal chance."""

from __future__ import annotations

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
