"""Forked children: each try runs in one, so that a crash, a hang or spoilt state ends with it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

MEMORY = 6 << 30  # bytes of address space a child may ask for; what asks for more must say so in one line
CRASHED = 70  # a child's exit status after an exception that nobody caught
_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")  # AddressSanitizer reserves terabytes of addresses

_REFUSES_MEMORY = re.compile(r"==\d+==WARNING: AddressSanitizer failed to allocate .*\n")  # as the limit does elsewhere


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit status (minus the signal that killed it), what it printed, whether it was stopped."""

    status: int
    out: str
    err: str
    hung: bool = False


def in_child(
    call: Callable[[], int],
    folder: Path,
    seconds: float = 30,
    prepare: Callable[[], None] | None = None,
    kill_after: float | None = None,
) -> Ended:
    """Forks, calls `prepare` and `call` in `folder`, and waits.

    `call` returns the exit status. Its whole process group is killed after `seconds` (a hang) or `kill_after` (wanted).
    The caller must have run no threads: a fork has none of them.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = os.fork()
        if process == 0:
            _child(call, folder, prepare, out.fileno(), err.fileno())
        with contextlib.suppress(OSError):  # the child does the same; whoever comes first
            os.setpgid(process, process)
        ended = _ends_within(process, seconds if kill_after is None else kill_after)
        os.killpg(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        _await_group(process)
        out.seek(0)
        err.seek(0)
        texts = [file.read().decode(errors="backslashreplace") for file in (out, err)]
        texts[1] = _REFUSES_MEMORY.sub("", texts[1])
        return Ended(os.waitstatus_to_exitcode(status), *texts, hung=not ended and kill_after is None)


def _ends_within(process: int, seconds: float) -> bool:
    """Whether it ends within so many seconds. It stays a zombie, so that its number names no other process."""
    began, pause = monotonic(), 0.0005
    while not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if monotonic() - began > seconds:
            return False
        sleep(pause)
        pause = min(2 * pause, 0.02)
    return True


def _await_group(process: int) -> None:
    """Waits until the group's other processes have let go of their files; not for ever, as the dead may stay listed."""
    end = monotonic() + 2
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while monotonic() < end:
            os.killpg(process, 0)
            sleep(0.01)


def _child(call: Callable[[], int], folder: Path, prepare: Callable[[], None] | None, out: int, err: int) -> None:
    status = CRASHED
    try:
        os.setpgid(0, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), "utf-8") for fd in (1, 2))
        os.chdir(folder)
        if not _SANITIZED:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if prepare:
            prepare()
        status = call()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    try:  # what Python does when it ends
        logging.shutdown()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        status = 120
    try:
        sys.stderr.flush()
    finally:
        os._exit(status & 0xFF)
