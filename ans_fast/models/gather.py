"""Rows of tables at ids of any shape, and their products."""

from __future__ import annotations

import torch
from torch import Tensor


def rows_at(table: Tensor, ids: Tensor) -> Tensor:
    """table [n, D], ids int64 […] -> [… , D]. Its gradient is one index_add: fast on the CPU, unlike that of
    table[ids] or nn.Embedding."""
    return table.index_select(0, ids.flatten()).view(*ids.shape, table.shape[1])


def products(one: Tensor, many: Tensor) -> Tensor:
    """one [B, D], many [B, C, D] -> inner products [B, C]. Products of so few rows are slow as matrix products."""
    return torch.linalg.vecdot(many, one.unsqueeze(1))


def distinct(size: int, *ids: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values of tensors int64 in [0, size), ascending: int64 [R]; and which of them each value is: int64
    [size], of no meaning for other values."""
    occurs = torch.zeros(size, dtype=torch.bool, device=ids[0].device)
    for some in ids:
        occurs[some.flatten()] = True
    return occurs.nonzero()[:, 0], occurs.cumsum(0) - 1
