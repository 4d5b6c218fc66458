"""The command lines that there are, and what was built."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ans_fast.command_line import Parser, exit_status

COMMANDS = {
    "demo": "ANS on a made data set, beside plain PyTorch",
    "run": "train and evaluate a model, with ReChorus's flags and files",
    "data": "prepare, convert and describe data sets",
    "compare": "models, data sets and seeds into one table",
    "tune": "search for the flags that do best on dev",
}


class _Version(argparse.Action):
    """Looks at the build only where it is asked for: that loads torch."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import ans_fast

        build = ans_fast.build_info()
        print(f"ans_fast {build['version']} ({', '.join(f'{k} {v}' for k, v in build.items() if k != 'version')})")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the commands, or the version; the exit status: 0, 2 for anything else."""
    parser = Parser(
        prog="python -m ans_fast",
        usage="%(prog)s COMMAND [--FLAG VALUE] …",
        description="Training of graph recommenders with hard negatives. COMMAND --help lists a command's flags.",
        epilog="commands:\n" + "\n".join(f"  {name:<9}{about}" for name, about in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and what was built, and exit")

    def command() -> int:
        parser.parse_args(argv)
        parser.print_help()
        return 0

    return exit_status(command)
