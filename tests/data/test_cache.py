"""The cache: the same data, never stale, never fatal."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ans_fast.data import Dataset, cache, load


@pytest.fixture(autouse=True)
def _cache_small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WORTHWHILE", 0)


def same(a: Dataset, b: Dataset) -> bool:
    for name in ("name", "mode", "n_users", "n_items", "folder", "sep", "fingerprint"):
        assert getattr(a, name) == getattr(b, name)
    for part in ("clicks", "later_clicks", "train", "dev", "test"):
        x, y = getattr(a, part), getattr(b, part)
        assert type(x) is type(y)
        for field in fields(x):
            v, w = getattr(x, field.name), getattr(y, field.name)
            assert (v is None) == (w is None)
            assert v is None or (v.dtype == w.dtype and np.array_equal(v, w))
    return True


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(".ans_fast-*.npz"))


@pytest.mark.parametrize("mode", ["TopK", "CTR", "Impression"])
def test_same_from_the_cache(write, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(labelled=mode != "TopK")
    first = load(folder.parent, "small", mode)
    assert len(files(folder)) == 1
    for reader in ("topk.read_topk", "labelled.read_ctr", "labelled.read_impressions"):
        monkeypatch.setattr(f"ans_fast.data.{reader}", lambda *_: pytest.fail("read the CSVs again"))
    second = load(folder.parent, "small", mode)
    assert same(first, second)
    assert (second.clicks is second.train) == (mode == "TopK")


def test_changes_are_seen(write) -> None:
    folder = write()
    load(folder.parent, "small")
    train = folder / "train.csv"
    train.write_text(train.read_text().replace("3\t4\t16.5", "3\t5\t16.5"))
    assert load(folder.parent, "small").train.items.tolist() == [1, 2, 3, 5, 5]
    assert len(files(folder)) == 1  # the old one is gone


def test_options_are_seen(write) -> None:
    folder = write(labelled=True)
    by_time = load(folder.parent, "small", "Impression")
    by_id = load(folder.parent, "small", "Impression", impression_key="impression_id")
    short = load(folder.parent, "small", "Impression", train_max_neg_item=1)
    assert [len(by_time.train), len(by_id.train), short.train.items.shape[1]] == [1, 2, 2]


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "folder"])
def test_damage_is_repaired(write, damage: str) -> None:
    folder = write()
    first = load(folder.parent, "small")
    path = files(folder)[0]
    whole = path.read_bytes()
    at = whole.find(b"train.items.npy") + 150
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        flipped = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
        path.write_bytes({"cut": whole[: len(whole) // 2], "flip": flipped, "empty": b"", "text": b"hello"}[damage])
    assert same(first, load(folder.parent, "small"))
    assert same(first, load(folder.parent, "small"))
    assert damage == "folder" or path.read_bytes() == whole


def test_regenerate(write) -> None:
    folder = write()
    load(folder.parent, "small")
    before = files(folder)[0].stat().st_ino
    load(folder.parent, "small", regenerate=True)
    assert files(folder)[0].stat().st_ino != before


def test_read_only_folder(write, tmp_path: Path) -> None:
    folder = write()
    folder.chmod(0o555)
    try:
        first = load(folder.parent, "small")
        assert not files(folder)
        assert len(files(tmp_path / "xdg/ans_fast/small")) == 1
        assert same(first, load(folder.parent, "small"))
    finally:
        folder.chmod(0o755)


def test_nowhere_to_write(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write()
    folder.chmod(0o555)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    try:
        assert load(folder.parent, "small").n_items == 6
    finally:
        folder.chmod(0o755)


def test_small_sets_have_none(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    folder = write()
    load(folder.parent, "small")
    assert not files(folder)
