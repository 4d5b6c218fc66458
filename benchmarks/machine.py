"""The machine a benchmark runs on, and whether other processes kept it from running."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from ans_fast import build_info


def device() -> str:
    """The processor's name, its cores and the SIMD level that the kernels chose."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {build_info()['simd_in_use']}"


def versions() -> str:
    """ans_fast's, torch's and Python's."""
    return f"ans_fast {build_info()['version']}, torch {torch.__version__}, Python {platform.python_version()}"


def seconds_waited() -> float:
    """How long this process's threads have waited for a core so far, all together; NaN off Linux."""
    files = list(Path("/proc/self/task").glob("*/schedstat"))
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9 if files else float("nan")
