"""Files of separated values without quoting, as RecBole, MIND and others write them: a `"` is a character like any
other."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ans_fast.data.own_table import Columns, clicks_of
from ans_fast.data.raw_files import line_of, line_of_row, malformed, read_bytes
from ans_fast.errors import UserError


class PlainTable:
    """A file's lines; those without a value are left out.

    first: the values of the first line. What stands in columns that nobody asks for does not matter. Raises UserError.
    """

    def __init__(self, path: Path, sep: str = "\t") -> None:
        self.path, self.sep = path, sep
        self._data = read_bytes(path)
        nul = self._data.find(b"\0")
        if nul >= 0:
            raise UserError(f"{path} line {line_of(self._data, nul)}: a zero byte; expected UTF-8 text")
        first = next(line for line in self._data.splitlines() if line.strip(b" "))
        self.first = first.decode(errors="replace").split(sep)

    def text(self, columns: Mapping[str, int], header: bool) -> pd.DataFrame:
        """The named columns, given by their places from 0, as text; without the first line where that is a header."""
        width = len(self.first)
        if max(columns.values()) >= width:
            kind = {"\t": "tab", ",": "comma"}[self.sep]
            raise self.error(0, f"expected {max(columns.values()) + 1} or more {kind}-separated columns, got {width}")
        try:
            frame = pd.read_csv(
                io.BytesIO(self._data),
                sep=self.sep,
                header=None,
                quoting=3,
                dtype=object,
                na_filter=False,
                encoding_errors="surrogateescape",  # in a column that is not asked for it does not matter
            )
        except pd.errors.ParserError as error:
            raise malformed(self.path, error) from None
        frame = frame[[*columns.values()]].set_axis(list(columns), axis=1)
        if not self._data.isascii():
            for name in columns:
                self._check_utf8(frame[name])
        return frame[1:].reset_index(drop=True) if header else frame

    def clicks(self, columns: Columns, places: Mapping[str, int], header: bool) -> pd.DataFrame:
        """The clicks of the columns, whose places are given, as `clicks_of` has them; an empty value is a missing one.
        Raises UserError, which names the line."""
        text = self.text({name: places[name] for name in columns.names}, header)
        if text.empty:
            raise UserError(f"{self.path} is empty below its first line")
        return clicks_of(
            text.mask(text == ""), columns, str(self.path), lambda row, message: self.error(row + header, message)
        )

    def error(self, row: int, message: str) -> UserError:
        """A UserError that names the file and the line of row `row`, a header being row 0."""
        return UserError(f"{self.path} line {line_of_row(self._data, row)}: {message}")

    def _check_utf8(self, values: pd.Series) -> None:
        try:
            "".join(values).encode()
        except UnicodeEncodeError:
            row = next(row for row, value in enumerate(values) if any("\ud800" <= c <= "\udfff" for c in value))
            raise self.error(row, f"{values.name} is not UTF-8 text") from None
