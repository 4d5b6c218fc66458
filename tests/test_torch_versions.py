"""One build serves every torch from 2.10 on: the sources compile against the headers of each, and the built library
asks torch for nothing that 2.10 did not have. `make torch-versions` brings the headers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pybind11
import pytest

import ans_fast
from tests.conftest import ROOT
from tests.test_cuda_compile import FLAGS as NVCC_FLAGS
from tests.torch_headers import FOLDER, needs_headers, unknown_to_the_first

NVCC = os.environ.get("NVCC") or shutil.which("nvcc")
VERSIONS = sorted(path.name for path in FOLDER.glob("[0-9]*"))
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"
FACTS = [f'-DANS_{name}=""' for name in ("VERSION", "TORCH", "CUDA", "CUDA_ARCHITECTURES")]

pytestmark = [needs_headers, pytest.mark.compiles]


def check(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), " ".join(command)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cpu_half_compiles(version):
    include = ["-I", pybind11.get_include(), "-I", sysconfig.get_path("include"), "-isystem", str(FOLDER / version)]
    flags = "-std=c++17 -fsyntax-only -fopenmp -fvisibility=hidden -Wall -Wextra -Icsrc".split()
    check([os.environ.get("CXX", "g++"), *flags, STABLE_ABI, *FACTS, *include, *map(str, ROOT.glob("csrc/*.cpp"))])


@pytest.mark.skipif(NVCC is None, reason="nvcc is not on the PATH")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_cuda_half_compiles(version, tmp_path):
    for source in ROOT.glob("csrc/cuda/library*.cu"):
        include = ["-isystem", str(FOLDER / version)]
        check([NVCC, *NVCC_FLAGS, *include, "-c", str(source), "-o", str(tmp_path / f"{source.stem}.o")])


def test_the_built_library_uses_what_the_first_release_has():
    library = Path(ans_fast.__file__).parent / "_kernels.so"
    assert unknown_to_the_first(library) == set()
