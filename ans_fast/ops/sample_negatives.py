"""Uniform negative sampling without rejection."""

from __future__ import annotations

import torch
from torch import Tensor

from ans_fast.graph import BipartiteGraph
from ans_fast.ops._operator import Operator


def sample_negatives(
    graph: BipartiteGraph, users: Tensor, n_negatives: int, seed: int | Tensor | None = None, first_item: int = 0
) -> Tensor:
    """Items drawn uniformly from those that each user has not clicked.

    Exact and without rejection: a rank among the user's non-positives is drawn, and found by binary search in the
    sorted positives. Draws depend on the seed, the row and the column alone: the same on every device and at any
    number of threads. Draws of a row are independent: an item can come twice.

    Args:
        graph: who clicked what.
        users: int64 [B] on the graph's device, in [0, n_users).
        n_negatives: M, draws a row.
        seed: an int, an int64 tensor of one element, or None: drawn from torch's CPU generator.
        first_item: items below it are never drawn (1 where item 0 is padding).

    Returns:
        int64 [B, M] of items in [first_item, n_items). On a GPU, where ids are not checked, the row of a user who is
        none, or who has clicked every item, holds 2^63 − 1, which no table has: `graph.check_negatives` tells before.

    Raises:
        ValueError, TypeError: an argument is wrong, or a user (the message names one) has clicked every item.
        RuntimeError: users is on a GPU and the CUDA kernels are not built.
    """
    return _OPERATOR(graph, users, n_negatives, seed, first_item)


def _check(graph: BipartiteGraph, users: Tensor, n_negatives: int, seed: Tensor, first_item: int) -> None:
    if not 0 <= first_item <= graph.n_items:
        raise ValueError(f"first_item must be in [0, {graph.n_items}], got {first_item}")


def _kernels(graph: BipartiteGraph, users: Tensor, n_negatives: int, seed: Tensor, first_item: int) -> Tensor:
    sizes = (graph.n_users, graph.n_items, n_negatives)
    return torch.ops.ans_fast.sample_negatives(graph.indptr, graph.indices, users, *sizes, seed, first_item)


_OPERATOR = Operator(
    "sample_negatives",
    "users: int64[B] < n_users",
    "graph: graph",
    "n_negatives: size",
    "seed: seed",
    results=("int64[B, n_negatives]",),
    check=_check,
    kernels=_kernels,
)
