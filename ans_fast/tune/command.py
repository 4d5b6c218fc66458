"""The command line of the search."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ans_fast import distributed
from ans_fast.charts import png
from ans_fast.command_line import Parser, exit_status
from ans_fast.compare.lock import locked
from ans_fast.data import Dataset, load
from ans_fast.errors import UserError
from ans_fast.files import write_atomically
from ans_fast.flag_types import Number, path, positive_int, words
from ans_fast.packages import optional
from ans_fast.runner import arguments
from ans_fast.runner.settings import Settings
from ans_fast.tune.space import Range, command_line, space_of
from ans_fast.tune.trial import Failed, best_on_dev

if TYPE_CHECKING:
    import optuna

# What a search decides by itself, or has no use for.
OWN = {"load", "train", "test_epoch", "log_file", "model_path", "save_final_results", "plot", "tensorboard"}
SHAPELESS = {"path", "gpu", "verbose"}  # flags that may differ when a search goes on


def main(argv: Sequence[str] | None = None) -> int:
    """Searches with the flags `argv`; the exit status."""
    interrupted = "error: interrupted; the same command goes on from here"
    return exit_status(lambda: tune(sys.argv[1:] if argv is None else argv), interrupted)


def parser() -> argparse.ArgumentParser:
    """The flags of the search; all others are those of python -m ans_fast.run."""
    made = Parser(
        prog="python -m ans_fast.tune",
        usage="%(prog)s [--trials N] [--minutes N] [--space RANGES] [--out DIR] --FLAG VALUE …",
        description="Looks for the flags of python -m ans_fast.run that do best on dev (--main_metric), by Optuna: "
        "trials that fall behind are stopped, the same command goes on where it was stopped, and test is never looked "
        "at. All flags of python -m ans_fast.run that are given hold in every trial.",
    )
    made.add_argument("--trials", type=positive_int, default=50, help="trainings in all, stopped ones among them")
    made.add_argument("--minutes", type=Number(0, 1e6), help="begin no trial after so many; the command goes on later")
    made.add_argument(
        "--space",
        type=words,
        default="",
        metavar="RANGES",
        help="such as 'lr=1e-4..1e-2:log n_layers=1..4 num_neg=1,2,8'; other flags that are usually searched, and not "
        "given, have ranges of their own",
    )
    made.add_argument(
        "--out", type=path, default=None, metavar="DIR", help="folder of the study (default tune/MODEL@DATASET)"
    )
    return made


def tune(argv: Sequence[str]) -> int:
    """The search. Raises UserError."""
    own, rest = parser().parse_known_args(argv)
    optuna = _optuna()
    if distributed.launched():
        raise UserError("python -m ans_fast.tune is one process: start it without torchrun")
    settings = arguments.parse(rest)
    given = {word.removeprefix("--").partition("=")[0] for word in rest if word.startswith("--")}
    if wrong := sorted(OWN & given):
        raise UserError(f"--{wrong[0]} has no meaning in a search")
    if not settings.model.learns or not settings.epoch:
        why = "--epoch 0 trains none" if settings.model.learns else f"{settings.model_name} has nothing to train"
        raise UserError(f"a search compares trained models, and {why}")
    space = space_of(own.space, {"lr", "l2", *settings.model.with_effect(**settings.model_options)}, given)
    for values in _corners(space):
        arguments.parse([*rest, *values])  # so that a flag or bound that the model lacks is told now
    dataset = load(
        settings.path,
        settings.dataset,
        regenerate=bool(settings.regenerate),
        **settings.data_options(),
    )
    out = own.out or Path("tune") / f"{settings.model_name}{settings.model_mode}@{settings.dataset.replace('/', '_')}"
    with locked(out):
        study = _study(optuna, out, settings, _facts(settings, given, space, dataset))
        _search(optuna, study, own, rest, space, dataset)
        print(_report(optuna, study, out, rest, settings))
    return 0


def _optuna() -> Any:
    optuna = optional("optuna", "python -m ans_fast.tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _corners(space: Sequence[Range]) -> list[list[str]]:
    """Flags at the lower and at the upper ends of all ranges, and each choice."""
    ends = [{r.flag: end(r.low, r.high) for r in space if not r.choices} for end in (min, max)]
    choices = [{r.flag: choice} for r in space for choice in r.choices]
    return [command_line(values) for values in (*ends, *choices)]


def _facts(settings: Settings, given: set[str], space: Sequence[Range], dataset: Dataset) -> dict[str, Any]:
    """What trials of one study have in common."""
    flags = {name: str(settings.flags[name]) for name in sorted(given - SHAPELESS)}
    return {
        "flags": flags,
        "space": [str(r) for r in space],
        "data": dataset.fingerprint,
        "metric": settings.main_metric,
    }


def _study(optuna: Any, out: Path, settings: Settings, facts: dict[str, Any]) -> optuna.Study:
    """The study in the folder. Raises UserError where it is of other flags, ranges or data."""
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'study.db'}",
        study_name="study",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
    )
    before = study.user_attrs
    if differing := [name for name, value in facts.items() if name in before and before[name] != value]:
        name = differing[0]
        raise UserError(f"{out} holds a search of other {name}: {before[name]}, now {facts[name]}; name another --out")
    for name, value in facts.items():
        study.set_user_attr(name, value)
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # of a process that was killed
    # A search that goes on draws other numbers than it began with.
    study.sampler = optuna.samplers.TPESampler(seed=settings.random_seed + len(study.trials), multivariate=True)
    return study


def _finished(optuna: Any, study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    states = [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED]
    return study.get_trials(deepcopy=False, states=states)


def _search(
    optuna: Any,
    study: optuna.Study,
    own: argparse.Namespace,
    rest: Sequence[str],
    space: Sequence[Range],
    dataset: Dataset,
) -> None:
    def objective(trial: optuna.Trial) -> float:
        values = command_line({r.flag: r.suggest(trial) for r in space})
        trial.set_user_attr("flags", values)

        def report(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            value, epoch = best_on_dev(arguments.parse([*rest, *values]), dataset, report)
        except Failed as error:
            print(f"{error}:", flush=True)
            raise optuna.TrialPruned from None
        trial.set_user_attr("best_epoch", epoch)
        return value

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        value = f"{trial.value:.4f}" if trial.state.name == "COMPLETE" else "stopped"
        number = len(_finished(optuna, study))
        print(f"[{number}/{own.trials}] dev {value}: {shlex.join(trial.user_attrs['flags'])}", flush=True)

    left = own.trials - len(_finished(optuna, study))
    if left <= 0:
        return
    logging.disable(logging.WARNING)  # a trial whose embeddings collapse shows it by its value
    try:
        seconds = None if own.minutes is None else 60 * own.minutes
        study.optimize(objective, n_trials=left, timeout=seconds, callbacks=[tell])
    finally:
        logging.disable(logging.NOTSET)


def _report(optuna: Any, study: optuna.Study, out: Path, rest: Sequence[str], settings: Settings) -> str:
    """Writes trials.csv and importance.png; what to print: the best flags as a command line."""
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if not done:
        raise UserError("every trial was stopped: give wider ranges, or a lower --lr")
    table = study.trials_dataframe(("number", "value", "params", "state", "duration", "user_attrs"))
    write_atomically(out / "trials.csv", table.to_csv(index=False).encode())
    _draw_importance(optuna, study, out)
    best = study.best_trial
    command = ["python", "-m", "ans_fast.run", *rest, *best.user_attrs["flags"]]
    return (
        f"best of {len(study.trials)} trials, dev {settings.main_metric} {abs(best.value):.4f} in epoch "
        f"{best.user_attrs['best_epoch']}:\n{shlex.join(command)}"
    )


def _draw_importance(optuna: Any, study: optuna.Study, out: Path) -> None:
    """The share of the metric's variance that each flag explains, where there is something to tell apart."""
    try:
        from optuna.visualization import matplotlib as charts

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a chart that is experimental, and of few trials
            axes = charts.plot_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    except (ImportError, RuntimeError, ValueError):  # without matplotlib; with one trial, or none that differs
        return
    axes.figure.set_layout_engine("constrained")
    write_atomically(out / "importance.png", png(axes.figure))
