"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import os

from ans_fast.command_line import start


def prepare_process() -> None:
    """What has to be said before torch is loaded, of a process that trains."""
    # OpenMP's threads wait for each other awake, a hundred times this long by default: alone on the machine it makes no
    # difference, beside another busy process a step takes half the time.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if "RANK" in os.environ:  # of torchrun: where a process is lost torch's own warnings, a stack each, hide our line
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


if __name__ == "__main__":
    prepare_process()
    start("ans_fast.runner.main")
