"""Odd values of flags: a run, a data set or a grid as asked for, or one line that says what is wrong."""

from __future__ import annotations

import argparse
import json
import os
import random
from functools import partial
from pathlib import Path

from ans_fast.command_line import exit_status
from ans_fast.compare.command import make_grid
from ans_fast.compare.command import parser as compare_parser
from ans_fast.data.command import _parser as data_parser
from ans_fast.data.command import main as data_main
from ans_fast.models import MODULES, by_name
from ans_fast.models.modes import MODES
from ans_fast.runner.arguments import build_parser
from ans_fast.runner.main import main as run_main
from tests.attack import sets
from tests.attack.attack import RIGHT, Attack, Case, Fault, check_nothing_left, judge
from tests.attack.child import in_child

NUMBERS = (
    "0", "1", "2", "3", "7", "20", "64", "100", "1000", "1001", "65537", "1000000", "2147483647",
    "2147483648", "4294967296",
    "9223372036854775807", "9223372036854775808", "-1", "-2", "-2147483649", "1.5", "0.5", "0.999",
    "-0.0", "1e-45", "1e-300",
    "1e10", "1e30", "1e38", "1e39", "1e308", "1e400", "nan", "inf", "-inf",
)  # fmt: skip
VALUES = (
    "", " ", "1" * 400, "1" * 5000, "²", "٣", "１", "1_0", "0x10", "+1", " 1", "1 ", "1.0", "True",
    "None", "[]", "[64", "[64]", "[0]", "[-1]", "[[1]]",
    "[1e3]", "[64,64]", "64,64", "[" + "8," * 3000 + "8]", "[" * 3000, "'", '"', "'a", "a b", "\\",
    "\\t", "\\x", "\\N{",
    "\t", "\n", "a\nb", ";", ",", ",,", "5,5", "5,", "x,5", "0,5", "HR", "HR@5", "NDCG@0", "NDCG@",
    "@5", "HR@1e3", "HR,NDCG",
    "-", "--", "..", ".", "a/b", "../..", "a_file", "a_folder", "a_file/below", "missing/below",
    "a_fifo", "a_link", "a.toml",
    "BPRMF", "BPRMF: --lr 2", "POP: '", "TopK", "CTR", "small", "labelled", "Adam", "BPR", "BPRsimple",
    "a|b=c", "%s", "{}",
    "a" * 300, "💥", "\udcff", "\x1b[31m", "\u202e", "\u2028", "user_id", "label", "uniform", "dns",
)  # fmt: skip
LONG = ("epoch",)  # flags whose large values are a long run and no mistake


class Flags(Attack):
    """The base is a command line that works; flags with odd values follow it."""

    name = "flags"

    def draw(self, rng: random.Random) -> Case:
        kind = rng.choice(["run", "run", "run", "run", "data", "compare"])
        if kind == "run":
            model = rng.choice(list(MODULES))
            mode = rng.choice([mode for mode in MODES if mode in by_name(model).modes])
            base = ["--model_name", model, "--model_mode", mode, "--dataset", "small" if mode == "TopK" else "labelled"]
            parser = build_parser(by_name(model), mode)
        elif kind == "data":
            commands = next(a for a in data_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
            command = rng.choice(list(commands))
            base = {
                "convert": ["convert", "atomic", "--neg_items", "0"],
                "prepare": ["prepare", "ML_1MCTR", "--raw", "movies"],
                "describe": ["describe", "small", "--path", "data"],
            }[command]
            parser = commands[command]
        else:
            base, parser = ["--models", "POP,BPRMF", "--datasets", "small"], compare_parser()
        actions = [a for a in parser._actions if a.option_strings and a.dest not in (*LONG, "help")]
        chosen = rng.choices(actions, k=rng.choice([1, 1, 1, 2, 3]))
        return Case((kind, tuple(base)), tuple((action.option_strings[0], _value(rng, action)) for action in chosen))

    def carry_out(self, case: Case, folder: Path) -> str:
        kind, base = case.base
        home = folder / "deep" / "down"
        home.mkdir(parents=True)
        _furnish(home)
        odd = [part for change in case.changes for part in change]
        if kind == "run":
            argv = [*sets.SHORT, "--path", "data", "--epoch", "1", *base, *odd]
            call = partial(run_main, argv)
        elif kind == "data":
            call = partial(data_main, [*base, *odd])
        else:
            call = partial(_plan, [*base, *odd])
        ended = in_child(call, home, 60)
        try:
            outcome = judge(ended)
            check_nothing_left(folder)
            if outcome == RIGHT and kind == "run":
                _check_results(folder, ended.out)
        finally:
            (home / "a_fifo").unlink(missing_ok=True)
        return outcome


def _value(rng: random.Random, action: argparse.Action) -> str:
    """A value that the flag may well take, or any odd one."""
    if action.choices and rng.random() < 0.7:
        return str(rng.choice(list(action.choices)))
    return rng.choice(NUMBERS if action.type and rng.random() < 0.8 else VALUES)


def _furnish(home: Path) -> None:
    """Data, and paths of every kind to stumble over."""
    sets.write_topk(home / "data" / "small")
    sets.write_labelled(home / "data" / "labelled")
    sets.write_recbole(home / "atomic", splits=False)
    sets.write_movielens(home / "movies")
    (home / "a_file").write_text("text\n")
    (home / "a.toml").write_text('BPRMF = "--lr 2\n')
    (home / "a_folder").mkdir()
    (home / "a_link").symlink_to("a_link")
    os.mkfifo(home / "a_fifo")


def _plan(argv: list[str]) -> int:
    """The grid of a comparison and its runs' flags, without the runs."""

    def command() -> int:
        args = compare_parser().parse_args(argv)
        make_grid(args)
        return 0

    return exit_status(command)


def _check_results(folder: Path, out: str) -> None:
    """A Fault unless the run told its results or that there are none."""
    found = list(folder.rglob("results.json"))
    if not found and "Test After Training" in out:
        raise Fault("status 0, but no results.json")
    for path in found:
        results = json.loads(path.read_text())["results"]
        lost = [name for split in results.values() for name, value in split.items() if value is None]
        if lost:
            raise Fault(f"status 0, but {lost[0]} is not finite")
