"""Every flag of every model in every mode and command line, given odd values: a value of the flag's bounds, or one line
that names the flag."""

from __future__ import annotations

import argparse
import math

import pytest

from ans_fast.compare.command import parser as compare_parser
from ans_fast.data.command import _parser as data_parser
from ans_fast.errors import UserError
from ans_fast.flag_types import (
    Integer,
    List,
    Name,
    Number,
    OptionType,
    draws,
    file_name,
    layers,
    separator,
    share,
    size,
    switch,
    text,
    words,
)
from ans_fast.models import MODULES, by_name
from ans_fast.runner.arguments import build_parser, parse

ODD = [
    "-1", "2147483648", "1001", "65537", "1" + "0" * 30, "1" * 5000, "1e400", "1e308", "nan", "-inf", "²", "٣", "1_000",
    " 1", "1 ", "0x10", "True", "", "[]", "[" * 3000, "[1,2", "1,,2", "a\nb", "\x1b[31m", "\udcff", "'", "\\x", "@5",
    "NDCG@²", "abc", "-0", "+1", ".5", "1.", "x" * 300,
]  # fmt: skip
COMMANDS = {
    "compare": compare_parser(),
    **{
        f"data {name}": command
        for action in data_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    },
    **{f"run {name} {mode}": build_parser(by_name(name), mode) for name in MODULES for mode in by_name(name).modes},
}


def actions(command: str) -> list[argparse.Action]:
    return [action for action in COMMANDS[command]._actions if action.dest != "help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_type_with_bounds(command):
    without = [a.dest for a in actions(command) if not (isinstance(a.type, OptionType) or a.choices)]
    assert not without


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_values_are_refused_or_within_bounds(command):
    parser = COMMANDS[command]
    for action in actions(command):
        for odd in ODD:
            value = read(parser, action, odd)
            if isinstance(value, UserError):
                assert action.dest in str(value)
                assert str(value).isprintable()
                continue
            assert not isinstance(value, float) or math.isfinite(value)
            assert not isinstance(value, int) or -1 <= value < 2**63
            assert not isinstance(value, str) or value.isprintable() or value == "\t"


def read(parser: argparse.ArgumentParser, action: argparse.Action, odd: str) -> object:
    """The flag's value, or the error that the command line ends with."""
    try:
        try:
            return parser._get_values(action, [odd])
        except argparse.ArgumentError as error:
            parser.error(str(error))
    except UserError as error:
        return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--num_neg 2147483648", "--num_neg: expected an integer from 1 to 65536, got '2147483648'"),
        ("--n_layers 1001", "--n_layers: expected an integer from 0 to 1000, got '1001'"),
        ("--model_name NeuMF --dropout 2", "--dropout: expected a number from 0 to 1, got '2'"),
        ("--eps -1", "--eps: expected a number from 0 to 1e+38, got '-1'"),
        ("--lr 1e308", "--lr: expected a number from 0 to 1e+38, got '1e308'"),
        ("--epoch ²", "--epoch: expected an integer from 0 to 2147483647, got '²'"),
        ("--batch_size 1_000", "--batch_size: expected an integer from 1 to 2147483647, got '1_000'"),
        ("--emb_size 4097", "--emb_size: expected an integer from 1 to 4096, got '4097'"),
        ("--gpu abc", "--gpu: expected numbers of devices such as 0 or 0,1, or '', got 'abc'"),
        ("--model_name NeuMF --layers [[[[", "--layers: expected an integer from 1 to 4096, got '[[[['"),
        ("--sep \\x", "--sep: expected one ASCII character"),
    ],
)
def test_messages_name_flag_bounds_and_value(flags, message):
    with pytest.raises(UserError) as error:
        parse(flags.split())
    assert f"argument {message}" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (size, "64", 64),
        (size, "+064", 64),
        (share, "1", 1.0),
        (share, ".5", 0.5),
        (Number(-5, 5), "-1.5e-1", -0.15),
        (switch, "0", 0),
        (List(size), "[64, 32]", [64, 32]),
        (List(size), "64,32", [64, 32]),
        (List(Name(("HR", "MAP"))), "hr,MAP", ["HR", "MAP"]),
        (separator, "\\t", "\t"),
        (separator, "\t", "\t"),
        (words, "--lr 1 --sep ' '", ["--lr", "1", "--sep", " "]),
        (text, "日本\u3000語", "日本\u3000語"),
        (file_name, "a/" + "b" * 255, "a/" + "b" * 255),
    ],
)
def test_what_is_read(kind, written, value):
    assert kind(written) == value
    assert kind.taken("x", value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (size, 0), (size, 4097), (size, 64.0), (size, "64"), (size, None), (layers, -1), (draws, 2**31), (switch, 2),
        (share, 1.01), (share, -0.01), (share, math.nan), (Number(0, 9), math.inf), (Number(0, 9), "1"),
        (List(size), []), (List(size), [0]), (List(size), 64), (List(size, 2), [1, 1, 1]), (Integer(3, 5), 2),
        (text, "a\nb"), (text, 3), (separator, ",,"), (separator, "\n"), (file_name, "b" * 256), (Name(("HR",)), "hr"),
    ],
)  # fmt: skip
def test_python_values_have_the_same_bounds(kind, value):
    with pytest.raises(UserError, match=r"^x must be .*, got "):
        kind.taken("x", value)
