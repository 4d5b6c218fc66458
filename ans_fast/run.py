"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import ctypes
import os

from ans_fast.command_line import start


def keep_freed_memory() -> None:
    """Every step of training frees tables of megabytes and asks for their like again. glibc would give them back to the
    system in between, and a tenth of an epoch would go into page faults."""
    set_option, mmap_threshold, trim_threshold = getattr(ctypes.CDLL(None), "mallopt", None), -3, -1
    if set_option and set_option(mmap_threshold, 32 << 20):  # the most that every version takes
        set_option(trim_threshold, 1 << 30)


def prepare_process() -> None:
    """What has to be said before torch is loaded, of a process that trains."""
    # OpenMP's threads wait for each other awake, a hundred times this long by default: alone on the machine it makes no
    # difference, beside another busy process a step takes half the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if "RANK" in os.environ:  # of torchrun: where a process is lost torch's own warnings, a stack each, hide our line
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    keep_freed_memory()


if __name__ == "__main__":
    prepare_process()
    start("ans_fast.runner.main")
