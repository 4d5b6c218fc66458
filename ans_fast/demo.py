"""`python -m ans_fast.demo`: ANS on a made data set, and what an epoch of it takes in plain PyTorch."""

from __future__ import annotations

from ans_fast.command_line import start
from ans_fast.run import prepare_process

if __name__ == "__main__":
    prepare_process()
    start("ans_fast.runner.demo")
