"""What all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ans_fast

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def real_data(name: str) -> Path:
    """The folder of a real data set, from ANS_FAST_DATA (default ../shared/data); skips the test where it is absent."""
    folder = Path(os.environ.get("ANS_FAST_DATA") or ROOT.parent / "shared/data") / name
    if not folder.exists():
        pytest.skip(f"the data set {name} is not in {folder.parent}; ANS_FAST_DATA names another folder")
    return folder


def run_at_simd_level(level: str, code: str) -> None:
    """Runs Python code in a process whose kernels are those of `level` at most; an exception there is one here."""
    environment = os.environ | {"ANS_FAST_SIMD": level, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)


def random_graph(n_users: int, n_items: int, n_pairs: int, seed: int = 0) -> ans_fast.BipartiteGraph:
    """Random pairs, some of them repeated; the last user and the last item stay without edges."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users - 1, n_pairs), rng.integers(0, n_items - 1, n_pairs)
    return ans_fast.BipartiteGraph(users, items, n_users, n_items)


@pytest.fixture
def threads():
    """torch.set_num_threads, undone at the test's end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
