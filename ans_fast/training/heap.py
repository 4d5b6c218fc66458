"""Memory between steps."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
LARGEST = 32 << 20  # bytes; the most that every version of glibc takes from its heap
KEPT = 1 << 30


def keep_freed_memory() -> None:
    """Lets glibc's heap keep what a step frees for the step that follows.

    Otherwise blocks of megabytes, and whatever is free at the heap's end, go back to the system, and the next step
    waits until as many pages are mapped and zeroed again: a tenth of an epoch. Up to KEPT bytes stay with the process
    from then on. Does nothing with other C libraries.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option and set_option(_MMAP_THRESHOLD, LARGEST):
        set_option(_TRIM_THRESHOLD, KEPT)
