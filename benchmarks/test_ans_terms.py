"""ans_terms with both gate products, over B, M, H, D and the number of items."""

from __future__ import annotations

from functools import lru_cache

import pytest
from torch import Tensor

from benchmarks.ans_providers import MODES, NOISE_SCALE, PROVIDERS, SHORT
from benchmarks.cases import ANS_QUICK, ANS_SIZES, AnsInputs, AnsSize, ans_inputs
from benchmarks.check import TOLERANCE, assert_close
from benchmarks.conftest import quick

SHORT_TOLERANCE = 0.1  # of bfloat16's results: here and there a rounded score chooses another negative


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    small = quick(metafunc.config)
    sizes = ANS_QUICK if small else ANS_SIZES
    cases = [(size, p) for size in sizes for p in PROVIDERS if p != "reference" or size == sizes[0]]
    metafunc.parametrize(("size", "provider"), cases, ids=str)
    metafunc.parametrize("mode", MODES)


def test_ans_terms(size: AnsSize, provider: str, mode: str, measure) -> None:
    inputs, loss, tolerance = _inputs(size), _loss(size, provider), TOLERANCE
    if provider == SHORT:
        inputs, tolerance = inputs.short(), SHORT_TOLERANCE
    # Providers draw differently: what all must agree on is the result without noise, the draws' owners also with it.
    assert_close(MODES[mode](loss, inputs, 0.0), _expected(size, mode, 0.0), tolerance)
    if provider in ("fused", SHORT, "reference"):
        assert_close(MODES[mode](loss, inputs), _expected(size, mode, NOISE_SCALE), tolerance)
    measure(lambda: MODES[mode](loss, inputs), op="ans_terms", provider=provider, mode=mode, config=size)


@lru_cache(maxsize=1)
def _inputs(size: AnsSize) -> AnsInputs:
    return ans_inputs(size)


@lru_cache(maxsize=1)
def _loss(size: AnsSize, provider: str):
    return PROVIDERS[provider]()


def _expected(size: AnsSize, mode: str, noise_scale: float) -> list[Tensor]:
    both = _reference(size, noise_scale)
    return both if mode == "forward+backward" else both[:1]


@lru_cache(maxsize=2)
def _reference(size: AnsSize, noise_scale: float) -> list[Tensor]:
    return MODES["forward+backward"](PROVIDERS["reference"](), _inputs(size), noise_scale)
