"""What was measured, as rows: read from pytest-benchmark's files, written as CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ans_fast.files import atomic_file
from benchmarks.cases import THREADS
from benchmarks.machine import device, versions


@dataclass(frozen=True)
class Result:
    """One case. p20, p50, p80: milliseconds a call. peak_mb: 10^6 bytes beyond what was resident before the call, None
    if not known. waited: the share of the time for which a thread waited for a core."""

    op: str
    provider: str
    mode: str
    p20_ms: float
    p50_ms: float
    p80_ms: float
    rounds: int
    peak_mb: float | None
    waited: float
    config: str
    device: str
    threads: int
    versions: str


def read(folder: Path) -> list[Result]:
    """All cases in the folder's JSON files; of a case that comes twice, the latest."""
    where = {"device": device(), "threads": THREADS, "versions": versions()}
    results: dict[tuple[str, ...], Result] = {}
    for file in sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns):
        for case in json.loads(file.read_text())["benchmarks"]:
            info, times = case["extra_info"], np.array(case["stats"]["data"]) * 1e3
            p20, p50, p80 = (round(float(np.percentile(times, p)), 4) for p in (20, 50, 80))
            labels = {name: info[name] for name in ("op", "provider", "mode", "config")}
            results[tuple(labels.values())] = Result(
                **labels,
                p20_ms=p20,
                p50_ms=p50,
                p80_ms=p80,
                rounds=len(times),
                peak_mb=None if info["peak"] is None else round(info["peak"], 2),
                waited=round(info["waited"], 3),
                **where,
            )
    return list(results.values())


def write_csv(results: list[Result], file: Path) -> None:
    with atomic_file(file) as temporary, temporary.open("w", newline="") as out:
        writer = csv.DictWriter(out, [field.name for field in fields(Result)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)


class Table:
    """Results by what they measure."""

    def __init__(self, results: list[Result]):
        self._cases = {(r.op, r.config, r.mode, r.provider): r for r in results}

    def get(self, op: str, config: str, mode: str, provider: str) -> Result | None:
        return self._cases.get((op, config, mode, provider))

    def providers(self, op: str) -> list[str]:
        return list(dict.fromkeys(case[3] for case in self._cases if case[0] == op))

    def configs(self, op: str) -> list[tuple[str, str]]:
        """(config, mode) of the op, in the order of measurement."""
        return list(dict.fromkeys(case[1:3] for case in self._cases if case[0] == op))

    def ops(self) -> list[str]:
        return list(dict.fromkeys(case[0] for case in self._cases))

    def speed_up(self, op: str, config: str, mode: str, provider: str) -> float | None:
        """How many times as long as the fused operator the provider takes, by medians."""
        other, fused = self.get(op, config, mode, provider), self.get(op, config, mode, "fused")
        return other.p50_ms / fused.p50_ms if other and fused else None
