"""Small made data sets and ways to run the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ans_fast.runner.main import main
from tests.conftest import ROOT

N_USERS, N_ITEMS = 60, 50


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory beside `data` with the sets top (Top-k, with neg_items), all (without) and shown (labels)."""
    write_sets(tmp_path / "data")
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path / "src")
    return tmp_path


def write_sets(data: Path) -> None:
    """The sets top, all and shown in the folder `data`."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, N_USERS + 1), 12)
    order = np.argsort(
        rng.random((N_USERS, N_ITEMS)) + (np.arange(N_ITEMS) % 5 != np.arange(N_USERS)[:, None] % 5), axis=1
    )
    items, others = order[:, :12] + 1, order[:, 12:32] + 1
    for name in ("top", "all"):
        write(
            data / name / "train.csv",
            "user_id item_id time",
            users.reshape(-1, 12)[:, :10].ravel(),
            items[:, :10].ravel(),
        )
        for column, split in ((10, "dev"), (11, "test")):
            extra = [[str(list(map(int, row))) for row in others]] if name == "top" else []
            header = "user_id item_id time" + " neg_items" * bool(extra)
            write(data / name / f"{split}.csv", header, np.arange(1, N_USERS + 1), items[:, column], *extra)
    for split, n in (("train", 1200), ("dev", 300), ("test", 300)):
        u, i, key = rng.integers(1, N_USERS + 1, n), rng.integers(1, N_ITEMS + 1, n), rng.integers(0, 4, n)
        label = ((u % 5 == i % 5) | (rng.random(n) < 0.3)).astype(int)
        rows = ["\t".join(map(str, row)) for row in zip(u, i, key, label, strict=True)]
        (data / "shown").mkdir(exist_ok=True)
        (data / "shown" / f"{split}.csv").write_text("\n".join(["user_id\titem_id\ttime\tlabel", *rows, ""]))


def write(path: Path, header: str, users: np.ndarray, items: np.ndarray, *extra: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(users, items, range(len(users)), *extra, strict=True)
    path.write_text("\n".join([header.replace(" ", "\t"), *("\t".join(map(str, row)) for row in rows), ""]))


TOP = "--path ../data --dataset top --epoch 3 --batch_size 64 --topk 5,10 --emb_size 8".split()


@pytest.fixture
def go(work: Path, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit status, stdout, stderr."""

    def call(*flags: str) -> tuple[int, str, str]:
        status = main(list(flags))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def start(work: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the command line in a process of its own."""

    def call(*flags: str, **options: Any) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ans_fast.run", *flags]
        usual = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "preexec_fn": partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a background job may ignore it
        }
        process = subprocess.Popen(command, env=env, text=True, **{**usual, **options})
        started.append(process)
        return process

    started: list[subprocess.Popen] = []
    yield call
    for process in started:
        process.kill()
        process.wait()
