"""The mean of log Σ exp of products with a whole table."""

from __future__ import annotations

from torch import Tensor

from ans_fast import ops


def mean_log_sum(x: Tensor, y: Tensor, counts: Tensor | None = None) -> Tensor:
    """x [B, D], y [n, D] -> the mean over rows i of log Σ_j exp(x_i · y_j), row i taken counts[i] times (int64 [B];
    None: once). Differentiable once."""
    sums = ops.log_sum_exp(x, y)
    return sums.mean() if counts is None else (sums * (counts.to(sums.dtype) / counts.sum())).sum()
