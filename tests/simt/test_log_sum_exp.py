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


def test_the_same_bits_in_any_order_of_threads_and_blocks():
    inputs, seen = case((70, 1100, 20), (), torch.float32), []  # three shares of the keys
    for order in range(3):
        with kernels.in_order(order):
            seen.append(run(inputs))
    for other in seen[1:]:
        assert all(torch.equal(one, another) for one, another in zip(seen[0], other, strict=True))


def test_small_scores_do_not_vanish():
    inputs = case((1, 1100, 1), ALL[2:], torch.float32)
    inputs |= dict(queries=torch.ones(1, 1), keys=torch.full((1100, 1), -100.0), scale=1.0)
    inputs["key_bias"] = torch.zeros(1100)
    inputs["key_bias"][:600] = -math.inf  # more than the first share
    torch.testing.assert_close(run(inputs)[0], torch.tensor([-100 + math.log(500)]))


def test_nan_stays_nan():
    inputs = case((3, 300, 8), ALL[2:], torch.float32)
    inputs["queries"][1, 2] = math.nan
    assert run(inputs)[0].isnan().tolist() == [False, True, False]
