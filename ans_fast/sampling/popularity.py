"""Negatives by popularity."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast import ops
from ans_fast.graph import BipartiteGraph
from ans_fast.sampling.uniform import Uniform

POWER = 0.75  # of an item's clicks
TRIES = 8  # popular items looked at until one is not clicked


class Popularity(Uniform):
    """Draws items by clicks^0.75 (PNS: "Distributed Representations of Words and Phrases and their Compositionality",
    Mikolov et al., NIPS 2013). What the graph alone says is made once, and not written with weights: a model that is
    read back has its graph.

    Args:
        graph: who clicked what. first_item: items below it are never drawn.
    """

    def __init__(self, graph: BipartiteGraph, first_item: int = 0):
        super().__init__(first_item)
        n_users, self.n_items = graph.n_users, graph.n_items
        weights = graph.degrees[n_users:].double().pow(POWER)
        weights[:first_item] = 0
        users, items = graph.clicks()
        self.register_buffer("ends", weights.cumsum(0), persistent=False)
        self.register_buffer("clicks", users * self.n_items + items, persistent=False)

    def forward(self, graph: BipartiteGraph, users: Tensor, n: int, seed: Tensor) -> Tensor:
        """As Uniform; uniform where none of TRIES popular items is unclicked."""
        uniform = super().forward(graph, users, n, seed)
        coarse, fine = ops.ans_noise(seed, uniform.numel(), 2 * TRIES, users.device).double().split(TRIES, 1)
        draws = (coarse + fine * 2**-24).view(*uniform.shape, TRIES) * self.ends[-1]
        items = torch.searchsorted(self.ends, draws, right=True).clamp(max=self.n_items - 1)  # [B, n, TRIES]
        free = ~self._clicked(users, items) & (self.ends[-1] > 0)  # where nothing has clicks nothing is popular
        first = items.gather(2, free.byte().argmax(2, keepdim=True))[..., 0]
        return torch.where(free.any(2), first, uniform)

    def _clicked(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether users [B] have clicked items [B, n, TRIES]."""
        if not len(self.clicks):
            return torch.zeros_like(items, dtype=torch.bool)
        wanted = users[:, None, None] * self.n_items + items
        return self.clicks[torch.searchsorted(self.clicks, wanted).clamp(max=len(self.clicks) - 1)] == wanted
