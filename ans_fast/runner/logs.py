"""Where a run's files lie, and its log: `INFO:root:…` lines in a file, the bare lines on stdout."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ans_fast.errors import UserError, reason
from ans_fast.files import check_outputs, output_file
from ans_fast.runner.settings import Settings


@dataclass(frozen=True)
class Paths:
    """log: the log; weights: the best weights; checkpoint: the state to go on from; folder: predictions and results;
    curves: the folder of TensorBoard's curves, if they are asked for."""

    log: Path
    weights: Path
    checkpoint: Path
    folder: Path
    curves: Path | None

    @classmethod
    def of(cls, settings: Settings) -> Paths:
        """ReChorus's places, relative to the working directory, unless --log_file and --model_path say otherwise."""
        full_name, name = settings.model_name + settings.model_mode, run_name(settings)
        log = Path(settings.log_file or f"../log/{full_name}/{name}.txt")
        weights = Path(settings.model_path or f"../model/{full_name}/{name}.pt")
        folder = log.parent / log.name.removesuffix(".txt")
        if folder == log:
            folder = log.parent / f"{log.name}.d"
        checkpoint = weights.parent / f"{weights.name.removesuffix('.pt')}.resume.pt"
        curves = Path(settings.tensorboard, folder.name) if settings.tensorboard else None
        return cls(log, weights, checkpoint, folder, curves)

    @property
    def results(self) -> Path:
        """Every figure of the run."""
        return self.folder / "results.json"

    @property
    def drawing(self) -> Path:
        """The picture of --plot."""
        return self.folder / "curves.png"

    def predictions(self, settings: Settings, split: str) -> Path:
        """A split's predictions, by ReChorus's name."""
        return self.folder / f"rec-{settings.model_name}{settings.model_mode}-{split}.csv"

    def check_outputs(self, settings: Settings) -> None:
        """Makes the folders and raises UserError unless all that the run will write can be written."""
        output_file(self.log)
        paths = [self.weights, self.checkpoint] if settings.train else []
        paths.append(self.results)
        if settings.save_final_results:
            paths += [self.predictions(settings, split) for split in ("dev", "test")]
        if settings.plot:
            paths.append(self.drawing)
        if self.curves:
            paths.append(self.curves / "events")
        check_outputs(paths)


def run_name(settings: Settings) -> str:
    """`{model}{mode}__{dataset}__{seed}__lr={lr}__l2={l2}__…`, as ReChorus names it; what it lacks follows."""
    parts = [settings.model_name + settings.model_mode, settings.dataset, str(settings.random_seed)]
    parts += [f"{name}={settings.flags[name]}" for name in ("lr", "l2", *settings.log_flags)]
    return "__".join(parts).replace(" ", "__").replace("/", "_")


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
            raise UserError(f"cannot write the log {path}: {reason(error)}") from None
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
