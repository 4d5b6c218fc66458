"""The command lines' common parts: parsing, help, exit status."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ans_fast.errors import UserError, reason
from ans_fast.flag_types import Choice
from ans_fast.options import Option


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


def add_option(group: argparse._ActionsContainer, name: str, option: Option[Any]) -> None:
    """The flag of an option."""
    values = {"choices": option.kind.choices} if isinstance(option.kind, Choice) else {"type": option.kind}
    group.add_argument(f"--{name}", default=option.default, help=option.help, metavar=option.metavar, **values)


def exit_status(command: Callable[[], int], interrupted: str = "error: interrupted") -> int:
    """The status that `command` returns; after a UserError, shown on stderr, 2; after Ctrl-C, told by `interrupted`,
    130; 141 without a word where who read stdout has left, as `head` does; 2 where stdout took less than all, as on a
    full disk."""
    lost: OSError | None = None
    try:
        status = command()
    except SystemExit as end:  # of --help
        status = end.code or 0
    except UserError as error:
        status = _tell(f"error: {error}", 2)
    except KeyboardInterrupt:
        status = _tell(interrupted, 130)
    except OSError as error:
        if error.filename is not None:  # of a file: only stdout is written to without a UserError
            raise
        status, lost = 0, error
    lost = lost or _flush_output()
    if lost is None:
        return status
    _give_up(sys.stdout)
    if isinstance(lost, BrokenPipeError):
        return status or 141
    return status or _tell(f"error: cannot write to stdout: {reason(lost)}", 2)


def _tell(message: str, status: int) -> int:
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:  # it is full or closed
        _give_up(sys.stderr)
    return status


def _give_up(stream: TextIO) -> None:
    """Has the stream take everything from now on: Python flushes what is left when it ends, and tells of errors."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _flush_output() -> OSError | None:
    """Why stdout does not take what was printed; None where it does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return error
    return None


def start(module: str) -> NoReturn:
    """Ends the process with the exit status of the module's `main`. Importing it, which takes seconds where torch is
    needed, ends at Ctrl-C without a word."""
    _open_closed_streams()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # torch's import may swallow a KeyboardInterrupt, and break

    def command() -> int:
        main = importlib.import_module(module).main
        signal.signal(signal.SIGINT, before)
        return main()

    sys.exit(exit_status(command))  # importing too tells of mistakes: of environment variables


def _open_closed_streams() -> None:
    """Gives closed standard streams a file in which every read and write fails, so that no other file gets their number
    and what is lost is noticed."""
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, way)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a name that the encoding lacks is no reason to fail
