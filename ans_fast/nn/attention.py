"""Attention over the edges of a graph, by sparse matrices: nothing of the size edges × vector is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ans_fast.sparse import by_rows, products_at

EXPONENT = 10.0  # bound of a product before exp


@dataclass(frozen=True, eq=False)
class NodePairs:
    """Ordered pairs of N nodes as a sparse matrix: with a pair its reverse, sorted, once each.

    indptr int32 [N + 1]; indices int32 [P]: row i's columns are the nodes that i is paired with; reverse int32 [P]:
    the places of the reversed pairs. int32 is what sparse products on the CPU would convert to each time.
    """

    indptr: Tensor
    indices: Tensor
    reverse: Tensor

    @classmethod
    def both_ways(cls, one: Tensor, other: Tensor, n_nodes: int) -> NodePairs:
        """Of nodes int64 [E] with nodes int64 [E] in both orders, and of each node with itself."""
        own = torch.arange(n_nodes, device=one.device)
        keys = (torch.cat([one, other, own]) * n_nodes + torch.cat([other, one, own])).unique()
        rows, columns = keys // n_nodes, keys % n_nodes
        indptr = torch.searchsorted(rows, torch.arange(n_nodes + 1, device=one.device))
        return cls(indptr.int(), columns.int(), (columns * n_nodes + rows).argsort().int())

    def matrix(self, values: Tensor) -> Tensor:
        """The sparse matrix [N, N] of values [P]."""
        return by_rows(self.indptr, self.indices, values, len(self.indptr) - 1)

    def transposed(self, values: Tensor) -> Tensor:
        """matrix(values), transposed."""
        return self.matrix(values.index_select(0, self.reverse))

    def products(self, one: Tensor, other: Tensor) -> Tensor:
        """The inner products [P] of rows of one [N, K] and other [N, K]."""
        return products_at(self.indptr, self.indices, one, other)


def attend(query: Tensor, key: Tensor, value: Tensor, pairs: NodePairs) -> Tensor:
    """Each node's mean of the values that it is paired with, weighed by exp(query · key), the product clamped to
    ± EXPONENT: query, key [N, K], value [N, D] -> [N, D]. Differentiable."""
    return _Attend.apply(query, key, value, pairs)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, pairs: NodePairs) -> Tensor:
        bounded = pairs.products(query, key).clamp_(-EXPONENT, EXPONENT)
        weights = pairs.matrix(bounded.exp())
        summed, total = (weights @ _with_one(value)).split([value.shape[1], 1], 1)
        mean = summed / total
        ctx.pairs = pairs
        ctx.save_for_backward(query, key, value, bounded, total, mean)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, bounded, total, mean = ctx.saved_tensors
        weights, grad = bounded.exp(), grad / total
        grad_value = ctx.pairs.transposed(weights) @ grad
        # with a weight: grad · (value − mean), a product of vectors with one more element
        offset = -(grad * mean).sum(1, keepdim=True)
        change = ctx.pairs.products(torch.cat([grad, offset], 1), _with_one(value))
        change = torch.ops.aten.hardtanh_backward(change.mul_(weights), bounded, -EXPONENT, EXPONENT)  # 0 where clamped
        return ctx.pairs.matrix(change) @ key, ctx.pairs.transposed(change) @ query, grad_value, None


def _with_one(vectors: Tensor) -> Tensor:
    """[N, D] -> [N, D + 1]: a 1 after each vector."""
    return F.pad(vectors, (0, 1), value=1.0)
