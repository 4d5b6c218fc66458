"""log_sum_exp over the items of a batch, over B and D.

Memory has both gradients in it, 1.05 MB at B 2048 and D 64; each copy of the scores that is held would be 16.8 MB more.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.cases import SOFTMAX_QUICK, SOFTMAX_SIZES, SoftmaxSize, softmax_inputs
from benchmarks.check import assert_close
from benchmarks.conftest import quick
from benchmarks.plain import compiled

SCALE = 10.0
PROVIDERS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "fused": lambda: ops.log_sum_exp,
    "eager": lambda: reference.log_sum_exp,
    "compile": lambda: compiled(reference.log_sum_exp),
}


def _forward(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        return [function(*inputs, scale=SCALE)]


def _forward_backward(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    out = function(*inputs, scale=SCALE)
    return [out.detach(), *torch.autograd.grad(out.mean(), inputs[:2])]


MODES = {"forward": _forward, "forward+backward": _forward_backward}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("size", SOFTMAX_QUICK if quick(metafunc.config) else SOFTMAX_SIZES, ids=str)
    metafunc.parametrize("provider", PROVIDERS)
    metafunc.parametrize("mode", MODES)


def test_log_sum_exp(size: SoftmaxSize, provider: str, mode: str, measure) -> None:
    function, inputs, run = PROVIDERS[provider](), softmax_inputs(size), MODES[mode]
    assert_close(run(function, inputs), run(reference.log_sum_exp, inputs))
    measure(lambda: run(function, inputs), op="log_sum_exp", provider=provider, mode=mode, config=size)
