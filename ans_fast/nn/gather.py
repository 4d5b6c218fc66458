"""Rows of tables at ids of any shape, and their products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Whether a CPU's products of bfloat16 matrices are fast: without AVX-512 they take several times as long as float32's.
SHORT_PRODUCTS = torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def rows_at(table: Tensor, ids: Tensor) -> Tensor:
    """table [n, …], ids int64 […] -> [… , …], float32 where the table is shorter. Its gradient is one index_add, in
    that float32: fast on the CPU, unlike that of table[ids] or nn.Embedding."""
    return widened(table).index_select(0, ids.flatten()).view(*ids.shape, *table.shape[1:])


def widened(rows: Tensor) -> Tensor:
    """Rows of 16 bits as float32, others as they are: sums of many values need more bits than the values."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def projected(layer: nn.Linear, rows: Tensor) -> Tensor:
    """layer(rows) in the rows' dtype: [… , D] -> [… , D']. Its gradients are of the layer's dtype."""
    if rows.is_cpu and not SHORT_PRODUCTS:
        return layer(widened(rows)).to(rows.dtype)
    return F.linear(rows, layer.weight.to(rows.dtype), layer.bias.to(rows.dtype))


def products(one: Tensor, many: Tensor) -> Tensor:
    """one [B, D], many [B, C, D] -> inner products [B, C]. Products of so few rows are slow as matrix products."""
    return torch.linalg.vecdot(many, one.unsqueeze(1))


def products_with_first(rows: Tensor, n: int, n_others: int) -> Tensor:
    """rows [n + n · C, D], C = n_others: each of the first n with its own C of the rest -> inner products [n, C].

    As `products` of the two parts, but the gradient is written once, where it belongs.
    """
    return _ProductsWithFirst.apply(rows, n, n_others)


class _ProductsWithFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, n: int, n_others: int) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = n, n_others, rows.shape[1]
        return products(rows[:n], rows[n:].view(ctx.shape))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (rows,), n, weight = ctx.saved_tensors, ctx.shape[0], grad.unsqueeze(2)
        out = torch.empty_like(rows)
        of_first, of_others = out[:n], out[n:].view(ctx.shape)
        torch.mul(weight, rows[n:].view(ctx.shape), out=of_others)
        torch.sum(of_others, 1, out=of_first)
        torch.mul(weight, rows[:n].unsqueeze(1), out=of_others)
        return out, None, None


def is_free_to_read(tensor: Tensor) -> bool:
    """Whether the host may look at values: elsewhere than on the CPU it would wait for all that is queued there, and a
    captured step can't look at all."""
    return tensor.device.type == "cpu"
