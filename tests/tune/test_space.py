"""What --space says."""

from __future__ import annotations

import pytest

from ans_fast.errors import UserError
from ans_fast.tune.space import DEFAULTS, Range, command_line, space_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr=1e-4..1e-2:log", Range("lr", (), 1e-4, 1e-2, True)),
        ("eps=0..0.5", Range("eps", (), 0, 0.5)),
        ("--n_layers=1..4", Range("n_layers", (), 1, 4)),
        ("base_model=LightGCN,BPRMF", Range("base_model", ("LightGCN", "BPRMF"))),
        ("gamma=-1..+.5", Range("gamma", (), -1, 0.5)),
    ],
)
def test_ranges(text, expected):
    assert Range.parse(text) == expected


@pytest.mark.parametrize("text", ["lr", "lr=", "=1..2", "lr=1..", "lr=2..1", "lr=1..1", "lr=0..1:log", "lr=1..x", ""])
def test_mistakes(text):
    with pytest.raises(UserError, match="--space"):
        Range.parse(text)


def test_what_is_given_keeps_its_value():
    flags = {"lr", "l2", "num_neg", "n_layers"}
    space = {r.flag: r for r in space_of(["num_neg=1,3", "emb_size=8..64"], flags, {"l2"})}
    assert space.keys() == {"lr", "num_neg", "emb_size", "n_layers"}
    assert space["num_neg"].choices == ("1", "3")
    with pytest.raises(UserError, match="--l2 is given, so --space cannot have it too"):
        space_of(["l2=0,1"], flags, {"l2"})
    with pytest.raises(UserError, match="--space has lr twice"):
        space_of(["lr=0,1", "lr=2,3"], flags, ())


def test_usual_ranges_are_ranges():
    ranges = [Range.parse(f"{name}={values}") for name, values in DEFAULTS.items()]
    whole = [r.flag for r in ranges if not r.choices and isinstance(r.low, int) and isinstance(r.high, int)]
    assert whole == ["n_layers"]


def test_command_line():
    assert command_line({"lr": "0.1", "n_layers": 2}) == ["--lr", "0.1", "--n_layers", "2"]
