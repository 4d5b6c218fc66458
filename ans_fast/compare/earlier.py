"""Results that other grids have left in the folder: they stay in its table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ans_fast.compare.grid import DONE, read_record
from ans_fast.runner.results import PLACES

Cell = tuple[str, str]  # a line of the table: its data set, its model


def earlier_records(out: Path, without: Collection[Cell]) -> dict[Cell, list[dict[str, Any]]]:
    """The records of all lines in the folder, but those of `without`. Runs of a line that differ in more than their
    seed do not go together: the newest and those like it count."""
    found: dict[Cell, list[tuple[int, dict[str, Any]]]] = {}
    for done in out.glob(f"runs/*/*/*/{DONE}"):
        record, (dataset, model) = read_record(done.parent), done.parts[-4:-2]
        name, _, mode = unquote(dataset).rpartition("@")
        cell = (name if mode == "TopK" else f"{name} {mode}", model)
        if record is not None and cell not in without:
            found.setdefault(cell, []).append((done.stat().st_mtime_ns, record))
    return {cell: _alike(found[cell]) for cell in sorted(found)}


def _alike(runs: list[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    newest = _shape(max(runs, key=lambda run: run[0])[1])
    by_seed = {record["flags"]["random_seed"]: record for _, record in sorted(runs, key=lambda run: run[0])}
    return [by_seed[seed] for seed in sorted(by_seed) if _shape(by_seed[seed]) == newest]


def _shape(record: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    flags = {name: value for name, value in record["flags"].items() if name not in (*PLACES, "random_seed")}
    return record.get("fingerprint"), flags
