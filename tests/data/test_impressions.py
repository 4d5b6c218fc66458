"""Impression lists and CTR rows against a literal, row-by-row version."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ans_fast.data import load
from ans_fast.data.dataset import ImpressionLists, Labelled
from ans_fast.data.impressions import ListLimits, make_lists
from ans_fast.errors import UserError
from tests.conftest import real_data


def literal_lists(rows: Labelled, keys: np.ndarray, max_pos: int, max_neg: int) -> list[tuple]:
    """(user, clicked items, other items, time of the first row), by user and key."""
    found: dict[tuple, tuple[list, list, float]] = {}
    for user, item, time, label, key in zip(rows.users, rows.items, rows.times, rows.labels, keys, strict=True):
        clicked, others, _ = found.setdefault((user, key), ([], [], time))
        chosen = clicked if label else others
        if item not in chosen:
            chosen.append(item)
    return [
        (user, clicked[:max_pos], others[:max_neg], time)
        for (user, _), (clicked, others, time) in sorted(found.items())
        if clicked and others
    ]


def as_tuples(lists: ImpressionLists) -> list[tuple]:
    for row, n in zip(lists.items, lists.n_pos + lists.n_neg, strict=True):
        assert (row[:n] > 0).all()
        assert (row[n:] == 0).all()
    return [
        (user, row[:p].tolist(), row[p : p + n].tolist(), time)
        for user, row, p, n, time in zip(lists.users, lists.items, lists.n_pos, lists.n_neg, lists.times, strict=True)
    ]


ROWS = st.lists(
    st.tuples(*(st.integers(1, n) for n in (3, 5, 9)), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=60
)


@given(ROWS, st.integers(1, 4), st.integers(1, 4))
def test_lists(rows: list[tuple], max_pos: int, max_neg: int) -> None:
    users, items, times, labels, keys = np.array(rows, np.int64).reshape(-1, 5).T
    table = Labelled(users, items, times.astype(float), labels.astype(np.float32))
    lists = make_lists(table, keys, max_pos, max_neg)
    expected = literal_lists(table, keys, max_pos, max_neg)
    assert as_tuples(lists) == expected
    width = max((len(clicked) + len(others) for _, clicked, others, _ in expected), default=0)
    assert lists.items.shape == (len(expected), width)


def test_reads_impressions(write) -> None:
    data = load(write(labelled=True).parent, "small", "Impression")
    assert as_tuples(data.train) == [(1, [1], [2, 3], 10.0)]  # user 2's rows differ in time; (1, 20) has no click
    assert data.clicks.items.tolist() == [1, 3]
    assert data.clicked_by_all.items.tolist() == [1, 3] * 3
    assert (data.n_users, data.n_items) == (3, 5)


def test_impression_key(write) -> None:
    data = load(write(labelled=True).parent, "small", "Impression", impression_key="impression_id")
    assert as_tuples(data.train) == [(1, [1], [2, 3], 10.0), (2, [3], [2], 15.0)]


def test_reads_ctr(write) -> None:
    data = load(write(labelled=True).parent, "small", "CTR")
    assert data.train.labels.tolist() == [1, 0, 0, 1, 0, 0]
    assert data.train.labels.dtype == np.float32
    assert data.clicks.items.tolist() == [1, 3]


HEADER = "user_id\titem_id\ttime\tlabel\timpression_id\n"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (HEADER + "1\t1\t10\t2\ta\n", {}, "line 2: label is .*2.*, expected 0 or 1"),
        (HEADER + "1\t1\t10\tyes\ta\n", {}, "line 2: label is 'yes', expected 0 or 1"),
        (HEADER + "1\t1\t10\t\ta\n", {}, "line 2: label is missing, expected 0 or 1"),
        (HEADER + "1\t1\t10\t0\ta\n", {"mode": "CTR"}, "train.csv has no row with label 1"),
        (HEADER + "1\t1\t10\t1\ta\n", {}, "train.csv: no user has both a label 1 and a label 0 under one 'time'"),
        (HEADER + "1\t1\t10\t1\t\n", {"impression_key": "impression_id"}, "line 2: impression_id is missing"),
        (HEADER, {"impression_key": "session"}, "no column 'session'"),
        (HEADER, {"train_max_pos_item": 0}, "train_max_pos_item must be at least 1, got 0"),
    ],
)
def test_mistakes(write, text: str, options: dict, expected: str) -> None:
    folder = write(labelled=True, train=text)
    with pytest.raises(UserError, match=expected):
        load(folder.parent, "small", **{"mode": "Impression", **options})


def test_limits() -> None:
    limits = ListLimits(1, 2, 3, 4)
    assert (limits.of("train"), limits.of("dev"), limits.of("test")) == ((1, 2), (3, 4), (3, 4))


@pytest.mark.parametrize(("name", "key"), [("MIND_sample", "time"), ("ML_1MCTR", "impression_id")])
def test_real_lists(name: str, key: str) -> None:
    pd = pytest.importorskip("pandas")
    folder = real_data(name)
    data = load(folder.parent, name, "Impression", impression_key=key, test_max_pos_item=5, test_max_neg_item=3)
    table = pd.read_csv(folder / "test.csv", sep="\t")
    rows = Labelled(*(table[c].to_numpy() for c in ("user_id", "item_id", "time", "label")))
    assert as_tuples(data.test) == literal_lists(rows, table[key].to_numpy(), 5, 3)
