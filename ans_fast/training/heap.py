"""Memory between steps."""

from __future__ import annotations

import torch

LARGEST = 31 << 20  # bytes; just below the largest block that glibc ever takes from its heap


def keep_freed_memory() -> None:
    """Lets glibc's heap keep what a step frees for the step that follows.

    Free memory at the heap's end goes back to the system where it is more than twice the largest block that was ever
    freed on its own. With tables of a few megabytes that is so at every step, and the next one waits for hundreds of
    pages to be mapped and zeroed again. One large block, freed untouched, raises that bound. Does nothing with other
    allocators.
    """
    torch.empty(LARGEST, dtype=torch.uint8, device="cpu")
