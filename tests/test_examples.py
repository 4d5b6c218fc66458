"""The scripts in examples/, run as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import ans_fast

ROOT = Path(__file__).parents[1]


def test_own_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(60):  # who keep to one of three groups of twenty items
        chosen = rng.permutation(20)[:12] * 3 + user % 3
        lines += [f"user-{user},item-{item},{rng.integers(10**6)}" for item in chosen]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    script = ROOT / "examples" / "01_own_data.py"
    assert len(script.read_text().splitlines()) <= 25
    end = subprocess.run(
        [sys.executable, script, "own.csv"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert end.returncode == 0, end.stderr
    assert float(re.search("'Recall@20': ([0-9.]+)", end.stdout)[1]) > 0.8  # each has but 8 of its group left
    rows = re.findall("^user-([0-9]+) -> (.*)$", end.stdout, re.MULTILINE)
    assert len(rows) == 3
    found = [int(item) % 3 == int(user) % 3 for user, row in rows for item in re.findall("item-([0-9]+)", row)]
    assert len(found) == 15
    assert sum(found) >= 14
    assert ans_fast.models.load(tmp_path / "own.pt").user_ids.find("user-7") >= 0
