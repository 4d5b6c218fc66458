"""Negatives by popularity."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.sampling.uniform import Uniform, fine_uniform

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
        draws = fine_uniform(seed, uniform.numel(), TRIES, users.device)
        items = self._popular(draws).view(*uniform.shape, TRIES)
        free = ~self._clicked(users, items) & (self.ends[-1] > 0)  # where nothing has clicks nothing is popular
        first = items.gather(2, free.byte().argmax(2, keepdim=True))[..., 0]
        return torch.where(free.any(2), first, uniform)

    def shared(self, graph: BipartiteGraph, n: int, seed: Tensor) -> Tensor:
        return self._popular(fine_uniform(seed, n, 1, graph.device)[:, 0])

    def chances(self, graph: BipartiteGraph, items: Tensor) -> Tensor:
        return self.ends.diff(prepend=self.ends.new_zeros(1))[items] / self.ends[-1]

    def _popular(self, draws: Tensor) -> Tensor:
        """The items that draws on [0, 1) stand for."""
        return torch.searchsorted(self.ends, draws * self.ends[-1], right=True).clamp(max=self.n_items - 1)

    def _clicked(self, users: Tensor, items: Tensor) -> Tensor:
        """Whether users [B] have clicked items [B, n, TRIES]."""
        if not len(self.clicks):
            return torch.zeros_like(items, dtype=torch.bool)
        wanted = users[:, None, None] * self.n_items + items
        return self.clicks[torch.searchsorted(self.clicks, wanted).clamp(max=len(self.clicks) - 1)] == wanted
