"""Users that training did not see, made of the items that they clicked."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.nn.gather import rows_at


def folded_in(hops: Tensor, graph: BipartiteGraph, owners: Tensor, items: Tensor, n: int) -> Tensor:
    """The hops [n, H, D] of n users, made of those of their items, which stay as they are.

    Hop h is, as in the graph itself, Σ hop h − 1 of the items / √(the user's degree · the item's). Hop 0, an embedding,
    comes from training alone: in its place stands the mean of the items' embeddings, a matrix factorisation's usual
    choice for whom it has no vector. Items without clicks have no part: nobody has taught what they are.

    Args:
        hops: of the items [n_items, H, D]. graph: where their degrees are counted.
        owners, items: int64 [C], the clicks, owners in [0, n).
    """
    rows = rows_at(hops, items)
    weights = graph.scale[graph.n_users :].index_select(0, items)[:, None, None]
    known = (weights > 0).to(rows.dtype)

    def total(values: Tensor) -> Tensor:
        return rows.new_zeros(n, *values.shape[1:]).index_add_(0, owners, values)

    first = total(rows[:, :1] * known) / total(known).clamp(min=1)
    near = total(rows[:, :-1] * weights) * owners.bincount(minlength=n).clamp(min=1).rsqrt()[:, None, None]
    return torch.cat([first, near], 1)
