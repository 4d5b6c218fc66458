"""Builds the libraries `_kernels` (operators and CPU kernels, g++) and `_kernels_cuda` (CUDA kernels, nvcc alone), and
the Python module `_C`, which says how they were built.

The libraries know no Python and use LibTorch's stable ABI: one build serves every Python, and every torch from 2.10 on.
ninja compiles in parallel and only what changed; its folder is build/ninja in the source tree, whichever way the build
was started.

Environment variables:
  ANS_FAST_CUDA=0|1     leave the CUDA half out, or insist on it (default: built where nvcc is found)
  TORCH_CUDA_ARCH_LIST  compute capabilities to build for, such as "8.0;9.0+PTX"
  ANS_FAST_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer (see `make sanitize`)
  CXX, NVCC, MAX_JOBS   the compilers, and how many of them run at a time
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SANITIZE = os.environ.get("ANS_FAST_SANITIZE") == "1"
CXX = os.environ.get("CXX", "g++")
CXX_FLAGS = (
    "-std=c++17 -O3 -fPIC -fopenmp -fno-math-errno -fno-trapping-math -fvisibility=hidden -Wall -Wextra -Icsrc"
).split()
# Denormals, division and square roots by the GPU's fast instructions (2 ulp): half of the kernels' work is sigmoids.
NVCC_FLAGS = (
    "-std=c++17 -O3 -lineinfo -ftz=true -prec-div=false -prec-sqrt=false -Werror=all-warnings "
    "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra -Icsrc -DUSE_CUDA"
).split()
STABLE_ABI = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # torch 2.10
# The flags of each SIMD level; csrc/cpu/simd.h names the same levels and chooses one at run time.
SIMD_LEVELS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    SIMD_LEVELS["avx2"] = "-mavx2 -mfma -mbmi2".split()
    SIMD_LEVELS["avx512"] = (
        "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mbmi2 -mprefer-vector-width=512".split()
    )
DEFAULT_CUDA_ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"


def find_torch() -> Path:
    """The folder of the installed torch, without importing it.

    An isolated build hides the environment's packages from the import system but runs the environment's interpreter,
    which still knows where they lie.
    """
    spec = importlib.util.find_spec("torch")
    folders = [Path(spec.origin).parent] if spec and spec.origin else []
    folders += [Path(sysconfig.get_path(key)) / "torch" for key in ("platlib", "purelib")]
    folders += [Path(folder) / "torch" for folder in [*site.getsitepackages(), site.getusersitepackages()]]
    for folder in folders:
        if (folder / "include/torch/csrc/stable/library.h").exists():
            return folder
    raise SystemExit(
        "error: building ans_fast takes an installed torch >= 2.10, and none was found for "
        f"{sys.executable}: run `pip install torch`, then `pip install --no-build-isolation .`"
    )


def torch_version(torch: Path) -> str:
    """The version of an installed torch, such as 2.13.0+cpu."""
    return re.search(r"^__version__ = '(.+)'$", (torch / "version.py").read_text(), re.M).group(1)


def pybind11_include(torch: Path) -> str:
    """pybind11's headers: the installed ones, else the copy that torch brings."""
    try:
        import pybind11
    except ImportError:
        return str(torch / "include")
    return pybind11.get_include()


def find_nvcc() -> str | None:
    """nvcc, from NVCC, CUDA_HOME, the path or the usual place."""
    homes = [Path(home) / "bin/nvcc" for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home]
    return os.environ.get("NVCC") or next((str(nvcc) for nvcc in homes if nvcc.exists()), None) or shutil.which("nvcc")


def decide_cuda() -> tuple[str | None, str]:
    """nvcc's path, or None where the CUDA half is not built, and the reason in words."""
    forced = os.environ.get("ANS_FAST_CUDA", "")
    nvcc = find_nvcc()
    if forced not in ("", "0", "1"):
        raise SystemExit(f"error: ANS_FAST_CUDA must be 0 or 1, got {forced}")
    if forced == "0":
        return None, "left out, as ANS_FAST_CUDA=0 asks"
    if nvcc is None:
        if forced == "1":
            raise SystemExit("error: ANS_FAST_CUDA=1, but nvcc was found neither in CUDA_HOME nor on the path")
        return None, "left out: no nvcc"
    if not list(ROOT.glob("csrc/cuda/*.cu")):
        return None, "left out: csrc/cuda has no .cu file"
    return nvcc, f"built with {nvcc} for {', '.join(cuda_architectures())}"


def cuda_architectures() -> list[str]:
    """Architectures in nvcc's numbers, such as ["75", "90", "120+PTX"]."""
    named = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_CUDA_ARCHITECTURES
    return [name.replace(".", "") for name in re.split(r"[;,\s]+", named.strip()) if name]


def architecture_flags(architectures: list[str]) -> list[str]:
    flags = []
    for name in architectures:
        number = name.removesuffix("+PTX")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if name.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return flags


def cuda_version(nvcc: str) -> str:
    return re.search(r"release ([\d.]+)", subprocess.check_output([nvcc, "--version"], text=True)).group(1)


class NinjaFile:
    """Collects the steps of a build and runs them with ninja."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lines = [f"builddir = {folder}", "rule run", "  command = $cmd", "  description = $out", ""]

    def step(self, out: str, sources: list[str | Path], command: list[str | Path], depfile: str = "") -> str:
        """`command` makes build/ninja/`out` from `sources`, after the headers that its depfile names."""
        target = self.folder / out
        escape = lambda path: str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")  # noqa: E731
        shell = " ".join("'" + str(part).replace("'", "'\\''") + "'" for part in command).replace("$", "$$")
        self.lines.append(f"build {escape(target)}: run {' '.join(map(escape, sources))}")
        self.lines += [f"  cmd = {shell}", *([f"  depfile = {depfile}", "  deps = gcc"] if depfile else []), ""]
        return str(target)

    def run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "build.ninja").write_text("\n".join(self.lines))
        ninja = [shutil.which("ninja")] if shutil.which("ninja") else [sys.executable, "-m", "ninja"]
        jobs = ["-j", os.environ["MAX_JOBS"]] if os.environ.get("MAX_JOBS") else []
        finished = subprocess.run([*ninja, "-f", self.folder / "build.ninja", *jobs], cwd=ROOT)
        if finished.returncode:
            raise SystemExit("error: the extension did not compile; the compiler's messages are above")


class BuildWithNinja(build_ext):
    """setuptools' build_ext with its compiling done by ninja."""

    def get_ext_filename(self, fullname: str) -> str:
        """The module's name has this Python's tag, the kernels' have none."""
        if fullname.endswith("_C"):
            return super().get_ext_filename(fullname)
        return str(Path(*fullname.split("."))) + ".so"

    def build_extensions(self) -> None:
        torch = find_torch()
        nvcc, reason = decide_cuda()
        print(f"ans_fast: torch {torch_version(torch)}; SIMD {', '.join(SIMD_LEVELS)}; CUDA {reason}", flush=True)
        ninja = NinjaFile(ROOT / "build" / ("ninja-sanitize" if SANITIZE else "ninja") / sys.implementation.cache_tag)
        built = self.cpu_libraries(ninja, torch, nvcc)
        if nvcc:
            built["ans_fast._kernels_cuda"] = self.cuda_library(ninja, torch, nvcc)
        ninja.run()
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copy2(built[extension.name], target)

    def cpu_libraries(self, ninja: NinjaFile, torch: Path, nvcc: str | None) -> dict[str, str]:
        flags = list(CXX_FLAGS)
        if SANITIZE:
            flags += (
                "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined".split()
            )

        def compile_(out: str, source: Path, extra: list[str]) -> str:
            name = ninja.folder / out
            command = [CXX, *flags, *extra, "-MMD", "-MF", f"{name}.d", "-c", source.relative_to(ROOT), "-o", name]
            return ninja.step(out, [source], command, f"{name}.d")

        objects = [
            compile_(f"{source.stem}.{level}.o", source, [f"-DANS_SIMD={level}", "-fno-exceptions", *level_flags])
            for source in sorted(ROOT.glob("csrc/cpu/*.cpp"))
            for level, level_flags in SIMD_LEVELS.items()
        ]
        facts = {
            "ANS_VERSION": self.distribution.get_version(),
            "ANS_TORCH": torch_version(torch),
            "ANS_CUDA": cuda_version(nvcc) if nvcc else "",
            "ANS_CUDA_ARCHITECTURES": " ".join(cuda_architectures()) if nvcc else "",
        }
        includes = ["-I", pybind11_include(torch), "-I", sysconfig.get_path("include"), "-isystem", torch / "include"]
        facts_flags = [f'-D{name}="{fact}"' for name, fact in facts.items()]
        own = {
            source.stem: compile_(f"{source.stem}.o", source, [STABLE_ABI, *map(str, includes), *facts_flags])
            for source in sorted(ROOT.glob("csrc/*.cpp"))
        }
        # OpenMP is not linked on purpose: its symbols come from whichever runtime torch itself loaded, the only one.
        link = [CXX, "-shared", *flags, "-fno-openmp"]
        torch_link = ["-Wl,--no-as-needed", "-L", torch / "lib", "-ltorch_cpu"]

        def link_(name: str, parts: list[str], *more: str | Path) -> str:
            return ninja.step(name, parts, [*link, *parts, *more, "-o", ninja.folder / name])

        module = link_("_C.so", [own.pop("module"), own["simd"]])
        kernels = link_("_kernels.so", [*objects, *own.values()], *torch_link)
        return {"ans_fast._C": module, "ans_fast._kernels": kernels}

    def cuda_library(self, ninja: NinjaFile, torch: Path, nvcc: str) -> str:
        flags = [*NVCC_FLAGS, STABLE_ABI, "-isystem", torch / "include"]
        objects = []
        for source in sorted(ROOT.glob("csrc/cuda/*.cu")):
            out = f"{source.stem}.cuda.o"
            name = ninja.folder / out
            # library*.cu hold no kernels: torch's headers need not be read once for each architecture.
            codes = [] if source.stem.startswith("library") else architecture_flags(cuda_architectures())
            command = [nvcc, *flags, *codes, "-MD", "-MF", f"{name}.d", "-c", source.relative_to(ROOT), "-o", name]
            objects.append(ninja.step(out, [source], command, f"{name}.d"))
        # libtorch.so stands for torch's CPU and CUDA libraries, also where the torch at hand has only the first.
        link = [nvcc, "-shared", "-Xlinker=--no-as-needed", "-L", torch / "lib", "-ltorch", "-ltorch_cpu"]
        return ninja.step("_kernels_cuda.so", objects, [*link, *objects, "-o", ninja.folder / "_kernels_cuda.so"])


names = ["_C", "_kernels", *(["_kernels_cuda"] if decide_cuda()[0] else [])]
extensions = [Extension(f"ans_fast.{name}", []) for name in names]
setup(ext_modules=extensions, cmdclass={"build_ext": BuildWithNinja})
