"""Curves for TensorBoard, if they are asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ans_fast.errors import UserError, reason

Results = dict[str, dict[str, float]]


class Curves:
    """Writes loss and metrics, each epoch's at once, into `folder`; does nothing where that is None.

    A run that goes on from a checkpoint goes on with its curves there: what a killed run wrote of later epochs is
    marked as void. Raises UserError without tensorboard.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.writer: Any = None
        if folder:
            try:
                self.module = importlib.import_module("torch.utils.tensorboard")
            except ImportError:
                raise UserError("--tensorboard needs tensorboard: pip install tensorboard") from None

    def add(self, epoch: int, loss: float, results: Results) -> None:
        """A point of every curve: the loss and each split's metrics by name."""
        if not self.folder:
            return
        try:
            self.writer = self.writer or self.module.SummaryWriter(str(self.folder), purge_step=epoch)
        except OSError as error:
            raise UserError(f"cannot write {self.folder}: {reason(error)}") from None
        self.writer.add_scalar("loss", loss, epoch)
        self._add(results, epoch)

    def close(self, results: Results, best_epoch: int) -> None:
        """Adds the final results, those of the best epoch's weights, and ends."""
        if self.writer:
            self._add({f"final/{split}": values for split, values in results.items()}, best_epoch)
            self.writer.close()

    def _add(self, results: Results, epoch: int) -> None:
        for split, values in results.items():
            for name, value in values.items():
                self.writer.add_scalar(f"{split}/{name}", value, epoch)
        self.writer.flush()
