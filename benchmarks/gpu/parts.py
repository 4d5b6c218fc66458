"""The parts of the run, in their order: checks, then times, then the sanitizers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu import chart, checks, operators, sanitizers, scaling, steps, summary
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.report import Report, Section

# After how many seconds a part usually starts no further case; with the build they make less than five minutes.
LIMITS = {
    checks.TITLE: 45.0,
    operators.TITLE: 40.0,
    steps.TITLE: 60.0,
    scaling.TITLE: 45.0,
    chart.TITLE: 10.0,
    sanitizers.TITLE: sanitizers.SECONDS,
}
Part = Callable[[Section, Gpu, Report], None]
PARTS: dict[str, Part] = {
    checks.TITLE: lambda section, gpu, report: checks.run(section, gpu),
    operators.TITLE: lambda section, gpu, report: operators.run(section, gpu),
    steps.TITLE: lambda section, gpu, report: steps.run(section, gpu),
    scaling.TITLE: lambda section, gpu, report: scaling.run(section, gpu),
    chart.TITLE: lambda section, gpu, report: chart.run(section, report),
    sanitizers.TITLE: lambda section, gpu, report: sanitizers.run(section),
}


def everything(gpu: Gpu, file: Path, facts: dict[str, str], parts: dict[str, Part] = PARTS, longer: float = 1.0) -> int:
    """Runs the parts, each whatever became of those before, and writes the report `file`.md and .csv after each.
    longer: how many times the usual seconds a part has. The exit status: 1 if something has failed."""
    report = Report(file, facts, summary.table)
    for title, part in parts.items():
        report.section(title, longer * LIMITS[title], lambda section, part=part: part(section, gpu, report))
    print(f"\n{report.failed} failed; the report is {file}.md and .csv")
    return 1 if report.failed else 0


def only_checks(gpu: Gpu, small: bool) -> int:
    """The checks without a report, as compute-sanitizer runs them; small: the operators' on few numbers, in float32.
    The exit status."""
    section = Section(checks.TITLE, float("inf"))
    if small:
        checks.check_operators(section, checks.SMALL_PLACES, checks.small_cases())
    else:
        checks.run(section, gpu)
    return 1 if section.failed else 0
