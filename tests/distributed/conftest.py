"""Groups of real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ans_fast.data.demo import write_demo
from tests.conftest import ROOT


def environment(**more: object) -> dict[str, str]:
    """Of processes of one thread each."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in more.items()}}


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """Starts `python ARGUMENTS`, the r-th ones as rank r, as torchrun would."""
    started: list[subprocess.Popen] = []

    def call(*arguments: list[str], **options: Any) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        group = dict(WORLD_SIZE=len(arguments), LOCAL_WORLD_SIZE=len(arguments), MASTER_ADDR="localhost")
        usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        for rank, own in enumerate(arguments):
            env = environment(RANK=rank, LOCAL_RANK=rank, MASTER_PORT=port, **group)
            started.append(subprocess.Popen([sys.executable, *own], env=env, **{**usual, **options}))
        return started[-len(arguments) :]

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the data sets `small`, the demo set's first users and who clicked its last item, and `shown`, of labels."""
    folder = tmp_path_factory.mktemp("distributed")
    write_demo(folder / "data/demo")
    (folder / "data/small").mkdir()
    for split in ("train", "dev", "test"):
        table = pd.read_csv(folder / f"data/demo/{split}.csv", sep="\t")
        table[(table.user_id <= 101) | (table.item_id == 1000)].to_csv(
            folder / f"data/small/{split}.csv", sep="\t", index=False
        )
    (folder / "data/shown").mkdir()
    rng = np.random.default_rng(0)
    for split, n_rows in (("train", 1500), ("dev", 400), ("test", 400)):
        user, item, time = (rng.integers(1, high, n_rows) for high in (40, 50, 4))
        table = pd.DataFrame({"user_id": user, "item_id": item, "time": time})
        table["label"] = ((user % 5 == item % 5) | (rng.random(n_rows) < 0.3)).astype(int)
        table.to_csv(folder / f"data/shown/{split}.csv", sep="\t", index=False)
    return folder
