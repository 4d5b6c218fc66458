"""Every CUDA source compiles for every architecture without warnings, float32 kernels spill nothing, and the library
links against a torch without CUDA. Results are kept in build/cuda-proof by the hash of what went in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.torch_headers import needs_headers, unknown_to_the_first

NVCC = os.environ.get("NVCC") or shutil.which("nvcc")
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
KERNELS = sorted(path for path in ROOT.glob("csrc/cuda/*.cu") if not path.stem.startswith("library"))
LIBRARIES = sorted(path for path in ROOT.glob("csrc/cuda/library*.cu"))

pytestmark = [pytest.mark.skipif(NVCC is None, reason="nvcc is not on the PATH"), pytest.mark.compiles]


def setup_flags() -> list[str]:
    """The NVCC_FLAGS of setup.py."""
    text = re.search(r"^NVCC_FLAGS = \((.+?)\)\.split", (ROOT / "setup.py").read_text(), re.M | re.S).group(1)
    return "".join(re.findall(r'"(.*?)"', text)).split()


FLAGS = [*setup_flags(), "-DTORCH_TARGET_VERSION=0x020a000000000000"]


def headers() -> list[Path]:
    return sorted([*ROOT.glob("csrc/*.h"), *ROOT.glob("csrc/*/*.h")])


def nvcc(source: Path, *extra: str) -> tuple[Path, str]:
    """The object file of `source` and what the compiler said; compiled unless that was done before."""
    torch_include = Path(torch.__file__).parent / "include"
    command = [NVCC, *FLAGS, *extra, "-isystem", str(torch_include), "-c", str(source.relative_to(ROOT))]
    parts = [" ".join(command).encode(), torch.__version__.encode()]
    parts += [path.read_bytes() for path in [*headers(), source]]
    folder = ROOT / "build/cuda-proof" / hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    target, said = folder / f"{source.stem}.o", folder / "said.txt"
    if not said.exists():
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([*command, "-o", str(target)], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)
        said.write_text(done.stdout + done.stderr)
    return target, said.read_text()


def everywhere(source: Path) -> tuple[Path, str]:
    codes = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    return nvcc(source, *codes, "-Xptxas=-v")


def resources(said: str) -> list[tuple[str, str, int]]:
    """(kernel, architecture, bytes spilled) of everything that ptxas -v speaks of."""
    pattern = r"Compiling entry function '(\S+)' for 'sm_(\d+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
    return [(name, arch, int(stores) + int(loads)) for name, arch, stores, loads in re.findall(pattern, said, re.S)]


@pytest.fixture(scope="module")
def compiled() -> dict[str, tuple[Path, str]]:
    with ThreadPoolExecutor(2) as pool:
        running = {source.stem: pool.submit(everywhere, source) for source in KERNELS}
        running |= {
            source.stem: pool.submit(nvcc, source, "-gencode=arch=compute_90,code=sm_90") for source in LIBRARIES
        }
        return {stem: future.result() for stem, future in running.items()}


@pytest.mark.parametrize("source", [path.stem for path in KERNELS])
def test_compiles_for_every_architecture_without_a_warning(compiled, source):
    said = compiled[source][1]
    assert "warning" not in said
    assert {arch for _, arch, _ in resources(said)} == {str(number) for number in ARCHITECTURES}


@pytest.mark.parametrize("source", [path.stem for path in KERNELS])
def test_float32_kernels_for_up_to_256_columns_spill_no_register(compiled, source):
    found = resources(compiled[source][1])
    assert found
    # Mangled names: kernels of 16-bit rows, and Row<float, 128, …>, whose teams of 128 lanes hold longer rows.
    wide_or_short = re.compile(r"kernelI(6__half|13__nv_bfloat16)|RowIfLi128E")
    spills = [(name, arch, spilled) for name, arch, spilled in found if spilled and not wide_or_short.search(name)]
    assert spills == []


@pytest.fixture(scope="module")
def library(compiled, tmp_path_factory) -> Path:
    """Links without a CUDA build of torch."""
    library = tmp_path_factory.mktemp("linked") / "_kernels_cuda.so"
    objects = [str(target) for target, _ in compiled.values()]
    torch_lib = Path(torch.__file__).parent / "lib"
    link = [NVCC, "-shared", "-Xlinker=--no-as-needed", f"-L{torch_lib}", "-ltorch_cpu", *objects, "-o", str(library)]
    subprocess.run(link, check=True)
    return library


def test_the_library_uses_the_stable_interface_alone(library):
    missing = subprocess.check_output(["nm", "-D", "--undefined-only", "--no-demangle", str(library)], text=True)
    names = {line.split()[-1].split("@")[0] for line in missing.splitlines()}
    # What torch's CUDA library will bring, and nothing else of CUDA or of torch's C++ interface.
    ours = {name for name in names if re.search(r"aoti|torch|c10|cuda", name)}
    assert ours
    assert not {name for name in ours if name.startswith("_Z")}, "only the C functions of the stable ABI"


@needs_headers
def test_the_library_uses_what_the_first_torch_has(library):
    assert unknown_to_the_first(library) == set()


def test_a_cpu_install_with_the_cuda_library_beside_it_imports_silently(compiled, tmp_path):
    package = tmp_path / "ans_fast"
    shutil.copytree(ROOT / "ans_fast", package, ignore=shutil.ignore_patterns("__pycache__", "_kernels_cuda*"))
    (package / "_kernels_cuda.so").write_bytes(b"not loaded where torch sees no GPU")
    program = "import ans_fast; print(ans_fast.__file__)"
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-P", "-W", "error", "-c", program]
    done = subprocess.run(command, env=hidden, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(package / "__init__.py")
