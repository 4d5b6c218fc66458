"""Curves for TensorBoard, if they are asked for."""

from __future__ import annotations

from ans_fast.errors import UserError


class Curves:
    """Writes loss and metrics into a folder; does nothing where that is ''. Raises UserError without tensorboard."""

    def __init__(self, folder: str):
        self.writer = None
        if folder:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("--tensorboard needs tensorboard: pip install tensorboard") from None
            self.writer = SummaryWriter(folder)

    def add(self, epoch: int, loss: float, dev: dict[str, float]) -> None:
        """An epoch's point of every curve."""
        if self.writer:
            self.writer.add_scalar("loss", loss, epoch)
            for name, value in dev.items():
                self.writer.add_scalar(f"dev/{name}", value, epoch)

    def close(self, results: dict[str, dict[str, float]]) -> None:
        """Adds the final results and ends."""
        if self.writer:
            for split, values in results.items():
                for name, value in values.items():
                    self.writer.add_scalar(f"final/{split}/{name}", value, 0)
            self.writer.close()
