"""What is shipped, and what the linker may not mix up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import ans_fast
from tests.conftest import ROOT

SOURCES = ["ans_fast", "csrc", "tests", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "Makefile"]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the sources alone, so that building does not disturb the checkout."""
    folder = tmp_path_factory.mktemp("source")
    skip = shutil.ignore_patterns("*.so", "__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=skip)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(source: Path, out: Path, function: str) -> Path:
    """Calls setuptools' PEP 517 hook, as pip does, and returns the archive it made."""
    code = f"import setuptools.build_meta as b; b.{function}({str(out)!r})"
    environment = {**os.environ, "ANS_FAST_CUDA": "0"}
    finished = subprocess.run([sys.executable, "-c", code], cwd=source, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return next(out.iterdir())


def test_sdist_carries_all_that_a_build_needs(source, tmp_path):
    with tarfile.open(build(source, tmp_path, "build_sdist")) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    needed = {str(path.relative_to(source)) for path in (source / "csrc").rglob("*") if path.is_file()}
    assert needed | {"setup.py", "pyproject.toml", "LICENSE", "ans_fast/graph.py"} <= names
    assert not [name for name in names if name.endswith(".so")]


@pytest.mark.compiles
def test_wheel_carries_the_library_and_no_tests(source, tmp_path):
    with zipfile.ZipFile(build(source, tmp_path, "build_wheel")) as archive:
        names = archive.namelist()
    assert "ans_fast/_kernels.so" in names
    assert [name for name in names if re.fullmatch(r"ans_fast/_C\..*so", name)]
    assert {name.split("/")[0] for name in names} == {"ans_fast", "ans_fast-0.1.0.dist-info"}
    # The build left its objects: code made for one instruction set exports its entry points alone, none of them weak,
    # or the linker could hand an AVX-512 copy of a shared inline function to an older CPU.
    objects = sorted(source.glob("build/ninja/*/*.avx*.o")) + sorted(source.glob("build/ninja/*/*.baseline.o"))
    assert objects
    for path in objects:
        level = path.name.split(".")[1]
        symbols = subprocess.check_output(["nm", "-C", "--defined-only", path], text=True).splitlines()
        exported = [line.split(maxsplit=2)[1:] for line in symbols if line.split(maxsplit=2)[1].isupper()]
        exported = [(kind, name) for kind, name in exported if kind not in "RDB"]  # constants of their own
        assert exported
        for kind, name in exported:
            assert kind == "T", (path.name, name)
            assert re.match(rf"ans::cpu::\w+_{level}\(", name), (path.name, name)


def test_a_build_without_torch_says_so(tmp_path):
    shutil.copy(ROOT / "setup.py", tmp_path)
    code = (
        "import runpy, site, sysconfig; sysconfig.get_path = lambda *a: '/nowhere'; site.getsitepackages = list; "
        "site.getusersitepackages = lambda: '/nowhere'; import importlib.util as u; u.find_spec = lambda n: None; "
        "import setuptools; setuptools.setup = lambda **k: None; runpy.run_path('setup.py')['find_torch']()"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "building ans_fast takes an installed torch >= 2.10" in finished.stderr
    assert finished.stderr.count("\n") == 1


def test_a_missing_library_is_named_with_the_command_that_builds_it(tmp_path):
    shutil.copytree(ROOT / "ans_fast", tmp_path / "ans_fast", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    # Without site's hooks: an editable install would find the library in the checkout.
    code = f"import sys; sys.path = ['.', *sys.path, {sysconfig.get_path('purelib')!r}]; import ans_fast.ops"
    import_it = [sys.executable, "-S", "-c", code]
    finished = subprocess.run(import_it, cwd=tmp_path, capture_output=True, text=True)
    assert "ImportError: ans_fast's compiled extension has not been built" in finished.stderr
    assert "pip install --no-build-isolation -e ." in finished.stderr
    for name in ("_C", "_kernels"):
        (tmp_path / f"ans_fast/{name}.so").write_text("not a library")
    finished = subprocess.run(import_it, cwd=tmp_path, capture_output=True, text=True)
    assert "ImportError: ans_fast's compiled extension does not load here" in finished.stderr


def test_importing_warns_of_nothing():
    finished = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", "import ans_fast"], cwd=ROOT, capture_output=True, text=True
    )
    assert (finished.returncode, finished.stderr) == (0, "")


def test_one_openmp_runtime_is_loaded():
    code = (
        "import ans_fast, torch; ans_fast.ops.ans_noise(0, 9, 9); "
        "print(len({l.split()[-1] for l in open('/proc/self/maps') if 'libgomp' in l or 'libiomp' in l}))"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "1"


def test_build_info():
    info = ans_fast.build_info()
    assert set(info) == {"version", "torch", "compiler", "simd", "simd_in_use", "cuda", "cuda_architectures"}
    assert info["version"] == ans_fast.__version__
    assert info["simd_in_use"] in info["simd"]
    assert (info["cuda"] is None) == (info["cuda_architectures"] == [])
