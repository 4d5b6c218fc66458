"""The command line of data sets: prepare original downloads, convert other tools' files, describe a set."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ans_fast.command_line import Parser, exit_status
from ans_fast.data import MODES, load
from ans_fast.data.describe import describe, plot
from ans_fast.data.description import read_description
from ans_fast.data.own_table import Columns
from ans_fast.data.prepare import mind, movielens
from ans_fast.data.prepare.amazon import prepare_amazon
from ans_fast.data.prepare.convert import Rules, convert
from ans_fast.data.prepare.originals import ORIGINALS, find_original
from ans_fast.data.prepare.sources import find_source
from ans_fast.data.prepare.splits import SPLITS
from ans_fast.data.raw_files import check_name, unpacked_name
from ans_fast.errors import UserError
from ans_fast.files import check_outputs
from ans_fast.flag_types import Number, file_name, moment, natural, number, path, positive_int, seed, separator, text

BY_DAY, UTC_OFFSET = ("ML_1MTOPK", "ML_1MCTR"), 8
SEP = ","  # of a table that is converted
_PREPARERS = {
    "ML_1MTOPK": lambda args, target: movielens.prepare_topk(args.raw, target, args.seed, args.utc_offset),
    "ML_1MCTR": lambda args, target: movielens.prepare_ctr(args.raw, target, args.utc_offset),
    "MIND": lambda args, target: mind.prepare_ctr(args.raw, target),
    "MINDTOPK": lambda args, target: mind.prepare_topk(args.raw, target, args.seed),
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0, 2 after a mistake of the user, 130 after Ctrl-C."""

    def command() -> int:
        args = _parser().parse_args(argv)
        args.run(args)
        return 0

    return exit_status(command)


def _parser() -> argparse.ArgumentParser:
    about = "Prepare original downloads, convert other tools' files, describe a data set."
    parser = Parser(prog="python -m ans_fast.data", description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser

    command = add(
        "prepare", help="turn an original download into a data set, by ReChorus's published rules or by a --split"
    )
    command.add_argument(
        "original",
        type=file_name,
        help=f"{', '.join(_PREPARERS)}, or an Amazon category such as Grocery_and_Gourmet_Food; with --split an Amazon "
        f"category or {', '.join(ORIGINALS)}",
    )
    command.add_argument("--raw", type=path, required=True, help="the unpacked download: a folder, or its main file")
    command.add_argument("--name", type=file_name, help="the new data set's name (default: the same)")
    command.add_argument(
        "--utc_offset",
        type=Number(-24, 24),
        default=UTC_OFFSET,
        help=f"{' and '.join(BY_DAY)}: whose days split the set, in hours; as published",
    )
    command.set_defaults(run=_prepare)
    _add_rules(command, SPLITS, default=None, other="if not given ReChorus's published rule")
    _add_output(command)

    command = add(
        "convert", help="turn a table of clicks, RecBole's atomic files or LightGCN's adjacency lists into a data set"
    )
    command.add_argument(
        "source",
        type=path,
        help="a CSV file, with --user and --item; a .inter file, both perhaps .gz; or a folder: with one; with "
        "NAME.train.inter, NAME.test.inter and perhaps NAME.valid.inter; or with train.txt, test.txt and perhaps "
        "valid.txt",
    )
    command.add_argument("--user", type=text, metavar="COLUMN", help="a table's column of users, by any ids")
    command.add_argument("--item", type=text, metavar="COLUMN", help="its column of items")
    command.add_argument("--time", type=text, metavar="COLUMN", help="its column of times: numbers or dates, if any")
    command.add_argument(
        "--label",
        type=text,
        metavar="COLUMN",
        help="its column of ratings, if any; those below --min_rating are no clicks",
    )
    command.add_argument("--sep", type=separator, default=SEP, help="what separates its columns")
    command.add_argument("--name", type=file_name, help="the new data set's name (default: the source's)")
    _add_rules(
        command,
        ("auto", "given", *SPLITS),
        default="auto",
        other="given: the source's own; auto: given if there is one, else leave_one_out",
    )
    command.set_defaults(run=_convert)
    _add_output(command)

    command = add("describe", help="print a data set's statistics")
    command.add_argument("name", type=file_name, help="the data set, or demo")
    command.add_argument("--path", type=path, default="data/", help="the folder that holds the data set's folder")
    command.add_argument("--mode", choices=MODES, default="TopK", help="how to read it")
    command.add_argument("--sep", type=separator, default="\t", help="separator of the CSV files")
    command.add_argument(
        "--impression_idkey", type=text, default="time", help="the column whose values make lists in Impression mode"
    )
    command.add_argument("--plot", type=path, metavar="FILE.png", help="also write a picture of the distributions")
    command.set_defaults(run=_describe)
    return parser


def _add_rules(command: argparse.ArgumentParser, splits: tuple[str, ...], default: str | None, other: str) -> None:
    command.add_argument(
        "--split",
        choices=splits,
        default=default,
        help="leave_one_out: a user's last clicks, without times drawn ones; ratio: a tenth of each user's clicks, "
        "drawn, for dev and for test; time: the latest two tenths of all; date: those from --test_from on for test, a "
        f"drawn tenth of the earlier ones for dev; {other}",
    )
    command.add_argument(
        "--test_from",
        type=moment,
        metavar="DATE",
        help="of a split by date: such as 2014-04-01, in UTC, or a number in the unit of the source's times",
    )
    command.add_argument(
        "--min_rating",
        type=number,
        help="clicks are ratings of at least this (default: all rows are; of a table with --label those of 1 or more)",
    )
    command.add_argument(
        "--k_core",
        type=positive_int,
        metavar="N",
        help="keep users and items that have at least N clicks, of what is left",
    )
    command.add_argument(
        "--neg_items",
        type=natural,
        choices=(0, 99),
        help="unclicked items a row of dev and test; 0: rank all items (default: 99 after leave_one_out, else 0)",
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=path, default=Path("data"), help="the folder to write the data set's folder into"
    )
    command.add_argument("--seed", type=seed, default=0, help="of the random draws")


def _prepare(args: argparse.Namespace) -> None:
    if not os.path.exists(args.raw):
        raise UserError(f"--raw {args.raw} does not exist; unpack the original download there")
    check_name(args.original, "original")
    name = args.original if args.name is None else args.name
    check_name(name, "--name")
    target, more = args.out / name, []
    if args.utc_offset != UTC_OFFSET and (args.split is not None or args.original not in BY_DAY):
        raise UserError(f"--utc_offset is for {' and '.join(BY_DAY)} alone, by ReChorus's published rules")
    if args.split is not None:
        if args.original in _PREPARERS:
            raise UserError(
                f"{args.original} is split by ReChorus's published rule; --split is for {', '.join(ORIGINALS)}"
            )
        more = convert(find_original(args.original, args.raw), target, _rules(args))
    elif args.original in ORIGINALS:
        raise UserError(f"ReChorus has no published rule for {args.original}; choose a --split, {', '.join(SPLITS)}")
    elif _rules(args) != Rules(split=None, seed=args.seed):
        raise UserError("--test_from, --min_rating, --k_core and --neg_items go with a --split")
    elif args.original in _PREPARERS:
        _PREPARERS[args.original](args, target)
    else:
        prepare_amazon(args.original, args.raw, target, args.seed)
    _tell(target, *more)


def _convert(args: argparse.Namespace) -> None:
    source = args.source.resolve()
    name = args.name
    if name is None:
        name = Path(unpacked_name(source)).stem if os.path.isfile(source) else source.name
    check_name(name, "--name")
    found = find_source(args.source, _columns(args), args.sep)
    _tell(args.out / name, *convert(found, args.out / name, _rules(args)))


def _rules(args: argparse.Namespace) -> Rules:
    neg_items = None if args.neg_items is None else args.neg_items > 0
    return Rules(args.split, args.test_from, args.min_rating, args.k_core, neg_items, args.seed)


def _columns(args: argparse.Namespace) -> Columns | None:
    """Those of a table; None where none is named."""
    if args.user is None and args.item is None and args.time is None and args.label is None:
        if args.sep != SEP:
            raise UserError("--sep is for a table, whose columns --user and --item name")
        return None
    if args.user is None or args.item is None:
        raise UserError("a table needs both --user and --item, the names of its columns of users and items")
    return Columns(args.user, args.item, args.time, args.label)


def _tell(target: Path, *more: str) -> None:
    print("\n  ".join([f"wrote {target}", *read_description(target).told(), *more]))


def _describe(args: argparse.Namespace) -> None:
    dataset = load(args.path, args.name, args.mode, args.sep, args.impression_idkey)
    if args.plot:
        check_outputs([args.plot])
    rows = describe(dataset)
    width = max(len(what) for what, _ in rows)
    print("\n".join(f"{what:{width}}  {figure}" for what, figure in rows))
    if args.plot:
        plot(dataset, args.plot)
        print(f"wrote {args.plot}")
