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
from ans_fast.data import fingerprint
from ans_fast.files import write_atomically
from ans_fast.runner import arguments
from ans_fast.runner.results import PLACES, flags_of

DONE = "done.json"  # there when a run has come to its end


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
    def title(self) -> str:
        """The data set, with its mode unless that is Top-k."""
        return f"{self.dataset} {self.mode}".strip()

    @property
    def command(self) -> list[str]:
        """The flags of `python -m ans_fast.run`, but for those that say where files go."""
        flags = ["--model_name", base_name(self.model), "--model_mode", self.mode, "--dataset", self.dataset]
        return [*flags, "--random_seed", str(self.seed), *self.flags, "--save_final_results", "0"]

    def asked(self) -> dict[str, Any]:
        """The identity of a result: the flags as results.json holds them, and the data's fingerprint now.

        Raises UserError: a flag is wrong, or the data is not there.
        """
        args = arguments.parse(self.command)
        found = fingerprint(args.path, args.dataset, **args.data_options())
        shaping = {name: value for name, value in flags_of(args).items() if name not in PLACES}
        return {"flags": shaping, "fingerprint": found}

    def reports(self) -> list[str]:
        """The metrics that its results will have. Raises UserError for a wrong flag."""
        args = arguments.parse(self.command)
        return [f"{name}@{k}" for name in args.metrics for k in args.ks] if args.ks else [*args.metrics]

    def record(self) -> dict[str, Any] | None:
        """results.json with "peak_bytes", if a run to its end had these very flags and this very data; else None.

        Raises UserError as `asked`.
        """
        asked, found = self.asked(), read_record(self.folder)
        if found is None or found.get("fingerprint") != asked["fingerprint"]:
            return None
        return found if asked["flags"].items() <= found["flags"].items() else None

    def execute(self, lock: int) -> int:
        """Runs it, going on from the checkpoint of an interrupted run of the same flags and data; the exit status.

        A result of other flags or data that is there is put aside, and goes when there is a new one. The run ends with
        this process, and until then holds the open file `lock` as this process does.
        """
        asked = self.asked()
        aside = self.folder.with_name(f"{self.folder.name}.before")
        if _read(self.folder / "begun.json") != asked:
            if (self.folder / DONE).exists():
                shutil.rmtree(aside, ignore_errors=True)
                self.folder.rename(aside)
            shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / DONE).unlink(missing_ok=True)
        _write(self.folder / "begun.json", asked)
        files = ["--log_file", f"{self.folder}/log.txt", "--model_path", f"{self.folder}/weights.pt"]
        resume = ["--load", "1"] if (self.folder / "weights.resume.pt").exists() else []
        argv = [sys.executable, "-m", "ans_fast.compare.child", *self.command, *files, *resume]
        with open(self.folder / "output.txt", "ab") as output:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, pass_fds=[lock]
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except KeyboardInterrupt:
                process.kill()
                process.wait()
                raise
            process.stdin.close()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == 0:
            scale = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
            _write(self.folder / DONE, {"peak_bytes": usage.ru_maxrss * scale})
            shutil.rmtree(aside, ignore_errors=True)
        return process.returncode

    def last_words(self) -> str:
        """The last line of what it printed."""
        lines = (self.folder / "output.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


def read_record(folder: Path) -> dict[str, Any] | None:
    """results.json with "peak_bytes" and "folder" of a run to its end, whatever its flags; None where it is missing or
    damaged."""
    done, results = _read(folder / DONE), _read(folder / "log/results.json")
    whole = "peak_bytes" in done and isinstance(results.get("flags"), dict)
    return {**results, **done, "folder": folder} if whole else None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    """The file's content; nothing where there is none, or none that is whole."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
