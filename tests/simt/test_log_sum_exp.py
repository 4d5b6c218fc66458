"""log_sum_exp.cu on the CPU: what the operators' cases leave out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.ops.test_log_sum_exp import ALL, case
from tests.simt import kernels


def run(inputs: dict) -> list[Tensor]:
    """log_sums, and the gradients by queries and keys of some of their linear functions."""
    log_sums = kernels.operators().log_sum_exp(*inputs.values())
    grad = torch.linspace(-1, 2, len(log_sums)).masked_fill(log_sums == -math.inf, 0)
    return [log_sums, *kernels.operators().log_sum_exp_backward(grad, log_sums, *inputs.values())]


def test_nothing_to_add_up():
    for shape in ((0, 3, 4), (3, 0, 4), (3, 4, 0)):
        log_sums, grad_queries, grad_keys = run(case(shape, ALL[2:], torch.float32))
        assert log_sums.tolist() == pytest.approx([math.log(4)] * 3 if shape == (3, 4, 0) else [-math.inf] * shape[0])
        assert not grad_queries.any()
        assert not grad_keys.any()


def test_nan_stays_nan():
    inputs = case((3, 300, 8), ALL[2:], torch.float32)
    inputs["queries"][1, 2] = math.nan
    assert run(inputs)[0].isnan().tolist() == [False, True, False]
