"""The state of training on disk: enough to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from ans_fast.distributed import ALONE, Processes
from ans_fast.errors import UserError
from ans_fast.nn.held_state import gather_optimizer, gather_state, own_optimizer, own_state
from ans_fast.tensor_files import FORMAT, load_tensors, save_tensors
from ans_fast.training.optimizer import Optimizer, load_optimizer, parameters_of

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender

SHARE_OF_TIME = 0.05  # what writing checkpoints may take of a run's time; an unwritten epoch is computed anew
Facts = Mapping[str, str | int | float]


class Checkpoint:
    """One file that holds weights, optimizer, random state, and what the caller keeps beside them.

    Given the same flags, data, thread count and machine, training that is killed and goes on from here ends with the
    very weights of one that was not.

    Args:
        path: the file.
        data: by what the training data are known again; see `check_data`.
        flags: settings that shape the weights.
        group: of several processes the leader writes, when the leader's clock says so; all read.
    """

    def __init__(self, path: Path, data: Facts, flags: Facts, group: Processes = ALONE):
        self.path, self.data, self.flags, self.group = path, data, flags, group
        self._saved_at, self._cost = -float("inf"), 0.0

    def due(self) -> bool:
        """Whether enough time has passed that another write takes but SHARE_OF_TIME of it."""
        return self.group.of_leader(perf_counter() - self._saved_at > self._cost / SHARE_OF_TIME)

    def save(self, model: Recommender, optimizer: Optimizer, kept: Mapping[str, Any]) -> None:
        """Writes the state after an epoch, atomically. kept: tensors, numbers and texts, in dicts and lists."""
        began = perf_counter()
        content = {
            "flags": dict(self.flags),
            "data": dict(self.data),
            "weights": gather_state(model, model.state_dict(), self.path.parent),
            "optimizer": gather_optimizer(
                model, parameters_of(optimizer), optimizer.state_dict()["state"], self.path.parent
            ),
            "random": torch.get_rng_state(),
            **kept,
        }
        if model.device.type == "cuda":
            content["random_cuda"] = torch.cuda.get_rng_state(model.device)
        if self.group.leads:
            save_tensors(self.path, content)
        self._saved_at = perf_counter()
        self._cost = self._saved_at - began

    def load(self, model: Recommender, optimizer: Optimizer) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
        """Sets model, optimizer and random state.

        Returns:
            All that the file holds, `kept` among it, and the flags that differ: their values before and now.

        Raises:
            UserError: the file is missing, damaged, foreign, of other data, or does not fit the model.
        """
        content = load_tensors(self.path, mapped=not self.group.alone)
        with reading(self.path):
            if content["format"] != FORMAT:
                raise UserError(
                    f"{self.path} has format {content['format']}, expected {FORMAT}; delete it to start anew"
                )
            check_data(content["data"], self.data, self.path)
            before = _facts(content["flags"], self.path, "flags")
            model.load_state_dict(own_state(model, content["weights"], self.path, "weights"))
            state = own_optimizer(model, parameters_of(optimizer), content["optimizer"])
            load_optimizer(optimizer, state, self.path)
            torch.set_rng_state(content["random"])
            if "random_cuda" in content and model.device.type == "cuda":
                torch.cuda.set_rng_state(content["random_cuda"], model.device)
        return content, {name: (before.get(name), now) for name, now in self.flags.items() if before.get(name) != now}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a checkpoint's content breaks in the block becomes a UserError that names the file."""
    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:150]
        raise UserError(f"{path} is no checkpoint of this run ({told}); delete it to start anew") from None


def check_data(before: Any, now: Facts, path: Path) -> None:
    """Raises UserError, which says what differs, unless `before`, the data of the file `path`, are those of `now`."""
    before = _facts(before, path, "data")
    if before == now:
        return
    told = [f"{name} {before.get(name)} -> {value}" for name, value in now.items() if before.get(name) != value]
    raise UserError(
        f"{path} is of other data ({', '.join(told)}): give the data it was trained on, or start anew without it"
    )


def _facts(found: Any, path: Path, what: str) -> dict[str, Any]:
    """`found`, a part of the file `path`. Raises UserError unless it is a dict of numbers and texts."""
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float | None) for value in found.values()):
        raise UserError(f"{path}: {what} must hold numbers and texts by name, got something else; delete it")
    return found
