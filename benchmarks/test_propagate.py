"""propagate against sparse products, over graph size, D and layers."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from benchmarks.cases import PROPAGATE_QUICK, PROPAGATE_SIZES, PropagateSize
from benchmarks.check import assert_close
from benchmarks.conftest import quick
from benchmarks.propagate_providers import MODES, PROVIDERS, PropagateInputs, propagate_inputs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    sizes = PROPAGATE_QUICK if quick(metafunc.config) else PROPAGATE_SIZES
    # The reference builds its adjacency in every call: one size shows what that costs.
    cases = [(size, p) for size in sizes for p in PROVIDERS if p not in ("eager", "compile") or size == sizes[0]]
    metafunc.parametrize(("size", "provider"), cases, ids=str)
    metafunc.parametrize("mode", MODES)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_propagate(size: PropagateSize, provider: str, mode: str, measure) -> None:
    call = _calls(size, provider)[MODES.index(mode)]
    assert_close([_as_tensor(call())], [_expected(size, mode)])
    measure(call, op="propagate", provider=provider, mode=mode, config=size)


def _as_tensor(result: object) -> Tensor:
    if isinstance(result, list):
        return torch.stack([torch.as_tensor(hop) for hop in result], dim=1)
    return torch.as_tensor(result)


@lru_cache(maxsize=1)
def _inputs(size: PropagateSize) -> PropagateInputs:
    return propagate_inputs(size)


@lru_cache(maxsize=1)
def _calls(size: PropagateSize, provider: str):
    return PROVIDERS[provider](_inputs(size))


@lru_cache(maxsize=2)
def _expected(size: PropagateSize, mode: str) -> Tensor:
    return _as_tensor(PROVIDERS["scipy"](_inputs(size))[MODES.index(mode)]())
