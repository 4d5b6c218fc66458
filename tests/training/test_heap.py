"""Freed memory is taken again, not mapped anew."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from ans_fast.training.heap import keep_freed_memory

N_BLOCKS, MEGABYTES = 4, 20


def faults() -> int:
    """Pages that filling and freeing some blocks has the system map."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(MEGABYTES << 20, dtype=torch.uint8) for _ in range(N_BLOCKS)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_blocks_of_megabytes_stay():
    keep_freed_memory()
    after_growing = [faults() for _ in range(6)][-1]
    assert after_growing < N_BLOCKS * (MEGABYTES << 20) / resource.getpagesize() / 50
