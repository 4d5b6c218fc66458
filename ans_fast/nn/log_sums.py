"""The mean of log Σ exp of products with a whole table, in the memory of a few rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PRODUCTS_AT_ONCE = 1 << 20  # small enough to stay in the cache


def mean_log_sum(x: Tensor, y: Tensor, counts: Tensor | None = None) -> Tensor:
    """x [B, D], y [n, D] -> the mean over rows i of log Σ_j exp(x_i · y_j), row i taken counts[i] times (int64 [B];
    None: once). Differentiable."""
    counts = torch.ones_like(x[:, 0]) if counts is None else counts.to(x.dtype)
    return _MeanLogSum.apply(x, y, counts / counts.sum())


class _MeanLogSum(torch.autograd.Function):
    """Gradients are made along with the sums, while the products are at hand: they only wait for a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, shares: Tensor) -> Tensor:
        """shares [B] of the rows in the mean."""
        n_rows = max(1, PRODUCTS_AT_ONCE // max(len(y), 1))
        mean, grad_x, grad_y = x.new_zeros(()), torch.empty_like(x), torch.zeros_like(y)
        buffer = x.new_empty(min(n_rows, len(x)), len(y))
        parts = (whole.split(n_rows) for whole in (x, grad_x, shares[:, None]))
        for rows, grad_rows, share in zip(*parts, strict=True):
            terms = torch.mm(rows, y.t(), out=buffer[: len(rows)])
            largest = terms.amax(1, keepdim=True)
            sums = terms.sub_(largest).exp_().sum(1, keepdim=True)
            mean += (share * (largest + sums.log())).sum()
            factor = share / sums
            torch.mul(terms @ y, factor, out=grad_rows)
            grad_y.addmm_(terms.t(), rows * factor)
        ctx.save_for_backward(grad_x, grad_y)
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_y = ctx.saved_tensors
        return grad * grad_x, grad * grad_y, None
