"""The demo set: the same bytes everywhere, and something to learn in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ans_fast.data import load
from ans_fast.data.demo import write_demo

DIGEST = "501302a3ac554bcd6f47e15745c499cd928fba7c7ac96653f419d5a00fe7688d"


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join((folder / f"{s}.csv").read_bytes() for s in ("train", "dev", "test"))).hexdigest()


def hit_rate(scores: np.ndarray, users: np.ndarray, items: np.ndarray, negatives: np.ndarray, k: int) -> float:
    """HR@k of scores [n_users, n_items], ties against the positive."""
    better = scores[users[:, None], negatives] >= scores[users, items][:, None]
    return float((better.sum(1) < k).mean())


def test_written_on_first_use(tmp_path: Path) -> None:
    data = load(tmp_path, "demo")
    assert (data.n_users, data.n_items, len(data.train), len(data.dev), len(data.test)) == (
        2001,
        1001,
        56331,
        2000,
        2000,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    stamp = (tmp_path / "demo/train.csv").stat().st_mtime_ns
    load(tmp_path, "demo")
    assert (tmp_path / "demo/train.csv").stat().st_mtime_ns == stamp


def test_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 2023), ("b", 2023), ("c", 1)):
        write_demo(tmp_path / name, seed)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")
    assert digest(tmp_path / "a") == DIGEST


def test_rows_make_sense(tmp_path: Path) -> None:
    data = load(tmp_path, "demo")
    clicked = data.clicked_by_all
    pairs = clicked.users * data.n_items + clicked.items
    assert len(np.unique(pairs)) == len(pairs)
    assert np.bincount(data.train.users)[1:].min() >= 3
    last = np.zeros(data.n_users)
    np.maximum.at(last, data.train.users, data.train.times)
    assert (data.dev.times >= last[data.dev.users]).all()
    dev_time = np.zeros(data.n_users)
    dev_time[data.dev.users] = data.dev.times
    assert (data.test.times >= dev_time[data.test.users]).all()
    for split in (data.dev, data.test):
        assert not np.isin(split.users[:, None] * data.n_items + split.neg_items, pairs).any()
        assert (np.diff(np.sort(split.neg_items, axis=1), axis=1) > 0).all()
    assert (np.diff(data.train.times) >= 0).all()


def test_taste_beats_popularity(tmp_path: Path) -> None:
    data = load(tmp_path, "demo")
    matrix = np.zeros((data.n_users, data.n_items))
    matrix[data.train.users, data.train.items] = 1
    popularity = matrix.sum(0)
    scale = popularity.clip(1) ** -0.5
    normalised = matrix * scale / matrix.sum(1, keepdims=True).clip(1) ** 0.5
    u, s, v = np.linalg.svd(normalised, full_matrices=False)
    taste = (u[:, :24] * s[:24]) @ v[:24] / scale
    test = data.test.users, data.test.items, data.test.neg_items
    assert hit_rate(np.tile(popularity, (data.n_users, 1)), *test, k=5) < 0.25
    assert hit_rate(taste, *test, k=5) > 0.55
