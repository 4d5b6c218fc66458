"""Strict parsing of list columns such as "[3, 17, 5]" in a few passes over the joined bytes: no eval, no row loop."""

from __future__ import annotations

import re

import numpy as np

MAX_DIGITS = 10
_NUMBER = rf"\d{{1,{MAX_DIGITS}}}"
_CELL = re.compile(rf" *\[ *({_NUMBER} *(, *{_NUMBER} *)*)?\] *", re.ASCII)

_DIGIT, _COMMA, _OPEN, _CLOSE, _END, _OTHER = range(6)
_KNOWN = dict.fromkeys(b"0123456789", _DIGIT) | dict(zip(b",[]\n", (_COMMA, _OPEN, _CLOSE, _END), strict=True))
_CLASSES = bytes(_KNOWN.get(byte, _OTHER) for byte in range(256))
_FOLLOWERS = {
    _END: (_OPEN,),
    _OPEN: (_DIGIT, _CLOSE),
    _DIGIT: (_DIGIT, _COMMA, _CLOSE),
    _COMMA: (_DIGIT,),
    _CLOSE: (_END,),
}
_BAD_PAIR = bytes(pair % 8 not in _FOLLOWERS.get(pair // 8, ()) for pair in range(256))
_TO_BLANKS = bytes.maketrans(b"[],\n", b"    ")


class MalformedList(ValueError):
    """A cell that is no list of whole numbers; `row` is its index in the column."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row} is not a list of whole numbers")
        self.row = row


def parse_lists(cells: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of whole numbers as text to CSR: indptr int64 [R + 1] and values int64 [indptr[-1]].

    A cell is `[`, numbers without sign of at most MAX_DIGITS digits between commas, `]`, with blanks between these.
    Raises MalformedList for the first cell that is anything else.
    """
    if not cells:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    text = ("\n" + "\n".join(cells) + "\n").encode(errors="replace")
    classes = np.frombuffer(text.translate(_CLASSES, b" "), np.uint8)
    pairs = classes[:-1] * np.uint8(8) + classes[1:]
    ends = np.flatnonzero(classes == _END)
    starts = np.flatnonzero((pairs & 7 == _DIGIT) & (pairs >= 8)) + 1
    stops = np.flatnonzero((pairs < 8) & (pairs != _DIGIT)) + 1

    valid = len(ends) == len(cells) + 1 and 1 not in pairs.tobytes().translate(_BAD_PAIR)
    valid = valid and int((stops - starts).max(initial=0)) <= MAX_DIGITS
    values = np.zeros(0, np.int64)
    if valid and len(starts):
        values = np.fromstring(text.translate(_TO_BLANKS), np.int64, sep=" ")
    if not valid or len(values) != len(starts):  # more values than starts: "1 2", a blank within a number
        raise MalformedList(next(row for row, cell in enumerate(cells) if not _CELL.fullmatch(cell)))
    return np.searchsorted(starts, ends).astype(np.int64), values
