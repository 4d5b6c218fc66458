"""What the command lines share: how they parse, how they show help, how they end."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from ans_fast.errors import UserError


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a flag's help where that tells something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default not in (None, "", [], "\t", argparse.SUPPRESS)
        return super()._get_help_string(action) if shown else action.help


class Parser(argparse.ArgumentParser):
    """Mistakes are UserErrors; flags are given in full."""

    def __init__(self, **options: object):
        super().__init__(**{"allow_abbrev": False, "formatter_class": Help, **options})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists all flags)")


def exit_status(command: Callable[[], int], interrupted: str = "error: interrupted") -> int:
    """What `command` returns; after a UserError, shown on stderr, 2; after Ctrl-C, told by `interrupted`, 130; 141
    without a word where who read stdout has left, as `head` does."""
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes what is left when it ends
        return 141


def start(module: str) -> NoReturn:
    """Ends the process with the exit status of the module's `main`. Importing it, which takes seconds where torch is
    needed, ends at Ctrl-C without a word."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # torch's import may swallow a KeyboardInterrupt, and break

    def command() -> int:
        main = importlib.import_module(module).main
        signal.signal(signal.SIGINT, before)
        return main()

    sys.exit(exit_status(command))  # importing too tells of mistakes: of environment variables
