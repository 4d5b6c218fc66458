"""The runs of a grid: each a process of its own, kept in a folder of its own, done once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ans_fast.compare.flags import base_name
from ans_fast.files import write_atomically


@dataclass(frozen=True)
class Run:
    """One cell: model (a line's name), dataset, mode ("" is TopK), seed, further flags, and the folder of its files."""

    model: str
    dataset: str
    mode: str
    seed: int
    flags: tuple[str, ...]
    folder: Path

    @property
    def command(self) -> list[str]:
        """The flags of `python -m ans_fast.run`, but for those that say where files go."""
        flags = ["--model_name", base_name(self.model), "--model_mode", self.mode, "--dataset", self.dataset]
        return [*flags, "--random_seed", str(self.seed), *self.flags]

    @property
    def record(self) -> dict[str, Any] | None:
        """results.json with "peak_bytes", if this very command has been run to its end; else None."""
        done = _read(self.folder / "done.json")
        results = _read(self.folder / "log/results.json")
        if done is None or results is None or done.get("command") != self.command:
            return None
        return {**results, "peak_bytes": done["peak_bytes"]}

    def execute(self) -> int:
        """Runs it, going on from the checkpoint of an interrupted run of the same command; the exit status."""
        if _read(self.folder / "begun.json") != {"command": self.command}:
            shutil.rmtree(self.folder, ignore_errors=True)
        _write(self.folder / "begun.json", {"command": self.command})
        files = ["--log_file", f"{self.folder}/log.txt", "--model_path", f"{self.folder}/weights.pt"]
        resume = ["--load", "1"] if (self.folder / "weights.resume.pt").exists() else []
        argv = [sys.executable, "-m", "ans_fast.run", *self.command, *files, *resume, "--save_final_results", "0"]
        with open(self.folder / "output.txt", "ab") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT)
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except KeyboardInterrupt:
                process.kill()
                process.wait()
                raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == 0:
            scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
            _write(self.folder / "done.json", {"command": self.command, "peak_bytes": usage.ru_maxrss * scale})
        return process.returncode

    def last_words(self) -> str:
        """The last line of what it printed."""
        lines = (self.folder / "output.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
