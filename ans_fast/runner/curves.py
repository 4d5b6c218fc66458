"""Curves for TensorBoard, if they are asked for."""

from __future__ import annotations

import io
import secrets
import socket
import time
from pathlib import Path
from typing import Any, BinaryIO

from ans_fast.errors import UserError, reason
from ans_fast.packages import optional

_MODULES = (
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
    "torch.utils.tensorboard.summary",
)

Results = dict[str, dict[str, float]]


class Curves:
    """Writes loss and metrics, each epoch's at once, into `folder`; does nothing where that is None.

    A run that goes on from a checkpoint goes on with its curves there: what a killed run wrote of later epochs is
    marked as void. Raises UserError without tensorboard, and where the disk takes no more. (tensorboard's own writer
    has a thread, in which a full disk is a traceback.)
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.file: BinaryIO | None = None
        if folder:
            self.events, self.records, self.summary = (optional(module, "--tensorboard") for module in _MODULES)

    def add(self, epoch: int, loss: float, results: Results) -> None:
        """A point of every curve: the loss and each split's metrics by name."""
        if not self.folder:
            return
        start = []
        if not self.file:
            void = self.events.SessionLog(status=self.events.SessionLog.START)
            start = [self._event(0, file_version="brain.Event:2"), self._event(epoch, session_log=void)]
        self._write([*start, self._point("loss", loss, epoch), *self._points(results, epoch)])

    def close(self, results: Results, best_epoch: int) -> None:
        """Adds the final results, those of the best epoch's weights, and ends."""
        if self.file:
            self._write(self._points({f"final/{split}": values for split, values in results.items()}, best_epoch))
            self.file.close()

    def _points(self, results: Results, epoch: int) -> list[Any]:
        return [
            self._point(f"{split}/{name}", value, epoch)
            for split, values in results.items()
            for name, value in values.items()
        ]

    def _point(self, name: str, value: float, epoch: int) -> Any:
        return self._event(epoch, summary=self.summary.scalar(name, value))

    def _event(self, step: int, **content: Any) -> Any:
        return self.events.Event(wall_time=time.time(), step=step, **content)

    def _write(self, events: list[Any]) -> None:
        buffer = io.BytesIO()
        records = self.records.RecordWriter(buffer)
        for event in events:
            records.write(event.SerializeToString())
        try:
            if not self.file:
                self.folder.mkdir(parents=True, exist_ok=True)
                # TensorBoard reads a folder's files by name: the later run's after the earlier's.
                name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{secrets.token_hex(4)}"
                self.file = (self.folder / name).open("xb")
            self.file.write(buffer.getvalue())
            self.file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {reason(error)}") from None
