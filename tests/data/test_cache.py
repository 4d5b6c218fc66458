"""The cache: the same data, never stale, never fatal."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from ans_fast.data import Dataset, cache, load

FLIPS = int(os.environ.get("ANS_FAST_FUZZ", 200)) // 3


@pytest.fixture(autouse=True)
def _cache_small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WORTHWHILE", 0)


def same(a: Dataset, b: Dataset) -> bool:
    numbers = ("n_users", "n_items", "repeated_clicks", "repeated_negatives")
    for name in ("name", "mode", "folder", "sep", "fingerprint", *numbers):
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


def damage(path: Path, kind: str) -> None:
    """Puts something else in the file's place."""
    whole = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "deflated":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(whole)) as old:
            for name in old.namelist():
                archive.writestr(name, old.read(name))
    elif kind == "one array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[kind])


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "deflated", "one array", "folder", "pipe", "dangling"])
def test_damage_is_repaired(write, kind: str) -> None:
    folder = write()
    first = load(folder.parent, "small")
    path = files(folder)[0]
    whole = path.read_bytes()
    damage(path, kind)
    assert same(first, load(folder.parent, "small"))
    assert same(first, load(folder.parent, "small"))
    assert kind in ("folder", "pipe", "dangling") or path.read_bytes() == whole


@pytest.mark.parametrize("mode", ["TopK", "Impression"])
def test_no_flipped_bit_changes_the_data(write, mode: str) -> None:
    folder = write(labelled=mode != "TopK")
    first = load(folder.parent, "small", mode)
    path = files(folder)[0]
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at, bit in zip(rng.integers(0, len(whole), FLIPS), rng.integers(0, 8, FLIPS), strict=True):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        assert same(first, load(folder.parent, "small", mode))


def claims(shape: tuple[int, ...], dtype: str = "<i8") -> bytes:
    """An .npy file of this shape by its header, without a value."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


ids = np.array([1, 2, 3], np.int32)
FORGED = {
    "user beyond n_users": ("TopK", "train.users", np.array([1, 1, 2, 3, 4], np.int32)),
    "item 0": ("TopK", "train.items", np.array([1, 2, 3, 4, 0], np.int32)),
    "item below 0": ("TopK", "dev.items", np.array([3, -1], np.int32)),
    "negative beyond n_items": ("TopK", "test.neg_items", np.array([[5, 3], [1, 6]], np.int32)),
    "negative that is the item": ("TopK", "test.neg_items", np.array([[5, 3], [1, 2]], np.int32)),
    "no negatives": ("TopK", "test.neg_items", np.zeros((2, 0), np.int32)),
    "flat negatives": ("TopK", "test.neg_items", np.array([5, 3], np.int32)),
    "fewer users": ("TopK", "train.users", np.array([1, 1], np.int32)),
    "two-dimensional": ("TopK", "train.users", np.array([[1, 1, 2, 3, 2]], np.int32)),
    "a number": ("TopK", "train.users", np.int32(1)),
    "floats for ids": ("TopK", "train.users", np.array([1.0, 1, 2, 3, 2])),
    "text for ids": ("TopK", "train.users", np.array(["1", "1", "2", "3", "2"])),
    "objects": ("TopK", "train.users", np.array([1, None, 2, 3, 2], object)),
    "records": ("TopK", "train.users", np.zeros(5, [("a", "<i4")])),
    "float32 times": ("TopK", "train.times", np.zeros(5, np.float32)),
    "NaN times": ("TopK", "train.times", np.array([1, np.nan, 2, 3, 4])),
    "infinite times": ("TopK", "train.times", np.array([1, np.inf, 2, 3, 4])),
    "huge": ("TopK", "train.users", claims((10**15,))),
    "huger": ("TopK", "train.users", claims((2**62, 2**62))),
    "huge text": ("TopK", "train.users", claims((1,), "<U500000000")),
    "not an array": ("TopK", "train.users", b"hello"),
    "missing": ("TopK", "train.users", None),
    "missing part": ("TopK", "later_clicks.*", None),
    "unknown field": ("TopK", "train.colour", np.zeros(5)),
    "unknown part": ("TopK", "valid.users", ids),
    "no dot": ("TopK", "users", ids),
    "path": ("TopK", "../train.users", ids),
    "n_users too small": ("TopK", "n_users", np.array(3)),
    "n_users huge": ("TopK", "n_users", np.array(2**62)),
    "n_users sparse": ("TopK", "n_users", np.array(90_000_000)),
    "n_items below 0": ("TopK", "n_items", np.array(-5)),
    "n_items NaN": ("TopK", "n_items", np.array(np.nan)),
    "n_items two": ("TopK", "n_items", np.array([6, 6])),
    "no n_items": ("TopK", "n_items", None),
    "count below 0": ("TopK", "repeated_clicks", np.array(-1)),
    "label 0.5": ("CTR", "train.labels", np.full(6, 0.5, np.float32)),
    "label 2": ("CTR", "train.labels", np.full(6, 2, np.float32)),
    "int labels": ("CTR", "train.labels", np.ones(6, np.int32)),
    "more clicked than there are": ("Impression", "train.n_pos", np.array([4], np.int32)),
    "huge n_pos": ("Impression", "train.n_pos", np.array([2**31 - 1], np.int32)),
    "no clicked": ("Impression", "train.n_pos", np.array([0], np.int32)),
    "gap": ("Impression", "train.items", np.array([[1, 0, 2]], np.int32)),
    "flat lists": ("Impression", "train.items", np.array([1, 2, 3], np.int32)),
    "no list": ("Impression", "train.items", np.zeros((0, 3), np.int32)),
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_files_are_made_anew(write, what: str) -> None:
    mode, name, value = FORGED[what]
    folder = write(labelled=mode != "TopK")
    first = load(folder.parent, "small", mode)
    path = files(folder)[0]
    whole = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    for entry in [entry for entry in entries if fnmatch(entry, f"{name}.npy")]:
        del entries[entry]
    if value is not None:
        file = io.BytesIO()
        if not isinstance(value, bytes):
            np.save(file, value)
        entries[f"{name}.npy"] = value if isinstance(value, bytes) else file.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    assert path.read_bytes() != whole
    assert same(first, load(folder.parent, "small", mode))
    assert path.read_bytes() == whole


def test_empty_parts_are_no_damage(write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a click in dev and test there are no later clicks, and the cache is good."""
    quiet = "user_id\titem_id\ttime\tlabel\n1\t1\t10\t0\n"
    folder = write(labelled=True, dev=quiet, test=quiet)
    first = load(folder.parent, "small", "CTR")
    monkeypatch.setattr("ans_fast.data.labelled.read_ctr", lambda *_: pytest.fail("read the CSVs again"))
    assert same(first, load(folder.parent, "small", "CTR"))


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
