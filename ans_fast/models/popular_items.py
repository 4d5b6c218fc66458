"""Negatives by popularity."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ans_fast.graph import BipartiteGraph

POWER = 0.75  # of an item's clicks
TRIES = 8  # popular items looked at until one is not clicked


class PopularItems(nn.Module):
    """Draws items by clicks^0.75. What the graph alone says is made once, and not written with weights: a model that is
    read back has its graph.

    Args:
        graph: who clicked what. first_item: items below it are never drawn.
    """

    def __init__(self, graph: BipartiteGraph, first_item: int):
        super().__init__()
        n_users, self.n_items = graph.n_users, graph.n_items
        weights = graph.degrees[n_users:].double().pow(POWER)
        weights[:first_item] = 0
        owners = torch.repeat_interleave(torch.arange(n_users, device=graph.device), graph.degrees[:n_users])
        clicks = owners * self.n_items + graph.indices[: graph.n_edges] - n_users  # ascending, as rows are
        self.register_buffer("ends", weights.cumsum(0), persistent=False)
        self.register_buffer("clicks", clicks, persistent=False)

    def forward(self, users: Tensor, uniform: Tensor) -> Tensor:
        """users int64 [B], uniform int64 [B, M] -> int64 [B, M]: items that the users have not clicked, or what
        `uniform` holds where none of TRIES is such."""
        draws = torch.rand(*uniform.shape, TRIES, dtype=torch.float64, device=users.device) * self.ends[-1]
        items = torch.searchsorted(self.ends, draws, right=True).clamp(max=self.n_items - 1)  # [B, M, TRIES]
        free = ~self._clicked(users, items)
        first = items.gather(2, free.byte().argmax(2, keepdim=True))[..., 0]
        return torch.where(free.any(2), first, uniform)

    def _clicked(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether users [B] have clicked items [B, M, TRIES]."""
        if not len(self.clicks):
            return torch.zeros_like(items, dtype=torch.bool)
        wanted = users[:, None, None] * self.n_items + items
        return self.clicks[torch.searchsorted(self.clicks, wanted).clamp(max=len(self.clicks) - 1)] == wanted
