"""What flags tell a run: declared once, typed, and not to be written into."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ans_fast.flag_types import (
    Integer,
    Text,
    file_name,
    natural,
    positive_int,
    seed,
    separator,
    switch,
    text,
)
from ans_fast.models import MODULES
from ans_fast.models.base import Recommender
from ans_fast.models.modes import MODES
from ans_fast.options import Option, Options
from ans_fast.runner.modes import ClickRanking, RunMode
from ans_fast.training.schedule import Schedule

DEVICE = "([0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]+)"
GPUS = Text(f"(-1|{DEVICE}(,{DEVICE})*)?", "numbers of devices such as 0 or 0,1, or ''")


class Start(Options):
    """What is run."""

    model_name = Option(text, "ANS", f"one of {', '.join(MODULES)}")
    model_mode = Option(text, "", f"'' or {', '.join(MODES)}")


class Global(Options):
    """Where it runs, and what it writes."""

    gpu = Option(GPUS, "0", "CUDA_VISIBLE_DEVICES; '' runs on the CPU, as does a machine without GPU")
    verbose = Option(Integer(0, 100), logging.INFO, "level of the log: 10 is more, 30 less")
    out = Option(
        file_name,
        "",
        "folder of the folders log and model; default the working folder, or .. where that is called src",
        metavar="DIR",
    )
    log_file = Option(file_name, "", "default OUT/log/MODEL/NAME.txt")
    random_seed = Option(seed, 0, "seed of all that is drawn")
    load = Option(switch, 0, "1: go on from the checkpoint, or from the weights")
    train = Option(switch, 1, "0: evaluate only")
    save_final_results = Option(switch, 1, "1: write predictions for dev and test")
    regenerate = Option(switch, 0, "1: read the data anew, not from the cache")
    plot = Option(switch, 0, "1: draw loss and metrics into curves.png")
    tensorboard = Option(
        file_name, "", "write curves for TensorBoard here, in a folder named like the log", metavar="DIR"
    )


class Data(Options):
    """What it reads."""

    path = Option(file_name, "data/", "folder of the data sets")
    dataset = Option(file_name, None, "a folder there with train.csv, dev.csv and test.csv; default demo, a made one")
    sep = Option(separator, "\t", "what separates the columns (default: a tab)")


class Checks(Options):
    """When and how a model is looked at."""

    check_epoch = Option(natural, 1, "look for collapsed embeddings every so many epochs")
    test_epoch = Option(Integer(-1, natural.most), -1, "show test results every so many epochs; -1: never")
    eval_batch_size = Option(positive_int, 256, "rows scored at once")


class Steps(Options):
    """How a step is made."""

    capture = Option(
        switch,
        1,
        "1: on a GPU a step is recorded once and replayed as a CUDA graph; 0: its kernels are launched one by one",
    )
    num_workers = Option(natural, None, "no effect: batches are sliced from whole tensors")
    pin_memory = Option(natural, None, "no effect: batches are sliced from whole tensors")


class Ranking(Options):
    """What is ranked."""

    test_all = Option(switch, 0, "1: rank all items instead of neg_items")
    buffer = Option(natural, None, "no effect: nothing is built row by row")


class Weights(Options):
    """Where weights lie."""

    model_path = Option(file_name, "", "weights; default OUT/model/MODEL/NAME.pt")


IDLE = ("num_workers", "pin_memory", "buffer")  # ReChorus's flags that have nothing to do here


class Settings(Start, Global, Data, Schedule, Checks, Steps, Ranking, ClickRanking, Weights):
    """A run's settings: what all models and modes share as attributes, and these:

    flags: every flag's value by name. mode: the mode. model: the class that the flags choose; model_options: what they
    say of its arguments. log_flags: those whose values the log's name holds. changed: those that are not at their
    default; idle: those given that have no effect. metrics, ks: what is measured, and at which cut-offs. main_metric:
    what decides, with its cut-off main_k.
    """

    flags: Mapping[str, Any]
    mode: RunMode
    model: type[Recommender]
    model_options: Mapping[str, Any]
    log_flags: tuple[str, ...]
    changed: tuple[str, ...]
    idle: tuple[str, ...]
    metrics: tuple[str, ...]
    ks: tuple[int, ...]
    main_metric: str
    main_k: int | None

    def __init__(self, flags: Mapping[str, Any], mode: RunMode, **others: Any):
        measured = mode.measured(flags)
        flags = MappingProxyType({**flags, "main_metric": measured["main_metric"]})
        self.choose({name: flags[name] for name in self.options() if name in flags})
        self.__dict__.update(others, flags=flags, mode=mode, **measured)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"settings are what the flags said, {name} among them: nothing writes into them")

    def data_options(self) -> dict[str, Any]:
        """The arguments of `ans_fast.data.load`, beside the set's place and name, that shape what is read."""
        return self.mode.data_options(self.flags)
