"""Runs the benchmarks and writes cpu.csv, cpu.md and the charts: `python -m benchmarks.report`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ans_fast.files import write_atomically
from benchmarks import charts, markdown
from benchmarks.cases import ROOT
from benchmarks.results import Table, read, write_csv

SUITES = (
    "ans_terms",
    "propagate",
    "drawing",
    "hardest_negatives",
    "candidate_scores",
    "gru_states",
    "log_sum_exp",
    "epoch",
)
OPS = ("ans_terms", "propagate", "sample_negatives", "ans_noise", *SUITES[3:])
RAW = ROOT / "build/benchmarks"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    only = (
        "the suites to run; of the others the last results are kept. Without a name: run none, write the report again"
    )
    parser.add_argument("--only", nargs="*", choices=SUITES, default=SUITES, help=only)
    parser.add_argument("--quick", action="store_true", help="one tiny size of each case, to see that everything runs")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results", help="the report's folder")
    parser.add_argument("--raw", type=Path, default=RAW, help="the folder of pytest-benchmark's files")
    args = parser.parse_args(arguments)

    for folder in (args.out, args.raw):
        folder.mkdir(parents=True, exist_ok=True)
    for suite in args.only:
        if status := _run(suite, args.raw / f"{suite}.json", args.quick):
            return status
    results = read(args.raw)
    results.sort(key=lambda result: OPS.index(result.op))
    table = Table(results)
    write_csv(results, args.out / "cpu.csv")
    write_atomically(args.out / "cpu.md", markdown.render(table, results).encode())
    charts.draw(table, args.out)
    print(f"{len(results)} cases are in {args.out}")
    return 0


def _run(suite: str, raw: Path, quick: bool) -> int:
    """pytest in a process of its own, so that one suite's memory and compiled code do not reach into the next."""
    options = "-q -W ignore --benchmark-enable --benchmark-columns=median,iqr,rounds".split()
    command = [sys.executable, "-m", "pytest", f"benchmarks/test_{suite}.py", *options, f"--benchmark-json={raw}"]
    return subprocess.run([*command, *["--quick"] * quick], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
