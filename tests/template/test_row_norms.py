"""The smallest operator that there can be, to start from: its kernels and host half lie beside this file, its
description and its function are below. In the library they lie in the five places that CONTRIBUTING names."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ans_fast import reference
from ans_fast.ops._operator import Operator
from tests.conftest import ROOT
from tests.simt.build import TORCH, compile_library

pytestmark = pytest.mark.compiles
HERE = Path(__file__).resolve().parent
LEVELS = {"baseline": ""}
if platform.machine() in ("x86_64", "AMD64"):
    LEVELS["avx2"] = "-mavx2 -mfma -mbmi2"
    LEVELS["avx512"] = "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mbmi2"
FLAGS = "-std=c++17 -O2 -fPIC -fopenmp -fvisibility=hidden -Wall -Wextra".split()
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"
SHAPES = [(1, 1, 1), (5, 2, 7), (70, 4, 64), (9, 1, 100), (3, 2, 300), (0, 2, 3), (2, 3, 0)]


def plain_row_norms(hops: Tensor) -> Tensor:
    """The length of each row [N, H, D]: [N, H]. (`ans_fast/reference.py`)"""
    return torch.linalg.vector_norm(hops, dim=-1)


@pytest.fixture(scope="module")
def row_norms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tensor], Tensor]:
    """The function of `ans_fast/ops/row_norms.py`, once the CPU's kernels are there."""
    folder = tmp_path_factory.mktemp("template")
    compiler = [os.environ.get("CXX", "g++"), *FLAGS, STABLE_ABI]
    compiler += [f"-I{ROOT / 'csrc'}", f"-I{HERE}", f"-isystem{TORCH / 'include'}"]
    objects = []
    for name, source, extra in [
        *((level, HERE / "row_norms.cpp", f"-DANS_SIMD={level} {flags}") for level, flags in LEVELS.items()),
        ("library", HERE / "library.cpp", ""),
        ("simd", ROOT / "csrc/simd.cpp", ""),
    ]:
        objects.append(folder / f"{name}.o")
        subprocess.run([*compiler, *extra.split(), "-c", source, "-o", objects[-1]], check=True)
    library = folder / "template.so"
    link = [compiler[0], "-shared", *objects, "-Wl,--no-as-needed", f"-L{TORCH / 'lib'}", "-ltorch_cpu"]
    subprocess.run([*link, "-o", library], check=True)
    torch.ops.load_library(library)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "row_norms", plain_row_norms, raising=False)
        yield Operator("row_norms", "hops: rows[N, H, D]", results=("sums[N, H]",))


@pytest.fixture(scope="module")
def on_the_harness() -> Callable[[Tensor], Tensor]:
    """The CUDA kernels, run on the CPU."""
    torch.ops.load_library(compile_library([HERE / "row_norms.cu", HERE / "library.cpp"]))
    return torch.ops.ans_fast_template.row_norms


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_reference(row_norms, on_the_harness, shape, dtype):
    hops = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    want = plain_row_norms(hops.double()).to(torch.promote_types(dtype, torch.float32))
    torch.testing.assert_close(row_norms(hops), want)
    if dtype != torch.float64:
        torch.testing.assert_close(on_the_harness(hops), want)


def test_what_follows_from_the_description(row_norms):
    torch.library.opcheck(torch.ops.ans_fast.row_norms, (torch.ones(2, 3, 4),))
    with pytest.raises(ValueError, match=r"hops must be \[N, H, D\], got \[3\]"):
        row_norms(torch.ones(3))
    with pytest.raises(TypeError, match="hops must be float32 or float64 or bfloat16, got int64"):
        row_norms(torch.ones(1, 1, 1, dtype=torch.int64))
