"""The report, as Markdown and as CSV: whatever is known stands on disk, should the run break off."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from ans_fast.files import write_atomically
from benchmarks.markdown import short

T = TypeVar("T")
Value = float | str
TOLD = 10  # names in a list at most


@dataclass(frozen=True)
class Row:
    """A result: of which case, got by what, and values by what they are, with their unit."""

    case: str
    provider: str
    values: dict[str, Value]

    def get(self, quantity: str) -> float | None:
        """The number of that name, None where there is none."""
        value = self.values.get(quantity)
        return None if isinstance(value, str) else value


@dataclass
class Section:
    """What one part of the run has found. failed: how many of its cases."""

    title: str
    limit: float  # seconds
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: int = 0
    began: float = field(default_factory=perf_counter)
    seconds: float = 0.0

    def add(self, case: str, provider: str, values: dict[str, Value]) -> None:
        """Adds a row."""
        self.rows.append(Row(case, provider, values))
        print(f"{case} | {provider} | {', '.join(f'{name} {_cell(v)}' for name, v in values.items())}", flush=True)

    def note(self, text: str) -> None:
        """Adds a line below the table."""
        self.notes.append(text)
        print(text, flush=True)

    @contextmanager
    def attempt(self, case: str) -> Iterator[None]:
        """An exception in the block is told and counted: one broken case must not hide the others."""
        try:
            yield
        except Exception as error:
            self.failed += 1
            self.note(f"**failed**: {case}: {told(error)}")

    def in_time(self, cases: Iterable[T]) -> Iterator[T]:
        """The cases, as long as the section's limit lasts; which are left out is told."""
        waiting = list(cases)
        while waiting and perf_counter() - self.began < self.limit:
            yield waiting.pop(0)
        if waiting:
            names = ", ".join(map(str, waiting[:TOLD])) + ", …" * (len(waiting) > TOLD)
            self.note(f"{len(waiting)} left out, for the section's {self.limit:g} s were over: {names}")


class Report:
    """Sections in their order. Each is written as soon as it is done.

    Args:
        file: path of the report without its suffix.
        facts: what all figures depend on, by name.
        summary: lines of Markdown to begin with, of `rows` and facts.
    """

    def __init__(self, file: Path, facts: dict[str, str], summary: Callable[..., list[str]]):
        self.file, self.facts, self._summary = file, facts, summary
        self.sections: list[Section] = []

    @property
    def rows(self) -> dict[str, list[Row]]:
        """Those of the sections, by their titles."""
        return {section.title: section.rows for section in self.sections}

    @property
    def failed(self) -> int:
        """How many cases have."""
        return sum(section.failed for section in self.sections)

    def section(self, title: str, limit: float, run: Callable[[Section], None]) -> None:
        """Runs a section and writes what it found. If it breaks off the next can go on."""
        print(f"\n## {title}", flush=True)
        section = Section(title, limit)
        self.sections.append(section)
        try:
            with section.attempt(title):
                run(section)
        finally:
            section.seconds = perf_counter() - section.began
            self.write()

    def write(self) -> None:
        """Writes all that is known."""
        write_atomically(self.file.with_suffix(".md"), self.markdown().encode())
        write_atomically(self.file.with_suffix(".csv"), self.csv().encode())

    def markdown(self) -> str:
        """The whole report."""
        card, *others = self.facts.items()
        parts = [f"# {card[1]}", ", ".join(f"{name} {value}" for name, value in others) + ". Made by `make gpu-check`."]
        parts.append("\n".join(self._summary(self.rows, self.facts)))
        for section in self.sections:
            parts.append(f"## {section.title}")
            if section.rows:
                parts.append("\n".join(_table(section.rows)))
            if section.notes:
                parts.append("\n".join(f"- {note}" for note in section.notes))
            parts.append(f"{section.seconds:.0f} s.")
        return "\n\n".join(filter(None, parts)) + "\n"

    def csv(self) -> str:
        """A line a value: section, case, provider, quantity, value and the facts."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["section", "case", "provider", "quantity", "value", *self.facts])
        for section in self.sections:
            for row in section.rows:
                for quantity, value in row.values.items():
                    writer.writerow([section.title, row.case, row.provider, quantity, value, *self.facts.values()])
        return out.getvalue()


def told(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _table(rows: list[Row]) -> list[str]:
    quantities = list(dict.fromkeys(name for row in rows for name in row.values))
    numbers = [all(not isinstance(row.values.get(name), str) for row in rows) for name in quantities]
    lines = [f"| case | by | {' | '.join(quantities)} |"]
    lines.append(f"|---|---|{''.join('---:|' if is_number else '---|' for is_number in numbers)}")
    for row in rows:
        cells = " | ".join(_cell(row.values.get(name, "")) for name in quantities)
        lines.append(f"| {row.case} | {row.provider} | {cells} |")
    return lines


def _cell(value: Value) -> str:
    return value if isinstance(value, str) else short(value)
