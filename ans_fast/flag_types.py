"""Types of command-line flags: what argparse calls to read a value; the messages say what was expected."""

from __future__ import annotations

import argparse
import math


def positive_int(text: str) -> int:
    """An integer from 1 on."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """An integer from 0 on."""
    return _integer(text, 0)


def seed(text: str) -> int:
    """An integer from 0 to 2^63 - 1."""
    value = natural(text)
    if value >= 2**63:
        raise argparse.ArgumentTypeError(f"expected an integer below 2^63, got {text!r}")
    return value


def switch(text: str) -> int:
    """0 or 1."""
    if text not in ("0", "1"):
        raise argparse.ArgumentTypeError(f"expected 0 or 1, got {text!r}")
    return int(text)


def finite(text: str) -> float:
    """A finite number."""
    return _number(text, -math.inf, "a number")


def non_negative(text: str) -> float:
    """A finite number from 0 on."""
    return _number(text, 0.0, "a number of at least 0")


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"expected an integer of at least {least}, got {text!r}")
    return value


def _number(text: str, least: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= least):
        raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
    return value
