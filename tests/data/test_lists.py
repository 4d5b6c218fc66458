"""List columns against a literal parser."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ans_fast.data.lists import MalformedList, parse_lists


def parse_one(cell: str) -> list[int]:
    """One cell, the slow and obvious way."""
    inner = cell.strip(" ")
    if not (inner.startswith("[") and inner.endswith("]") and len(inner) >= 2):
        raise ValueError(cell)
    inner = inner[1:-1].strip(" ")
    parts = [part.strip(" ") for part in inner.split(",")] if inner else []
    if not all(re.fullmatch("[0-9]{1,10}", part) for part in parts):
        raise ValueError(cell)
    return [int(part) for part in parts]


def check(cells: list[str]) -> None:
    try:
        expected = [parse_one(cell) for cell in cells]
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(MalformedList) as caught:
            parse_lists(cells)
        for cell in cells[: caught.value.row]:
            parse_one(cell)
        with pytest.raises(ValueError, match=r".*"):
            parse_one(cells[caught.value.row])
    else:
        indptr, values = parse_lists(cells)
        assert indptr.dtype == values.dtype == np.int64
        assert [values[a:b].tolist() for a, b in pairwise(indptr)] == expected


@given(st.lists(st.lists(st.integers(0, 2**31)), max_size=8), st.sampled_from(["{}", " {}", "{} "]))
def test_lists_as_python_prints_them(rows: list[list[int]], around: str) -> None:
    check([around.format(row) for row in rows])


@given(st.lists(st.text(alphabet="0123456789[], ", max_size=12), max_size=4))
def test_near_lists(cells: list[str]) -> None:
    check(cells)


@given(st.lists(st.text(max_size=6), max_size=4))
def test_any_text(cells: list[str]) -> None:
    check(cells)


@pytest.mark.parametrize(
    "cell",
    [
        "[1",
        "1]",
        "",
        "[1 2]",
        "[1,,2]",
        "[1,]",
        "[-1]",
        "[1.0]",
        "[a]",
        "[1]\n[2]",
        "[1][2]",
        "[12345678901]",
        "é",
        "\0",
    ],
)
def test_malformed_cell_is_named(cell: str) -> None:
    with pytest.raises(MalformedList) as caught:
        parse_lists(["[1]", cell, "[3]"])
    assert caught.value.row == 1
