"""The state of a training run on disk: enough to go on as if it had never stopped."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ans_fast.data import Dataset
from ans_fast.errors import UserError
from ans_fast.models.base import Recommender
from ans_fast.runner.history import History
from ans_fast.tensor_files import FORMAT, check_tensors, load_tensors, save_tensors
from ans_fast.training.optimizer import Optimizer, load_optimizer

SHARE_OF_TIME = 0.05  # what writing checkpoints may take of a run's time; an unwritten epoch is computed anew
NOT_SHAPING = {  # flags that do not shape the weights
    "epoch", "load", "train", "gpu", "verbose", "log_file", "model_path", "path", "save_final_results", "regenerate",
    "plot", "tensorboard", "test_epoch", "check_epoch", "eval_batch_size", "buffer", "num_workers", "pin_memory",
    "metric", "topk", "early_stop",
}  # fmt: skip


class Checkpoint:
    """Writes and reads one file that holds weights, best weights, optimizer, history and random state.

    Given the same flags, data, thread count and machine, a run that is killed and goes on from here ends with the very
    weights of one that was not.
    """

    def __init__(self, path: Path, args: Namespace, dataset: Dataset):
        self.path, self.flags, self.data = path, shaping_flags(args), data_facts(dataset)
        self.saved_at, self.cost, self.epoch = -float("inf"), 0.0, 0

    def due(self) -> bool:
        """Whether enough time has passed that another write takes but SHARE_OF_TIME of it."""
        return perf_counter() - self.saved_at > self.cost / SHARE_OF_TIME

    def save(self, model: Recommender, optimizer: Optimizer, best: dict[str, Any], history: History) -> None:
        """Writes the state after an epoch, atomically."""
        began = perf_counter()
        content = {
            "flags": self.flags,
            "data": self.data,
            "weights": model.state_dict(),
            "best": best,
            "optimizer": optimizer.state_dict()["state"],
            "history": history.as_dict(),
            "random": torch.get_rng_state(),
        }
        if model.device.type == "cuda":
            content["random_cuda"] = torch.cuda.get_rng_state(model.device)
        save_tensors(self.path, content)
        self.saved_at, self.epoch = perf_counter(), len(history)
        self.cost = self.saved_at - began

    def load(self, model: Recommender, optimizer: Optimizer) -> tuple[dict[str, Any], History, list[str]]:
        """Sets model, optimizer and random state; best weights, history, and which flags differ now.

        Raises UserError: the file is damaged, foreign, of other data or does not fit the model.
        """
        content = load_tensors(self.path)
        try:
            if content["format"] != FORMAT:
                raise UserError(
                    f"{self.path} has format {content['format']}, expected {FORMAT}; delete it to start anew"
                )
            check_data(content["data"], self.data, self.path)
            history = History.from_dict(content["history"])
            before, best = _plain(content["flags"], self.path, "flags"), content["best"]
            expected = model.state_dict()
            for what in ("weights", "best"):
                check_tensors(content[what], expected, self.path, what)
            model.load_state_dict(content["weights"])
            load_optimizer(optimizer, content["optimizer"], self.path)
            torch.set_rng_state(content["random"])
            if "random_cuda" in content and model.device.type == "cuda":
                torch.cuda.set_rng_state(content["random_cuda"], model.device)
        except UserError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
            told = " ".join(str(error).split())[:150]
            raise UserError(f"{self.path} is no checkpoint of this run ({told}); delete it to start anew") from None
        self.epoch = len(history)
        changed = [f"--{k} {before.get(k)} -> {v}" for k, v in self.flags.items() if before.get(k) != v]
        return best, history, changed


def shaping_flags(args: Namespace) -> dict[str, Any]:
    """The flags that shape the weights, with their values."""
    plain = (str, int, float)
    return {k: v for k, v in sorted(vars(args).items()) if k not in NOT_SHAPING and isinstance(v, plain)}


def data_facts(dataset: Dataset) -> dict[str, Any]:
    """What a file of weights keeps of the data they were trained on: a fingerprint, and counts that people know."""
    rows = {split: len(getattr(dataset, split)) for split in ("train", "dev", "test")}
    return {"fingerprint": dataset.fingerprint, "users": dataset.n_users - 1, "items": dataset.n_items - 1, **rows}


def _plain(found: Any, path: Path, what: str) -> dict[str, Any]:
    """`found`, a part of the file `path`. Raises UserError unless it is a dict of numbers and texts."""
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float | None) for value in found.values()):
        raise UserError(f"{path}: {what} must hold numbers and texts by name, got something else; delete it")
    return found


def check_data(before: Any, now: dict[str, Any], path: Path) -> None:
    """Raises UserError, which says what differs, unless both `data_facts` are of the same data."""
    before = _plain(before, path, "data")
    if before == now:
        return
    told = [f"{name} {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
    raise UserError(
        f"{path} is of other data ({', '.join(told)}): give the data it was trained on, or start anew without --load 1"
    )
