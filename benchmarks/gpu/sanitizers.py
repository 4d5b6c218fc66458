"""The checks under compute-sanitizer, where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import ROOT
from benchmarks.gpu.report import Section

TITLE = "compute-sanitizer"
# Which checks a tool runs over, and for which share of the section's time: racecheck slows kernels down a hundredfold.
TOOLS = {"memcheck": ("all", 0.6), "racecheck": ("small", 0.4)}
SECONDS = 75.0
FOUND = re.compile(r"^=+ (?:Invalid|Error:|Warning: Race|Program hit|Uninitialized).*", re.M)
SUMMARY = re.compile(r"^=+ (?:ERROR|RACECHECK) SUMMARY.*", re.M)


def run(section: Section, tool: Path | None = None, tools: dict[str, tuple[str, float]] = TOOLS) -> None:
    """A row for each of the tools. One whose time is over has failed only if it had found something by then."""
    tool = tool or Path(shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer")
    if not tool.exists():
        section.note("compute-sanitizer is not installed.")
        return
    for kind, (which, share) in tools.items():
        limit = share * section.limit
        with section.attempt(kind):
            command = [str(tool), "--tool", kind, "--error-exitcode", "9"]
            output, status = _output([*command, sys.executable, "-m", "benchmarks.gpu", "--checks", which], limit)
            found = FOUND.findall(output)
            summary = "; ".join(line.strip("= ") for line in SUMMARY.findall(output))
            if status is None:
                summary = f"time over after {limit:g} s"
            result = "**failed**" if status or found else "unfinished" if status is None else "passed"
            section.failed += result == "**failed**"
            section.add(f"{kind}, {which} checks", "", {"result": result, "told": summary or f"status {status}"})
            for line in found[:5]:
                section.note(line.strip("= "))


def _output(command: list[str], limit: float) -> tuple[str, int | None]:
    """What the command says and its status, None where its time is over; whatever it started ends with it."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        return process.communicate(timeout=limit)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
