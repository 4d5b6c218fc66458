"""Compiles CUDA sources with g++ against tests/simt's headers, into libraries named by the hash of what went in."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build/simt"
TORCH = Path(torch.__file__).parent
FLAGS = (
    "-std=c++20 -O1 -g1 -fPIC -fno-strict-aliasing -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-ignored-attributes "
    "-Wno-attributes -DANS_SIMT -DTORCH_TARGET_VERSION=0x020a000000000000"
).split()
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer".split()


def compile_library(sources: list[Path], sanitize: bool = False) -> Path:
    """A shared library of `sources` (.cu or .cpp), compiled unless that was done before."""
    flags = [
        *FLAGS,
        *(SANITIZERS if sanitize else []),
        f"-I{ROOT / 'csrc'}",
        f"-I{HERE}",
        "-isystem",
        str(TORCH / "include"),
    ]
    headers = sorted([*ROOT.glob("csrc/*/*.h"), *HERE.glob("*.h")])
    text = " ".join(flags).encode() + b"".join(path.read_bytes() for path in [*headers, *sources])
    folder = BUILD / hashlib.sha256(text).hexdigest()[:16]
    library = folder / "kernels.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "g++")

    def compile_(source: Path) -> Path:
        target = folder / f"{source.stem}.o"
        subprocess.run([compiler, *flags, "-x", "c++", "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_, sources))
    unfinished = folder / f"kernels.{os.getpid()}.so"
    torch_library = ["-Wl,--as-needed", f"-L{TORCH / 'lib'}", "-ltorch_cpu"]  # only where the sources use torch
    subprocess.run([compiler, *flags, "-shared", *objects, *torch_library, "-o", unfinished], check=True)
    unfinished.rename(library)  # at once, should two test runs build side by side
    return library


def load_kernels() -> ctypes.CDLL:
    """The library of all kernels; under AddressSanitizer (SIMT_SANITIZE=1) when the process was started with it."""
    kernels = [source for source in sorted(ROOT.glob("csrc/cuda/*.cu")) if not source.stem.startswith("library")]
    path = compile_library([*kernels, HERE / "operators.cpp"], os.environ.get("SIMT_SANITIZE") == "1")
    torch.ops.load_library(path)
    return ctypes.CDLL(path)


def sanitizer_environment() -> dict[str, str]:
    """The environment of a Python process that loads libraries compiled with `sanitize`."""
    compiler = os.environ.get("CXX", "g++")
    runtime = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
    options = {"ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    return {**os.environ, **options, "LD_PRELOAD": runtime, "SIMT_SANITIZE": "1", "PYTHONMALLOC": "malloc"}
