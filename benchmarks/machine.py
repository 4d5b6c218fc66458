"""The machine a benchmark runs on, and how much of it other processes took meanwhile."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Usage:
    """Seconds since some start: of the clock, of processor time of all processes, and of this one."""

    clock: float
    everyone: float
    own: float

    @classmethod
    def now(cls) -> Usage:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _wait, *interrupts = (int(field) for field in fields[:8])
        everyone = (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
        return cls(time.perf_counter(), everyone, sum(os.times()[:2]))

    def others_since(self, before: Usage) -> float:
        """The share of all processors' time that other processes, or the host, took since `before`."""
        others = (self.everyone - before.everyone) - (self.own - before.own)
        return max(others, 0.0) / ((self.clock - before.clock) * (os.cpu_count() or 1))
