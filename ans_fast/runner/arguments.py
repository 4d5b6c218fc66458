"""The command line: ReChorus's flags with their defaults, and ours."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ans_fast.command_line import Parser, add_option
from ans_fast.data.demo import NAME as DEMO
from ans_fast.data.loading import data_sets
from ans_fast.errors import UserError
from ans_fast.models import by_name
from ans_fast.models.base import Recommender
from ans_fast.models.shared_options import DROPOUT
from ans_fast.options import Option
from ans_fast.runner.choice import ModelChoice, model_flags
from ans_fast.runner.modes import RUN_MODES, RunMode
from ans_fast.runner.settings import IDLE, Checks, Data, Global, Ranking, Settings, Start, Steps, Weights
from ans_fast.training.schedule import Schedule

EVERY_MODEL = {"num_neg": Recommender.num_neg, "dropout": DROPOUT}  # in ReChorus also those that do not look at it
OWN_OF_A_PROCESS = ("path", "gpu", "verbose", "out", "log_file")  # flags that may differ between processes of a group


def parse(argv: Sequence[str]) -> Settings:
    """What the flags say. Raises UserError; --help prints and exits."""
    first = Parser(add_help=False)
    for name, option in Start.options().items():
        add_option(first, name, option)
    start, _ = first.parse_known_args(argv)
    named = by_name(start.model_name)
    mode = start.model_mode or "TopK"
    if mode not in RUN_MODES:
        raise UserError(f"--model_mode must be '', {', '.join(RUN_MODES)}, got {start.model_mode!r}")
    if mode not in named.modes:
        raise UserError(f"{named.name} has no {mode} mode, only {', '.join(named.modes)}")

    parser = build_parser(named, mode)
    args, unknown = parser.parse_known_args(argv)
    choice = ModelChoice.of(named, vars(args))
    parser.set_defaults(**choice.model.DEFAULTS)
    if unknown:
        _refuse(unknown[0], parser, f"{named.name} in {mode} mode")
    flags, usual = vars(parser.parse_args(argv)), vars(parser.parse_args([]))
    changed = tuple(name for name, value in flags.items() if value != usual[name])
    flags["dataset"] = flags["dataset"] or _demo(flags["path"])
    choice.check(flags, changed)
    options = choice.options(flags, mode)
    idle = _idle(choice.model.with_effect(**options), changed, RUN_MODES[mode])
    options |= {name: usual[name] for name in idle if name in options}
    choice.model.check_arguments(**options)
    return Settings(
        flags,
        RUN_MODES[mode],
        model=choice.model,
        model_options=options,
        log_flags=choice.log_flags(flags, changed),
        changed=changed,
        idle=idle,
    )


def _demo(path: str) -> str:
    """The default of --dataset. Raises UserError where --path says that the data are elsewhere."""
    if Path(path) == Path(Data.path.default):
        return DEMO
    raise UserError(f"--path {path} needs --dataset, a data set there: {', '.join(data_sets(path)) or 'none is there'}")


def _idle(with_effect: Sequence[str], changed: Sequence[str], mode: RunMode) -> tuple[str, ...]:
    """ReChorus's flags that are given and have no effect; its scripts give them to all models."""
    idle = {*IDLE, *(EVERY_MODEL.keys() - {*with_effect}), *(["test_all"] if mode.rows.labelled else [])}
    return tuple(name for name in changed if name in idle)


def build_parser(model: type[Recommender], mode: str) -> argparse.ArgumentParser:
    """The parser of one model in one mode."""
    parser = Parser(
        prog="python -m ans_fast.run",
        usage="%(prog)s [--FLAG VALUE] …",
        description="Train and evaluate a recommender on data in ReChorus's formats. "
        f"Flags below are those of {model.name} in {mode} mode; name another model or mode to see its own.",
    )
    for title, options in _groups(model, mode).items():
        group = parser.add_argument_group(title)
        for name, option in options.items():
            add_option(group, name, option)
    parser.set_defaults(**model.DEFAULTS)
    return parser


def _groups(model: type[Recommender], mode: str) -> dict[str, Mapping[str, Option[Any]]]:
    own = RUN_MODES[mode]
    of_rows = own.row_flags(own.rows.losses_of(model))
    return {
        "start": Start.options(),
        "global": Global.options(),
        "data": {**Data.options(), **own.data_flags()},
        "training and evaluation": {**Schedule.options(), **Checks.options(), **own.metric_flags(), **Steps.options()},
        "every model": {**Weights.options(), **EVERY_MODEL, **Ranking.options(), **of_rows},
        model.name: {name: option for name, option in model_flags(model).items() if name not in EVERY_MODEL},
    }


def common(settings: Settings) -> dict[str, Any]:
    """The flags, as they are given, in which processes that train together must agree."""
    return {f"--{k}": v for k, v in sorted(settings.flags.items()) if k not in OWN_OF_A_PROCESS and v is not None}


def _refuse(flag: str, parser: argparse.ArgumentParser, where: str) -> NoReturn:
    if not flag.startswith("-"):
        raise UserError(f"unexpected argument {flag!r} (values follow their flag: --lr 0.001)")
    flag = flag.split("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else "; --help lists all flags"
    raise UserError(f"unknown flag {flag} for {where}{hint}")
