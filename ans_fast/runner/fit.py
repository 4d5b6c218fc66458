"""The training loop: epochs, dev results, best weights, early stop, checkpoints."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch import Tensor

from ans_fast.distributed import ALONE, Processes
from ans_fast.errors import UserError
from ans_fast.metrics import format_metrics
from ans_fast.models.base import Recommender
from ans_fast.nn.held_state import gather_state, own_state
from ans_fast.runner.evaluate import Evaluator
from ans_fast.runner.history import History
from ans_fast.runner.settings import Settings
from ans_fast.training.batches import Rows
from ans_fast.training.checkpoint import Checkpoint, reading
from ans_fast.training.choose import make_step
from ans_fast.training.collapse import collapse
from ans_fast.training.loop import NotFinite, train_epoch
from ans_fast.training.optimizer import make_optimizer

OnEpoch = Callable[[int, float, dict[str, dict[str, float]]], None]  # epoch, loss, metrics by split


class Training:
    """A run of epochs; after `run`, `best` holds the state dict of the best one and `history` what happened. Without a
    checkpoint nothing is kept on disk."""

    def __init__(
        self,
        model: Recommender,
        rows: Rows,
        dev: Evaluator,
        test: Evaluator,
        settings: Settings,
        checkpoint: Checkpoint | None,
        on_epoch: OnEpoch | None = None,
        group: Processes = ALONE,
    ):
        self.model, self.rows, self.dev, self.test, self.settings = model, rows, dev, test, settings
        self.checkpoint, self.on_epoch, self.group = checkpoint, on_epoch, group
        self.optimizer = make_optimizer(model, settings.optimizer, settings.lr, settings.l2)
        self.step = make_step(model, self.optimizer, group, bool(settings.capture))
        self.history = History(settings.main_metric)
        self.best: dict[str, Tensor] = {}
        self.interrupted = self._warned = False
        self._saved = 0  # epochs that the checkpoint holds
        self._ks = [settings.main_k] if settings.main_k else []

    def resume(self) -> None:
        """Goes on from the checkpoint, which there must be."""
        path = self.checkpoint.path
        content, changed = self.checkpoint.load(self.model, self.optimizer)
        with reading(path):
            self.best = own_state(self.model, content["best"], path, "best")
            self.history = History.from_dict(content["history"])
        self.history.main_metric = self.settings.main_metric
        self.history.values()
        self._saved = len(self.history)
        logging.info("Resume after epoch %d from %s", self._saved, path)
        if changed:
            told = (f"--{name} {before} -> {now}" for name, (before, now) in changed.items())
            logging.warning("Resumed with other flags: %s", ", ".join(told))

    def run(self) -> None:
        """Trains until the last epoch, an early stop or, where this process is alone, Ctrl-C. Raises UserError when the
        loss is not finite."""
        began, before = perf_counter(), self.history.total_seconds
        try:
            while len(self.history) < self.settings.epoch and not self._stopped():
                self._epoch(len(self.history) + 1)
                self.history.total_seconds = before + perf_counter() - began
                if self.checkpoint and self.checkpoint.due():
                    self._save()
        except KeyboardInterrupt:
            if self.group.size > 1:  # in the middle of a step others wait for it
                raise
            self.interrupted = True
            logging.info("Early stop manually")
        if self.checkpoint and len(self.history) > self._saved and not self.interrupted:
            self._save()

    def _stopped(self) -> bool:
        if not self.history.should_stop(self.settings.early_stop):
            return False
        logging.info("Early stop at %d based on dev result.", len(self.history))
        return True

    def _save(self) -> None:
        best = gather_state(self.model, self.best, self.checkpoint.path.parent)
        self.checkpoint.save(self.model, self.optimizer, {"best": best, "history": self.history.as_dict()})
        self._saved = len(self.history)

    def _epoch(self, epoch: int) -> None:
        began = perf_counter()
        loss = self._train(epoch)
        trained = perf_counter()
        state = self.model.precompute()
        result = self.group.of_leader(self.dev.evaluate(state, self.settings.metrics, self._ks))
        results, tested = {"dev": result}, ""
        if self.settings.test_epoch > 0 and (epoch - 1) % self.settings.test_epoch == 0:
            results["test"] = self.test.evaluate(state, self.settings.metrics, self._ks)
            self.history.test[str(epoch)] = results["test"]
            tested = f" test=({format_metrics(results['test'])})"
        evaluated = perf_counter()
        is_best = self.history.would_be_best(result)
        if is_best:
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.history.add(loss, result, trained - began, evaluated - trained)
        logging.info(
            "Epoch %-5d loss=%.4f [%.1f s]\tdev=(%s)%s [%.1f s]%s",
            epoch,
            loss,
            trained - began,
            format_metrics(result),
            tested,
            evaluated - trained,
            " *" if is_best else "",
        )
        if self.settings.check_epoch and epoch % self.settings.check_epoch == 0:
            self._warn_of_collapse(epoch, state)
        if self.on_epoch:
            self.on_epoch(epoch, loss, results)

    def _train(self, epoch: int) -> float:
        bar = _bar(epoch, -(-len(self.rows) // self.settings.batch_size), self.group)
        try:
            update = bar.update if bar else _nothing
            return train_epoch(self.step, self.rows, self.settings.batch_size, update)["loss"]
        except NotFinite as error:
            told = "no checkpoint was written before"
            if self._saved:
                told = f"last good checkpoint: {self.checkpoint.path} holds epoch {self._saved}"
            raise UserError(f"the loss is not finite in epoch {epoch}, {error.told}: lower --lr; {told}") from None
        finally:
            if bar:
                bar.close()

    def _warn_of_collapse(self, epoch: int, state: Any) -> None:
        told = collapse(self.model, state, self.history.first_spread, epoch, prefix="--")
        if told and not self._warned:
            self._warned = True
            logging.warning(told)


def _nothing() -> None:
    pass


def _bar(epoch: int, n_batches: int, group: Processes) -> Any:
    """A bar on stderr if that is a terminal."""
    if not (group.leads and sys.stderr.isatty()):
        return None
    from tqdm import tqdm

    return tqdm(total=n_batches, desc=f"Epoch {epoch:<3}", leave=False, ncols=100, mininterval=0.2)
