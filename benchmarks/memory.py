"""How much memory a call takes."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path


def extra_peak(call: Callable[[], object]) -> float | None:
    """The most MB (10^6 bytes) that `call`, its result included, had beyond what was resident before; None off Linux.

    The process's high-water mark of resident memory: freed memory is first given back to the system (malloc_trim), so
    that the call cannot hide in it, then the mark is reset (5 into /proc/self/clear_refs) and read after the call.
    """
    try:
        give_back = ctypes.CDLL("libc.so.6").malloc_trim
        gc.collect()
        give_back(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
    except OSError:
        return None
    result = call()
    peak = _status("VmHWM")
    del result
    return max(peak - before, 0) * 1024 / 1e6


def _status(name: str) -> int:
    """An entry of /proc/self/status in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
