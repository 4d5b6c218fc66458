"""log_sum_exp.cu on the CPU: the float64 reference's sums and gradients, to rounding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ans_fast import reference
from tests.ops.test_log_sum_exp import ALL, case, double, with_gradients
from tests.simt import kernels

SHAPES = [(1, 1, 1), (5, 7, 3), (65, 70, 64), (64, 64, 16), (3, 600, 17), (70, 5, 100)]


def run(inputs: dict) -> list[Tensor]:
    """log_sums and gradients as `with_gradients` has them."""
    log_sums = kernels.operators().log_sum_exp(*inputs.values())
    grad = torch.linspace(-1, 2, len(log_sums)).masked_fill(log_sums == -math.inf, 0)
    return [log_sums, *kernels.operators().log_sum_exp_backward(grad, log_sums, *inputs.values())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("without", [(), ALL[2:], ALL[4:]], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "B{}-N{}-D{}-".format(*shape))
def test_sums_and_gradients(shape, without, dtype):
    inputs = case(shape, without, dtype)
    if inputs["key_bias"] is not None:
        inputs["key_bias"] = inputs["key_bias"].float()
    want = [value.float() for value in with_gradients(double(inputs), reference.log_sum_exp)]
    torch.testing.assert_close(run(inputs), want, rtol=1e-4, atol=3e-5)


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
