"""Where a run's files lie, and its log: `INFO:root:…` lines in a file, the bare lines on stdout."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from ans_fast.errors import UserError, reason


@dataclass(frozen=True)
class Paths:
    """log: the log; weights: the best weights; checkpoint: the state to go on from; folder: predictions and results."""

    log: Path
    weights: Path
    checkpoint: Path
    folder: Path

    @classmethod
    def of(cls, args: argparse.Namespace) -> Paths:
        """ReChorus's places, relative to the working directory, unless --log_file and --model_path say otherwise."""
        full_name, name = args.model_name + args.model_mode, run_name(args)
        log = Path(args.log_file or f"../log/{full_name}/{name}.txt")
        weights = Path(args.model_path or f"../model/{full_name}/{name}.pt")
        if weights.is_dir():
            raise UserError(f"--model_path must be a file, got the folder {weights}")
        folder = log.parent / log.name.removesuffix(".txt")
        if folder == log:
            folder = log.parent / f"{log.name}.d"
        return cls(log, weights, weights.parent / f"{weights.name.removesuffix('.pt')}.resume.pt", folder)


def run_name(args: argparse.Namespace) -> str:
    """`{model}{mode}__{dataset}__{seed}__lr={lr}__l2={l2}__…`, as ReChorus names it; what it lacks follows."""
    parts = [args.model_name + args.model_mode, args.dataset, str(args.random_seed)]
    parts += [f"{name}={getattr(args, name)}" for name in ("lr", "l2", *args.model.log_flags(args))]
    return "__".join(parts).replace(" ", "__").replace("/", "_")


class _File(logging.FileHandler):
    """Ends the run where the log can't be written any more, as on a full disk."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise UserError(f"cannot write the log {self.baseFilename}: {reason(error)}") from None
        super().handleError(record)


class _Output(logging.StreamHandler):
    """Ends the run where nobody reads its output any more."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            raise  # what emit caught
        super().handleError(record)


def start_logging(path: Path, level: int) -> None:
    """Sends the root logger to the end of the file and to stdout. Raises UserError where the file can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        to_file = _File(path, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write the log {path}: {reason(error)}") from None
    to_file.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    root.addHandler(to_file)
    root.addHandler(_Output(sys.stdout))
