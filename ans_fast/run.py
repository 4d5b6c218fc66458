"""`python -m ans_fast.run`: train and evaluate a model from the command line, as ReChorus's main.py does."""

from __future__ import annotations

import os

from ans_fast.command_line import start

if __name__ == "__main__":
    # OpenMP's threads wait for each other awake, a hundred times this long by default: alone on the machine it makes no
    # difference, beside another busy process a step takes half the time. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    start("ans_fast.runner.main")
