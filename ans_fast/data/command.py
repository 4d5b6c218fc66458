"""The command line of data sets: prepare original downloads, convert other tools' files, describe a set."""

from __future__ import annotations

import argparse
from pathlib import Path

from ans_fast.command_line import Parser, exit_status
from ans_fast.data import MODES, load
from ans_fast.data.describe import describe, plot
from ans_fast.data.description import read_description
from ans_fast.data.own_table import Columns
from ans_fast.data.prepare import mind, movielens
from ans_fast.data.prepare.amazon import prepare_amazon
from ans_fast.data.prepare.convert import convert
from ans_fast.data.prepare.splits import SPLITS
from ans_fast.data.raw_files import check_name
from ans_fast.errors import UserError
from ans_fast.flag_types import Number, file_name, natural, path, seed, separator, text

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

    command = add("prepare", help="turn an original download into a data set by ReChorus's published rules")
    command.add_argument(
        "name",
        type=file_name,
        help=f"{', '.join(_PREPARERS)}, or an Amazon 5-core category such as Grocery_and_Gourmet_Food",
    )
    command.add_argument("--raw", type=path, required=True, help="the unpacked download: a folder, or its main file")
    command.add_argument(
        "--utc_offset",
        type=Number(-24, 24),
        default=8,
        help="MovieLens: whose days split the set, in hours; as published",
    )
    command.set_defaults(run=_prepare)
    _add_output(command)

    command = add(
        "convert", help="turn a table of clicks, RecBole's atomic files or LightGCN's adjacency lists into a data set"
    )
    command.add_argument(
        "source",
        type=path,
        help="a CSV file, with --user and --item; a .inter file; or a folder: with one; with NAME.train.inter, "
        "NAME.test.inter and perhaps NAME.valid.inter; or with train.txt, test.txt and perhaps valid.txt",
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
    command.add_argument("--sep", type=separator, default=",", help="what separates its columns")
    command.add_argument("--name", type=file_name, help="the new data set's name (default: the source's)")
    command.add_argument(
        "--split",
        choices=("auto", "given", *SPLITS),
        default="auto",
        help="given: the source's own; leave_one_out: a user's last clicks, without times drawn ones; ratio: a tenth "
        "of each user's clicks, drawn, for dev and for test; time: the latest two tenths of all; auto: given if there "
        "is one, else leave_one_out",
    )
    command.add_argument(
        "--neg_items",
        type=natural,
        choices=(0, 99),
        help="unclicked items a row of dev and test; 0: rank all items (default: 99 after leave_one_out, else 0)",
    )
    command.add_argument(
        "--min_rating",
        type=Number(-1e38, 1e38),
        help="clicks are ratings of at least this; if not given all rows, or those with a --label of at least 1",
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


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=path, default=Path("data"), help="the folder to write the data set's folder into"
    )
    command.add_argument("--seed", type=seed, default=0, help="of the random draws")


def _prepare(args: argparse.Namespace) -> None:
    if not args.raw.exists():
        raise UserError(f"--raw {args.raw} does not exist; unpack the original download there")
    check_name(args.name, "name")
    target = args.out / args.name
    if args.name in _PREPARERS:
        _PREPARERS[args.name](args, target)
    else:
        prepare_amazon(args.name, args.raw, target, args.seed)
    _tell(target)


def _convert(args: argparse.Namespace) -> None:
    source = args.source.resolve()
    name = args.name if args.name is not None else source.stem if source.is_file() else source.name
    check_name(name, "--name")
    neg_items = None if args.neg_items is None else args.neg_items > 0
    columns = _columns(args)
    more = convert(args.source, args.out / name, args.split, neg_items, args.min_rating, args.seed, columns, args.sep)
    _tell(args.out / name, *more)


def _columns(args: argparse.Namespace) -> Columns | None:
    """Those of a table; None where none is named."""
    if args.user is None and args.item is None and args.time is None and args.label is None:
        return None
    if args.user is None or args.item is None:
        raise UserError("a table needs both --user and --item, the names of its columns of users and items")
    return Columns(args.user, args.item, args.time, args.label)


def _tell(target: Path, *more: str) -> None:
    print("\n  ".join([f"wrote {target}", *read_description(target).told(), *more]))


def _describe(args: argparse.Namespace) -> None:
    dataset = load(args.path, args.name, args.mode, args.sep, args.impression_idkey)
    rows = describe(dataset)
    width = max(len(what) for what, _ in rows)
    print("\n".join(f"{what:{width}}  {figure}" for what, figure in rows))
    if args.plot:
        plot(dataset, args.plot)
        print(f"wrote {args.plot}")
