"""Damaged caches of data: never what is read, never the end of a run."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ans_fast.command_line import exit_status
from ans_fast.data import Dataset, cache, load
from tests.attack import archives, sets
from tests.attack.archives import MARK
from tests.attack.attack import RIGHT, Attack, Case, Fault, check_nothing_left, judge
from tests.attack.child import in_child

MODES: dict[str, Callable[[Path], None]] = {
    "TopK": sets.write_topk,
    "CTR": sets.write_labelled,
    "Impression": sets.write_labelled,
}
_VALUES: dict[str, Callable[[np.ndarray], Any]] = {  # of ids, which no set has
    "below": lambda a: _set(a, -1),
    "above": lambda a: _set(a, 2**31 - 1),
    "one above": lambda a: _set(a, sets.N_USERS + sets.N_ITEMS + 5),
}
_SHAPES: dict[str, Callable[[np.ndarray], Any]] = {  # of all arrays
    "nan": lambda a: _set(a.astype(float), np.nan),
    "inf": lambda a: _set(a.astype(float), np.inf),
    "short": lambda a: np.atleast_1d(a)[:-1],
    "long": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
    "none": lambda a: np.atleast_1d(a)[:0],
    "flat": lambda a: a.reshape(-1),
    "deep": lambda a: a[None],
    "scalar": lambda a: a.reshape(-1)[0] if a.size else a,
    "text": lambda a: a.astype(str),
    "uint": lambda a: a.astype(np.uint64),
    "int8": lambda a: a.astype(np.int8),
    "complex": lambda a: a.astype(complex),
    "bool": lambda a: a.astype(bool),
    "dates": lambda a: a.astype("datetime64[s]"),
    "record": lambda a: a.astype([("a", "i4")]),
}
_EDITS = _VALUES | _SHAPES


def _set(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    if array.size:
        array.reshape(-1)[array.size // 2] = value
    return array


class Caches(Attack):
    """The base is a mode; its cache is damaged between two loads, which must give what the files say."""

    name = "caches"

    def draw(self, rng: random.Random) -> Case:
        damage = archives.draw(rng, {})
        while damage.kind in ("drop", "swap"):  # with right checksums, what is there may be a set of its own
            damage = archives.draw(rng, {})
        if rng.random() < 0.6:
            damage = archives.Damage("array", rng.random(), rng.choice(list(_EDITS)))
        return Case(rng.choice(list(MODES)), (damage,))

    def carry_out(self, case: Case, folder: Path) -> str:
        home = folder / "run"
        home.mkdir()
        MODES[case.base](home / "small")
        outcome = judge(in_child(partial(_load_twice, case), home, prepare=partial(_cache_all, home)))
        if (home / MARK).exists():
            raise Fault("a payload was executed")
        if outcome != RIGHT:
            raise Fault("a damaged cache ended the run")
        check_nothing_left(home)
        return outcome


def _cache_all(home: Path) -> None:
    cache._WORTHWHILE = 0
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")


def _load_twice(case: Case) -> int:
    def command() -> int:
        first = load(".", "small", case.base)
        (path,) = Path("small").glob(".ans_fast-*.npz")
        for damage in case.changes:
            if damage.kind == "array":
                _edit(path, damage.where, damage.what)
            else:
                damage.apply(path)
        for _ in range(2):
            _same(first, load(".", "small", case.base))
        return 0

    return exit_status(command)


def _edit(path: Path, where: float, how: str) -> None:
    with np.load(path) as file:
        arrays = dict(file.items())
    name = list(arrays)[int(where * len(arrays))]
    if how in _SHAPES or name.rpartition(".")[2] in ("users", "items", "neg_items"):
        np.savez(path, **{**arrays, name: _EDITS[how](arrays[name])})


def _same(one: Dataset, other: Dataset) -> None:
    assert (one.n_users, one.n_items) == (other.n_users, other.n_items), "sizes differ"
    for part in ("clicks", "later_clicks", *sets.SPLITS):
        x, y = getattr(one, part), getattr(other, part)
        assert type(x) is type(y), part
        for field in fields(x):
            a, b = getattr(x, field.name), getattr(y, field.name)
            assert (a is None) == (b is None), f"{part}.{field.name}"
            assert a is None or (a.dtype == b.dtype and np.array_equal(a, b)), f"{part}.{field.name} differs"
