"""Negatives of equal chance."""

from __future__ import annotations

from torch import Tensor, nn

from ans_fast import ops
from ans_fast.errors import UserError
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

        Raises UserError where there is none."""
        try:
            return ops.sample_negatives(graph, users, n, seed, self.first_item)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            if "has clicked every item" in reason:
                raise UserError(f"{reason}; leave this user out of train.csv") from None
            raise
