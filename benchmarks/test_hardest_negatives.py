"""hardest_negatives with and without gates, over M, H and D."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from ans_fast import ops, reference
from benchmarks.cases import HARDEST_QUICK, HARDEST_SIZES, HardestSize, hardest_inputs
from benchmarks.conftest import quick
from benchmarks.plain import compiled

PROVIDERS: dict[str, Callable[[], Callable[..., Tensor]]] = {
    "fused": lambda: ops.hardest_negatives,
    "eager": lambda: reference.hardest_negatives,
    "compile": lambda: compiled(reference.hardest_negatives),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("size", HARDEST_QUICK if quick(metafunc.config) else HARDEST_SIZES, ids=str)
    metafunc.parametrize("gated", [False, True])
    metafunc.parametrize("provider", PROVIDERS)


def test_hardest_negatives(size: HardestSize, gated: bool, provider: str, measure) -> None:
    choose, inputs = PROVIDERS[provider](), hardest_inputs(size, gated)
    differing = choose(*inputs) != reference.hardest_negatives(*inputs)
    assert differing.float().mean() < 1e-3  # rounding turns a near tie over now and then
    mode = "forward, gated" if gated else "forward"
    measure(lambda: choose(*inputs), op="hardest_negatives", provider=provider, mode=mode, config=size)
