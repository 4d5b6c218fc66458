"""Which items are related to which, looked up by whole tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ans_fast.data import Dataset


def relation_pairs(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The pairs (h, t) of items of which any relation says "h leads to t", with the item itself as relation 0.

    Returns:
        pairs int64 [P], h · n_items + t, ascending; kinds bool [P, 1 + relations], relations in the file's order.
    """
    n, own = dataset.n_items, np.arange(dataset.n_items)
    keys = [own * (n + 1)]
    for relation in dataset.item_relations.values():
        keys.append(np.repeat(own, np.diff(relation.indptr)) * n + relation.items)
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    kinds = np.zeros((len(pairs), len(keys)), bool)
    kinds[place, np.repeat(np.arange(len(keys)), [len(part) for part in keys])] = True
    return torch.from_numpy(pairs), torch.from_numpy(kinds)


class ItemRelations(nn.Module):
    """Finds how long ago the latest related click was.

    Args:
        n_items: ids are below. pairs, kinds: as `relation_pairs` gives them; R relations.
    """

    def __init__(self, n_items: int, pairs: Tensor, kinds: Tensor):
        super().__init__()
        self.n_items = n_items
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("kinds", kinds, persistent=False)

    def ages(self, items: Tensor, history: dict[str, Tensor]) -> Tensor:
        """items int64 [B, C], a history of `histories` with L clicks -> float32 [B, C, R]: the least age of a click
        whose item is in relation r to the candidate, in the history's unit; -1 where there is none."""
        real = _real(history)
        row, place = real.nonzero(as_tuple=True)  # [K]
        key = history["history_items"][row, place][:, None] * self.n_items + items.index_select(0, row)  # [K, C]
        at = torch.searchsorted(self.pairs, key).clamp(max=len(self.pairs) - 1)
        click, column = (self.pairs[at] == key).nonzero(as_tuple=True)  # [F]
        found = self.kinds.index_select(0, at[click, column])  # [F, R]
        target = row[click] * items.shape[1] + column
        age = history["history_ages"][row, place][click]
        return self._least(target, found, age, items.numel()).view(*items.shape, -1)

    def ages_of_all(self, history: dict[str, Tensor]) -> Tensor:
        """As `ages` for all items: [B, n_items, R]."""
        row, place = _real(history).nonzero(as_tuple=True)
        first = history["history_items"][row, place] * self.n_items
        begin = torch.searchsorted(self.pairs, first)
        counts = torch.searchsorted(self.pairs, first + self.n_items) - begin
        click = torch.repeat_interleave(torch.arange(len(row), device=row.device), counts)  # [F]
        at = begin[click] + torch.arange(len(click), device=row.device) - (counts.cumsum(0) - counts)[click]
        target = row[click] * self.n_items + self.pairs[at] % self.n_items
        age = history["history_ages"][row, place][click]
        n_rows = len(history["lengths"])
        return self._least(target, self.kinds.index_select(0, at), age, n_rows * self.n_items).view(
            n_rows, self.n_items, -1
        )

    def _least(self, target: Tensor, found: Tensor, age: Tensor, size: int) -> Tensor:
        """The least age [F] of each target [F] and found relation [F, R]: [size, R], -1 without any."""
        ages = age.new_full((size, found.shape[1]), torch.inf)
        candidates = torch.where(found, age[:, None], torch.inf)
        ages.scatter_reduce_(0, target[:, None].expand_as(candidates), candidates, "amin")
        return ages.masked_fill_(ages == torch.inf, -1.0)


def _real(history: dict[str, Tensor]) -> Tensor:
    """Which places of the history hold a click: bool [B, L]."""
    places = torch.arange(history["history_items"].shape[1], device=history["lengths"].device)
    return places < history["lengths"][:, None]
