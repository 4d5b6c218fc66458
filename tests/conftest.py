"""What all tests share."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
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


def refused(module: str, commands: Sequence[str], folder: Path) -> list[str]:
    """What the module's main tells of each of the commands, which end with status 2, where files' modes hold even for
    root; `folder`, in which it runs, is left out of paths."""
    if sys.platform != "linux":
        pytest.skip("has no prctl")
    script = f"import sys; from {module} import main; print([main(line.split()) for line in sys.argv[1:]])"
    process = subprocess.run(
        [sys.executable, "-c", script, *commands],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=_give_up_powers,
    )
    told = process.stderr.replace(f"{folder.resolve()}/", "").splitlines()
    assert process.stdout.splitlines()[-1:] == [str([2] * len(commands))], told
    return [line.removeprefix("error: ") for line in told]


def _give_up_powers() -> None:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


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
