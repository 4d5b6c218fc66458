"""`python -m ans_fast COMMAND …`, or `ans_fast COMMAND …` where it is installed: all command lines by name."""

from __future__ import annotations

import runpy
import sys

from ans_fast.command_line import start
from ans_fast.overview import COMMANDS


def main() -> None:
    """Goes on as `python -m ans_fast.COMMAND`; without a command tells which there are."""
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        name = sys.argv.pop(1)
        runpy.run_module(f"ans_fast.{name}", run_name="__main__", alter_sys=True)
    start("ans_fast.overview")


if __name__ == "__main__":
    main()
