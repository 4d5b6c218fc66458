"""`fit` in a program whose processes have joined a group."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import ROOT
from tests.distributed.fitting import losses_of

PROGRAM = ["-m", "tests.distributed.fitting"]


def test_losses_are_those_of_one_process(launch: Callable):
    processes = launch([*PROGRAM, "5"], [*PROGRAM, "5"], cwd=ROOT)
    found = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert found[0] == found[1] == pytest.approx(losses_of(5), rel=1e-6)
