"""A run's log: `INFO:root:…` lines in a file, the bare lines on stdout."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

from ans_fast.errors import UserError, reason
from ans_fast.files import output_file


class _Counting(logging.Handler):
    """Counts the lines that could not be written, and lets the run go on. Where nobody reads its output any more, the
    run ends."""

    lost = 0
    error: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError):
            raise  # what emit caught
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.lost, self.error = self.lost + 1, error

    def check(self, name: str) -> None:
        """Raises UserError where lines were lost."""
        if self.error:
            raise UserError(f"{self.lost} lines of the log could not be written to {name}: {reason(self.error)}")


class _File(_Counting, logging.FileHandler):
    def check(self, name: str) -> None:
        super().check(name)
        if not os.fstat(self.stream.fileno()).st_nlink:
            raise UserError(f"the log {name} was removed while the run wrote it")


class _Output(_Counting, logging.StreamHandler):
    pass


class Silence:
    """In the place of a Log where another process writes it."""

    def __enter__(self) -> Silence:
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(logging.NullHandler())
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check(self) -> None:
        """Nothing was to be written."""


class Log:
    """Sends the root logger to the end of the file and to stdout while its block runs. Raises UserError where the file
    can't be written."""

    def __init__(self, path: Path, level: int):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = _File(output_file(path), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UserError(f"cannot write the log {path}: {reason(error)}; --log_file names another place") from None
        self.file.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        self.output = _Output(sys.stdout)
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)
        root.addHandler(self.file)
        root.addHandler(self.output)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for handler in (self.file, self.output):
            logging.getLogger().removeHandler(handler)
            with contextlib.suppress(OSError):  # of what a full disk does not take: told by `check`
                handler.close()

    def check(self) -> None:
        """Raises UserError where lines were lost."""
        self.file.check(str(self.path))
        self.output.check("stdout")
