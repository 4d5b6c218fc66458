"""How long and in which steps a model is trained: one table for `fit` and for the command line."""

from __future__ import annotations

from ans_fast.flag_types import Choice, natural, non_negative, positive_int
from ans_fast.options import Option, Options
from ans_fast.training.optimizer import OPTIMIZERS


class Schedule(Options):
    """Where a model's DEFAULTS have a value, that is its default."""

    epoch = Option(natural, 200, "epochs at most")
    early_stop = Option(natural, 10, "stop after so many epochs without a better dev result; 0: never")
    lr = Option(non_negative, 1e-3, "learning rate")
    l2 = Option(non_negative, 0, "weight decay")
    batch_size = Option(positive_int, 256, "rows a training step")
    optimizer = Option(Choice(OPTIMIZERS), "Adam", "how parameters are updated")
