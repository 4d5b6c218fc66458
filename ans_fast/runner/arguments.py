"""The command line: ReChorus's flags with their defaults, and ours."""

from __future__ import annotations

import argparse
import difflib
import logging
from collections.abc import Sequence
from typing import Any, NoReturn

from ans_fast.command_line import Parser
from ans_fast.errors import UserError
from ans_fast.flag_types import (
    Integer,
    List,
    Name,
    Text,
    draws,
    file_name,
    natural,
    non_negative,
    positive_int,
    seed,
    separator,
    share,
    switch,
    text,
)
from ans_fast.models import MODULES, by_name
from ans_fast.runner.choice import Choice
from ans_fast.runner.metrics import Metric
from ans_fast.runner.modes import RUN_MODES, RunMode
from ans_fast.training.optimizer import OPTIMIZERS

DEVICE = "([0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]+)"
GPUS = Text(f"(-1|{DEVICE}(,{DEVICE})*)?", "numbers of devices such as 0 or 0,1, or ''")
LIST_LIMITS = ("train_max_pos_item", "train_max_neg_item", "test_max_pos_item", "test_max_neg_item")
OWN_OF_A_PROCESS = ("path", "gpu", "verbose", "log_file", "idle")  # flags that may differ between processes of a group
IDLE = ("num_workers", "pin_memory", "buffer")  # ReChorus's flags that have nothing to do here


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """All flags as attributes; also model (the class that they choose), options (what they say of its arguments),
    log_flags (those whose values the log's name holds), mode (the RunMode), metrics and ks as lists, main_metric filled
    in with its cut-off main_k, idle (given flags without effect) and changed (flags not at their default). Raises
    UserError; --help prints and exits.
    """
    first = Parser(add_help=False)
    _add_start(first)
    start, _ = first.parse_known_args(argv)
    model = by_name(start.model_name)
    mode = start.model_mode or "TopK"
    if mode not in RUN_MODES:
        raise UserError(f"--model_mode must be '', {', '.join(RUN_MODES)}, got {start.model_mode!r}")
    if mode not in model.modes:
        raise UserError(f"{model.name} has no {mode} mode, only {', '.join(model.modes)}")

    parser = build_parser(model, mode)
    args, unknown = parser.parse_known_args(argv)
    choice = Choice.of(model, args)
    parser.set_defaults(**choice.model.DEFAULTS)
    args, _ = parser.parse_known_args(argv)
    if unknown:
        _refuse(unknown[0], parser, f"{model.name} in {mode} mode")
    usual = parser.parse_args([])
    args.changed = tuple(name for name, value in vars(args).items() if value != getattr(usual, name))
    args.model, args.mode = choice.model, RUN_MODES[mode]
    args.options, args.log_flags = choice.options(args), choice.log_flags(args)
    args.idle = [name for name in IDLE if getattr(args, name) is not None]
    _read_metrics(args)
    return args


def build_parser(model: type, mode: str) -> argparse.ArgumentParser:
    """The parser of one model in one mode."""
    parser = Parser(
        prog="python -m ans_fast.run",
        usage="%(prog)s [--FLAG VALUE] …",
        description="Train and evaluate a recommender on data in ReChorus's formats. "
        f"Flags below are those of {model.name} in {mode} mode; name another model or mode to see its own.",
    )
    _add_start(parser.add_argument_group("start"))
    _add_global(parser.add_argument_group("global"))
    run_mode = RUN_MODES[mode]
    _add_data(parser.add_argument_group("data"), run_mode)
    _add_runner(parser.add_argument_group("training and evaluation"), run_mode)
    _add_model(parser.add_argument_group("every model"), run_mode)
    model.add_arguments(parser.add_argument_group(model.name))
    parser.set_defaults(**model.DEFAULTS)
    return parser


def _add_start(group: argparse._ActionsContainer) -> None:
    group.add_argument("--model_name", type=text, default="ANS", help=f"one of {', '.join(MODULES)}")
    group.add_argument("--model_mode", type=text, default="", help=f"'' or {', '.join(RUN_MODES)}")


def _add_global(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--gpu", type=GPUS, default="0", help="CUDA_VISIBLE_DEVICES; '' runs on the CPU, as does a machine without GPU"
    )
    group.add_argument(
        "--verbose", type=Integer(0, 100), default=logging.INFO, help="level of the log: 10 is more, 30 less"
    )
    group.add_argument("--log_file", type=file_name, default="", help="default ../log/MODEL/NAME.txt")
    group.add_argument("--random_seed", type=seed, default=0, help="seed of all that is drawn")
    group.add_argument("--load", type=switch, default=0, help="1: go on from the checkpoint, or from the weights")
    group.add_argument("--train", type=switch, default=1, help="0: evaluate only")
    group.add_argument("--save_final_results", type=switch, default=1, help="1: write predictions for dev and test")
    group.add_argument("--regenerate", type=switch, default=0, help="1: read the data anew, not from the cache")
    group.add_argument("--plot", type=switch, default=0, help="1: draw loss and metrics into curves.png")
    group.add_argument(
        "--tensorboard",
        type=file_name,
        default="",
        metavar="DIR",
        help="write curves for TensorBoard here, in a folder named like the log",
    )


def _add_data(group: argparse._ActionsContainer, mode: RunMode) -> None:
    group.add_argument("--path", type=file_name, default="data/", help="folder of the data sets")
    group.add_argument(
        "--dataset", type=file_name, default="demo", help="a folder there with train.csv, dev.csv and test.csv"
    )
    group.add_argument("--sep", type=separator, default="\t", help="what separates the columns (default: a tab)")
    if mode.rows.listed:
        group.add_argument(
            "--impression_idkey", type=text, default="time", help="column whose equal values make one list of a user"
        )
        for name in LIST_LIMITS:
            split, _, kind, _ = name.split("_")
            what = "clicked" if kind == "pos" else "other"
            group.add_argument(
                f"--{name}", type=positive_int, default=20, help=f"{what} items of a {split} list to keep"
            )


def _add_runner(group: argparse._ActionsContainer, mode: RunMode) -> None:
    group.add_argument("--epoch", type=natural, default=200, help="epochs at most")
    group.add_argument(
        "--check_epoch", type=natural, default=1, help="look for collapsed embeddings every so many epochs"
    )
    group.add_argument(
        "--test_epoch",
        type=Integer(-1, natural.most),
        default=-1,
        help="show test results every so many epochs; -1: never",
    )
    group.add_argument(
        "--early_stop", type=natural, default=10, help="stop after so many epochs without a better dev result; 0: never"
    )
    group.add_argument("--lr", type=non_negative, default=1e-3, help="learning rate")
    group.add_argument("--l2", type=non_negative, default=0, help="weight decay")
    group.add_argument("--batch_size", type=positive_int, default=256, help="rows a training step")
    group.add_argument("--eval_batch_size", type=positive_int, default=256, help="rows scored at once")
    group.add_argument("--optimizer", default="Adam", choices=OPTIMIZERS, help="how parameters are updated")
    group.add_argument(
        "--metric", type=List(Name(mode.metrics)), default=mode.usual_metrics, help=f"of {', '.join(mode.metrics)}"
    )
    if mode.cut_offs:
        group.add_argument("--topk", type=List(positive_int), default="5,10,20,50", help="cut-offs of the metrics")
    else:
        group.add_argument("--topk", type=text, default="", help=argparse.SUPPRESS)
    group.add_argument(
        "--main_metric",
        type=Metric(mode.metrics),
        help="what decides on dev; default the first metric at the first cut-off",
    )
    group.add_argument(
        "--capture",
        type=switch,
        default=1,
        help="1: on a GPU a step is recorded once and replayed as a CUDA graph; 0: its kernels are launched one by one",
    )
    for name in IDLE[:2]:
        group.add_argument(f"--{name}", type=natural, help="no effect: batches are sliced from whole tensors")


def _add_model(group: argparse._ActionsContainer, mode: RunMode) -> None:
    group.add_argument("--model_path", type=file_name, default="", help="weights; default ../model/MODEL/NAME.pt")
    group.add_argument("--num_neg", type=draws, default=1, help="negatives drawn for each clicked item")
    group.add_argument("--dropout", type=share, default=0, help="dropout of deep layers, where the model has any")
    group.add_argument("--test_all", type=switch, default=0, help="1: rank all items instead of neg_items")
    group.add_argument("--buffer", type=natural, help="no effect: nothing is built row by row")
    if not mode.rows.labelled:
        group.add_argument(
            "--rank_by",
            default="auto",
            choices=("auto", "user", "row"),
            help="user: each user's items of dev or test together among all items but earlier clicks; row: each row "
            "by itself, as ReChorus does; auto: by the data set's description, and row with neg_items or --test_all 1",
        )
    else:
        group.add_argument(
            "--loss_n",
            default=mode.rows.losses[0],
            choices=mode.rows.losses,
            metavar="LOSS",
            help=f"of {', '.join(mode.rows.losses)}",
        )


def _read_metrics(args: argparse.Namespace) -> None:
    args.ks = sorted(set(args.topk)) if args.mode.cut_offs else []
    if args.main_metric is None:
        args.main_metric = f"{args.metric[0]}@{args.topk[0]}" if args.mode.cut_offs else args.metric[0]
    base, _, k = args.main_metric.partition("@")
    args.main_k = int(k) if k else None
    wanted = [*args.metric, base, *args.mode.always_shown]
    args.metrics = list(dict.fromkeys(wanted))


def data_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `ans_fast.data.load`, beside the set's place and name, that shape what is read."""
    options = {"mode": args.mode.name, "sep": args.sep}
    if args.mode.rows.listed:
        options |= {"impression_key": args.impression_idkey, **{name: getattr(args, name) for name in LIST_LIMITS}}
    return options


def common(args: argparse.Namespace) -> dict[str, Any]:
    """The flags, as they are given, in which processes that train together must agree."""
    plain = str | int | float | list
    return {f"--{k}": v for k, v in sorted(vars(args).items()) if k not in OWN_OF_A_PROCESS and isinstance(v, plain)}


def _refuse(flag: str, parser: argparse.ArgumentParser, where: str) -> NoReturn:
    if not flag.startswith("-"):
        raise UserError(f"unexpected argument {flag!r} (values follow their flag: --lr 0.001)")
    flag = flag.split("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]}?" if close else "; --help lists all flags"
    raise UserError(f"unknown flag {flag} for {where}{hint}")
