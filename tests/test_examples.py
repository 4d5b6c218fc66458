"""The scripts in examples/, run as a reader would, on clicks of users who keep to one of three groups of items."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ans_fast
from tests.conftest import ROOT
from tests.runner.conftest import write_sets

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where own.csv lies: sixty users with twelve of their group's twenty items."""
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(60):
        chosen = rng.permutation(20)[:12] * 3 + user % 3
        lines += [f"user-{user},item-{item},{rng.integers(10**6)}" for item in chosen]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    return tmp_path


def run(number: int, folder: Path, *arguments: str) -> str:
    """What a script prints."""
    end = subprocess.run(
        [sys.executable, SCRIPTS[number - 1], *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert end.returncode == 0, end.stderr
    return end.stdout


def share_of_own_group(told: str) -> float:
    """Of the items in lines "user-7 -> item-10 item-43 …"."""
    rows = re.findall("^user-([0-9]+) -> (.*)$", told, re.MULTILINE)
    found = [int(item) % 3 == int(user) % 3 for user, row in rows for item in re.findall("item-([0-9]+)", row)]
    return float(np.mean(found))


def test_there_are_five_and_they_are_short() -> None:
    assert [int(script.name[:2]) for script in SCRIPTS] == [1, 2, 3, 4, 5]
    assert len(SCRIPTS[0].read_text().splitlines()) <= 25
    assert max(len(script.read_text().splitlines()) for script in SCRIPTS) <= 45


def test_own_data(folder: Path) -> None:
    told = run(1, folder, "own.csv")
    assert float(re.search("'Recall@20': ([0-9.]+)", told)[1]) > 0.8  # each has but 8 of its group left
    assert told.count(" -> ") == 3
    assert share_of_own_group(told) > 0.9
    assert float(re.search(r"the index agrees: ([0-9.]+)", told)[1]) > 0.98  # but for near ties
    assert ans_fast.models.load(folder / "own.pt").user_ids.find("user-7") >= 0


def test_compare_models(folder: Path) -> None:
    """POP knows no groups: a user's one item is among its best 20 of some 40."""
    write_sets(folder / "data")
    told = run(2, folder, "data", "all")
    recall = {name: float(value) for name, value in re.findall(r"^(\w+) +([0-9.]+) ", told, re.MULTILINE)}
    assert [*recall] == ["POP", "BPRMF", "LightGCN", "ANS"]
    assert recall["POP"] < 0.7
    assert min(recall["LightGCN"], recall["ANS"]) > recall["POP"] + 0.1


def test_training_loop(folder: Path) -> None:
    told = run(3, folder, "own.csv")
    bpr = [float(value) for value in re.findall("bpr ([0-9.]+)", told)]
    assert len(bpr) == 4
    assert bpr[-1] < bpr[0]
    assert float(re.search(r"clicks ([0-9.]+)% are", told)[1]) > 80


def test_new_model(folder: Path) -> None:
    told = run(4, folder, "own.csv")
    weights = [float(value) for value in re.search("hops: (.*)", told)[1].split()]
    assert len(weights) == 3
    assert sum(weights) == pytest.approx(1, abs=0.002)
    assert float(re.search("'Recall@20': ([0-9.]+)", told)[1]) > 0.8


def test_serving(folder: Path) -> None:
    """The server gives what the model does; who clicked four items of a group gets others of it."""
    told = run(5, folder, "own.csv").splitlines()
    served, of_model = told[0].split(" | the model: ")
    assert served.split(" -> ")[1] == of_model
    assert share_of_own_group(served) > 0.7  # eight are left
    clicked, given = (re.findall("item-([0-9]+)", part) for part in told[1].split(" -> "))
    assert {int(item) % 3 for item in clicked} == {int(clicked[0]) % 3}
    assert not {*clicked} & {*given}
    assert np.mean([int(item) % 3 == int(clicked[0]) % 3 for item in given]) > 0.7
