"""LightGCN's adjacency lists as they are: dev is cut from train, test is the file's, ids are the files' plus 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ans_fast import UserError
from ans_fast.data import fingerprint, load
from tests.conftest import real_data


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """The folder of a set `small`: user u has 5 · (u + 1) train clicks from item u on, and two in test."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name, begin, count in (("train", lambda u: u, lambda u: 5 * (u + 1)), ("test", lambda u: 40 + u, lambda _: 2)):
        rows = [" ".join(map(str, [u, *range(begin(u), begin(u) + count(u))])) for u in range(6)]
        (folder / f"{name}.txt").write_text("\n".join(rows) + " \n")
    return folder


def clicks(split) -> set[tuple[int, int]]:
    return set(zip(split.users.tolist(), split.items.tolist(), strict=True))


def test_a_tenth_of_each_users_train_clicks_is_dev(lists):
    data = load(lists.parent, "small", protocol="lightgcn")
    train, dev, test = map(clicks, (data.train, data.dev, data.test))
    assert train | dev == {(u + 1, i + 1) for u in range(6) for i in range(u, u + 5 * (u + 1))}
    assert not train & dev
    assert test == {(u + 1, i + 1) for u in range(6) for i in (40 + u, 41 + u)}
    assert np.bincount(data.dev.users, minlength=7).tolist() == [0, 0, 1, 1, 2, 2, 3]  # of 5, 10, 15 … 30, rounded down
    assert (data.n_users, data.n_items) == (7, 48)
    assert (data.description.rank, data.description.times) == ("user", False)
    assert clicks(load(lists.parent, "small", protocol="lightgcn").dev) == dev
    assert sorted(path.name for path in lists.iterdir()) == ["test.txt", "train.txt"]
    assert any("10% of each user's train clicks" in remark for remark in data.remarks)


def test_what_is_written_does_not_depend_on_the_order_of_lines(lists):
    before = load(lists.parent, "small", protocol="lightgcn")
    lines = (lists / "train.txt").read_text().splitlines()
    (lists / "train.txt").write_text("\n".join(reversed(lines)) + "\n")
    after = load(lists.parent, "small", protocol="lightgcn")
    assert clicks(after.dev) == clicks(before.dev)
    assert after.fingerprint != before.fingerprint


def test_mistakes(lists):
    (lists / "test.txt").write_text("0 x\n")
    with pytest.raises(UserError, match=r"test\.txt line 1: expected whole numbers, `user item item …`, got b'0 x'"):
        load(lists.parent, "small", protocol="lightgcn")
    (lists / "train.txt").write_text("0 1 2 3\n")
    (lists / "test.txt").write_text("0 4\n")
    with pytest.raises(UserError, match=r"train\.txt: no user has clicks enough for 10% of them to be one"):
        load(lists.parent, "small", protocol="lightgcn")
    (lists / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt is missing"):
        fingerprint(lists.parent, "small", protocol="lightgcn")
    for options in ({"protocol": "recbole"}, {"protocol": "lightgcn", "mode": "CTR"}):
        with pytest.raises(UserError, match="protocol must be lightgcn in TopK mode, got "):
            load(lists.parent, "small", **options)


def test_gowalla():
    data = load(real_data("gowalla").parent, "gowalla", protocol="lightgcn")
    assert (data.n_users - 1, data.n_items - 1) == (29_858, 40_981)
    assert (len(data.train) + len(data.dev), len(data.test)) == (810_128, 217_242)
    assert 0.08 < len(data.dev) / 810_128 < 0.1
