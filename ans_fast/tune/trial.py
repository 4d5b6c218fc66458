"""One trial: a training with some flags, judged by dev alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ans_fast.data import Dataset
from ans_fast.errors import UserError
from ans_fast.runner.evaluate import make_evaluator
from ans_fast.runner.fit import Training
from ans_fast.runner.memory import check_memory
from ans_fast.runner.settings import Settings
from ans_fast.runner.setup import device_of, model_and_rows


class Failed(Exception):
    """A training that ended in no result, and why."""


def best_on_dev(settings: Settings, dataset: Dataset, report: Callable[[int, float], None]) -> tuple[float, int]:
    """Trains as `python -m ans_fast.run` does with these flags, and never looks at test.

    Args:
        settings: what flags say.
        dataset: what they name.
        report: called after each epoch with its number and its main metric on dev; what it raises ends the training.

    Returns:
        The main metric of the best epoch, and that epoch.

    Raises:
        Failed: the memory does not suffice, or the loss became NaN or infinite.
    """
    device = device_of(settings)
    torch.manual_seed(settings.random_seed)
    try:
        check_memory(settings, dataset, device)
        model, rows = model_and_rows(settings, dataset, device)
        dev = make_evaluator(model, dataset, "dev", settings)

        def on_epoch(epoch: int, *_: Any) -> None:
            report(epoch, training.history.values()[-1])

        training = Training(model, rows, dev, dev, settings, None, on_epoch)
        training.history.first_spread = model.spread(model.precompute())
        training.run()
    except UserError as error:
        raise Failed(str(error)) from None
    if training.interrupted:
        raise KeyboardInterrupt
    history = training.history
    return history.values()[history.best_epoch - 1], history.best_epoch
