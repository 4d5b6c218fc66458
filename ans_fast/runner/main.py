"""One run from flags to files."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from time import perf_counter
from typing import Any

import torch

from ans_fast import distributed
from ans_fast.charts import require_matplotlib
from ans_fast.command_line import exit_status
from ans_fast.data import Dataset, load
from ans_fast.distributed import Processes
from ans_fast.errors import UserError
from ans_fast.metrics import format_metrics, means
from ans_fast.models.base import Recommender
from ans_fast.nn.held_state import gather_state, n_parameters
from ans_fast.runner import arguments, summary
from ans_fast.runner.checkpoint import make_checkpoint
from ans_fast.runner.curves import Curves
from ans_fast.runner.evaluate import Evaluator, make_evaluator
from ans_fast.runner.fit import Training
from ans_fast.runner.logs import Log, Silence
from ans_fast.runner.memory import check_memory
from ans_fast.runner.paths import Paths
from ans_fast.runner.predictions import Names, write_predictions
from ans_fast.runner.results import draw_curves, other_flags, write_results
from ans_fast.runner.row_metrics import write_row_metrics
from ans_fast.runner.settings import Settings
from ans_fast.runner.setup import device_of, model_and_rows
from ans_fast.tensor_files import load_tensors, save_tensors
from ans_fast.training.checkpoint import check_data


def main(argv: Sequence[str] | None = None) -> int:
    """Runs with the flags `argv` (default: those of the process); the exit status: 0, 2 for a user's error, 130."""
    return exit_status(lambda: run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Trains, evaluates and writes what the flags ask for; the exit status. Under torchrun the processes do so
    together, and the first one writes. Raises UserError."""
    with distributed.join() as group:
        return run_in(group, argv)


def run_in(group: Processes, argv: Sequence[str]) -> int:
    """As `run`, in a group that this process has joined."""
    began = perf_counter()
    settings = arguments.parse(argv)
    if settings.model.learns and not settings.train and not settings.load:
        raise UserError(f"--train 0 without --load 1: an untrained {settings.model_name} has nothing to evaluate")
    if settings.plot:
        require_matplotlib()
    paths = Paths.of(settings)
    curves = Curves(paths.curves if group.leads else None)
    device = device_of(settings, group)
    group.use(device)
    distributed.use_share_of_cores(group)
    torch.manual_seed(settings.random_seed)
    dataset = _load(settings, group)
    group.agree({**arguments.common(settings), "data": dataset.fingerprint})
    check_memory(settings, dataset, device, group)
    if group.leads:
        paths.check_outputs(settings)
    with Log(paths.log, settings.verbose) if group.leads else Silence() as log:
        status = _train_and_evaluate(settings, paths, dataset, device, curves, group, began)
        log.check()
    return status


def _load(settings: Settings, group: Processes) -> Dataset:
    """The data: the leader reads first, and leaves a cache to the others."""
    if not group.leads:
        group.wait()
    regenerate = bool(settings.regenerate) and group.leads
    dataset = load(settings.path, settings.dataset, regenerate=regenerate, **settings.data_options())
    if group.leads:
        group.wait()
    return dataset


def _train_and_evaluate(
    settings: Settings,
    paths: Paths,
    dataset: Dataset,
    device: torch.device,
    curves: Curves,
    group: Processes,
    began: float,
) -> int:
    logging.info("Files: %s", paths.told)
    if changed := other_flags(paths.results, settings):
        logging.warning("Overwrites the results of a run with other flags, %s; --out keeps both", changed)
    _log_start(settings)
    for remark in dataset.remarks:
        logging.info(remark)
    names = Names.of(dataset)
    model, rows = model_and_rows(settings, dataset, device, group)
    evaluators = {split: make_evaluator(model, dataset, split, settings, group) for split in ("dev", "test")}
    logging.info("#params: %d", n_parameters(model))
    logging.info(summary.training_table(model, dataset, rows, settings, group))
    if evaluators["test"].ranks:
        logging.info("Ranked: %s", evaluators["test"].ranks)

    checkpoint = make_checkpoint(paths.checkpoint, settings, dataset, group)
    training = Training(model, rows, evaluators["dev"], evaluators["test"], settings, checkpoint, curves.add, group)
    _before(training, evaluators["test"], settings, paths)
    seconds = {"start": perf_counter() - began}
    if settings.train and any(p.requires_grad for p in model.parameters()):
        training.run()
        if not len(training.history):
            told = "Interrupted before the first epoch ended: nothing to evaluate" if settings.epoch else "No epochs"
            logging.info(told)
            return 130 if training.interrupted else 0
        _take_best(training, paths)
    results = _after(model, evaluators, settings, paths, names)
    seconds["total"] = perf_counter() - began
    curves.close(results, training.history.best_epoch)
    facts = {
        "fingerprint": dataset.fingerprint,
        "parameters": n_parameters(model),
        "backend": summary.backend_name(device),
    }
    if group.leads:
        write_results(paths.results, settings, training.history, results, seconds, facts)
    if settings.plot and group.leads:
        draw_curves(paths.drawing, training.history, paths.folder.name)
    logging.info("%s%s END: %s %s", os.linesep, "-" * 45, _now(), "-" * 45)
    return 130 if training.interrupted else 0


def _log_start(settings: Settings) -> None:
    logging.info("%s BEGIN: %s %s", "-" * 45, _now(), "-" * 45)
    logging.info(summary.arguments_table(settings))
    if settings.idle:
        logging.info("Without effect here: %s", ", ".join(f"--{name}" for name in settings.idle))


def _before(training: Training, test: Evaluator, settings: Settings, paths: Paths) -> None:
    """Evaluates the untrained model, then takes over what is to be continued."""
    model = training.model
    state = model.precompute()
    training.history.first_spread = model.spread(state)
    logging.info("Test Before Training: (%s)", format_metrics(test.evaluate(state, settings.metrics, settings.ks)))
    if not settings.load:
        return
    training.group.agree({f"there is {path}": os.path.exists(path) for path in (paths.checkpoint, paths.weights)})
    if settings.train and os.path.exists(paths.checkpoint):
        training.resume()
        return
    if settings.train and not os.path.exists(paths.weights):
        logging.info("Nothing to load: neither %s nor %s exists; starts anew", paths.checkpoint, paths.weights)
        return
    content = load_tensors(paths.weights, mapped=not training.group.alone)
    if "data" in content:
        check_data(content["data"], training.checkpoint.data, paths.weights)
    model.load_weights(content.get("weights", content), paths.weights)
    logging.info("Load model from %s", paths.weights)


def _take_best(training: Training, paths: Paths) -> None:
    history = training.history
    best = history.best_epoch
    training.model.load_state_dict(training.best)
    weights = gather_state(training.model, training.model.state_dict(), paths.weights.parent)
    if training.group.leads:
        save_tensors(paths.weights, {**training.model.content(weights), "data": training.checkpoint.data})
    dev = format_metrics(history.dev[best - 1])
    logging.info("%sBest Iter(dev)=%5d\t dev=(%s) [%.1f s] ", os.linesep, best, dev, history.total_seconds)


def _after(
    model: Recommender, evaluators: dict[str, Evaluator], settings: Settings, paths: Paths, names: Names
) -> dict[str, Any]:
    """Logs and writes the final results on dev and test."""
    state = model.precompute()
    results = {}
    for split, evaluator in evaluators.items():
        values = evaluator.values(state, settings.metrics, settings.ks)
        results[split] = means(values)
        if split == "test" and evaluator.group.leads:
            write_row_metrics(paths.row_metrics, evaluator.rows.users, values)
        logging.info("%s%-4s After Training: (%s)", os.linesep, split.capitalize(), format_metrics(results[split]))
    logging.info(summary.result_table(results))
    if settings.save_final_results:
        for split, evaluator in evaluators.items():
            path = paths.predictions(settings, split)
            write_predictions(path, evaluator, state, settings.sep, names)
            logging.info("Saved %s predictions to %s", split, path)
    return results


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d %H:%M:%S")
