"""csrc/common/exp.h against double precision, compiled here as the kernels are."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

CSRC = Path(__file__).parents[2] / "csrc"
SOURCE = """
#include "common/exp.h"
extern "C" void exponentials(const float* x, float* e, float* s, long n) {
  for (long i = 0; i < n; ++i) { e[i] = ans::fast_exp(x[i]); s[i] = ans::sigmoid(x[i]); }
}
extern "C" void logarithms(const float* x, float* l, long n) {
  for (long i = 0; i < n; ++i) l[i] = ans::log_one_plus(x[i]);
}
"""
FLAGS = {"baseline": [], "fma": ["-mavx2", "-mfma"]}


@pytest.fixture(scope="module", params=FLAGS)
def library(request, tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        pytest.skip("no C++ compiler")
    if request.param == "fma" and "fma" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no fused multiply-add")
    folder = tmp_path_factory.mktemp("exp")
    (folder / "exp.cpp").write_text(SOURCE)
    flags = ["-std=c++17", "-O3", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math", f"-I{CSRC}"]
    subprocess.run([compiler, *flags, *FLAGS[request.param], folder / "exp.cpp", "-o", folder / "exp.so"], check=True)
    return ctypes.CDLL(str(folder / "exp.so"))


def called(function, x: np.ndarray, n_results: int) -> list[np.ndarray]:
    x = np.ascontiguousarray(x, np.float32)
    results = [np.empty_like(x) for _ in range(n_results)]
    function(*(ctypes.c_void_p(array.ctypes.data) for array in (x, *results)), ctypes.c_long(x.size))
    return results


@pytest.fixture
def exponentials(library):
    return lambda x: called(library.exponentials, x, 2)


def test_two_ulp_over_the_range(exponentials):
    x = np.concatenate([np.linspace(-87.3, 88.3, 2_000_003), np.geomspace(1e-30, 1, 100_000)]).astype(np.float32)
    x = np.concatenate([x, -x[-100_000:]]).clip(-87.3, 88.3)
    got, _ = exponentials(x)
    want = np.exp(x.astype(np.float64))
    ulp = np.spacing(want.astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(got - want) / ulp) <= 2


def test_sigmoid(exponentials):
    x = np.linspace(-87, 120, 1_000_003).astype(np.float32)
    _, got = exponentials(x)
    want = 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.max(np.abs(got - want) / want) < 4e-7


def test_limits(exponentials):
    e, s = exponentials(np.array([np.inf, -np.inf, 1e38, -1e38, np.nan, 0.0, -0.0]))
    assert np.isfinite(e[[0, 1, 2, 3]]).all()
    assert s[:4] == pytest.approx([1, 0, 1, 0], abs=1e-37)
    assert np.isnan(e[4])
    assert np.isnan(s[4])
    assert list(e[5:]) == [1, 1]


def test_logarithm_of_one_plus(library):
    x = np.concatenate([np.linspace(0, 1, 1_000_003), np.geomspace(1e-37, 1, 100_000), [np.nan]]).astype(np.float32)
    *got, of_nan = called(library.logarithms, x, 1)[0]
    want = np.log1p(x[:-1].astype(np.float64))
    ulp = np.spacing(want.astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(got - want) / ulp) <= 3
    assert np.isnan(of_nan)
