"""A person's own table: ids of any type come back as they were, faults name the row, splits follow their rules."""

from __future__ import annotations

import datetime
import re
import sys
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ans_fast import Interactions, UserError
from ans_fast.data.ids import Ids


def table(users: list, items: list, **more: list) -> pd.DataFrame:
    return pd.DataFrame({"user": users, "item": pd.Series(items, dtype=None), **more})


def pairs(interactions: Interactions) -> set[tuple]:
    frame = interactions.to_dataframe()
    return {*zip(frame.user, frame.item, strict=True)}


@pytest.mark.parametrize(
    "ids",
    [
        ["x", "007", "7"],
        [30, -4, 2**60 + 1],
        [1.5, 2.0, -7.25],
        [(1, 2), (1,), ("a", 2)],
        ["a", 1, 2.5],
        [uuid.UUID(int=5), uuid.UUID(int=1), uuid.UUID(int=9)],
        [datetime.date(2024, 1, 2), datetime.date(2023, 1, 2), datetime.date(2022, 1, 2)],
        pd.Categorical(["q", "p", "r"], categories=["r", "q", "p", "never"]),
    ],
    ids=lambda ids: type(ids[0]).__name__,
)
def test_ids_come_back(ids: list) -> None:
    made = Interactions.from_dataframe(table(["u", "v", "u"], ids))
    assert pairs(made) == {*zip(["u", "v", "u"], ids, strict=True)}
    assert made.n_items == 3
    assert sorted(made.item_ids.find(list(ids)).tolist()) == [0, 1, 2]
    assert [made.item_ids[made.item_ids.numbers([one])][0] for one in ids] == list(ids)


def test_numbers_do_not_depend_on_the_rows_order() -> None:
    frame = table(list("cab"), [9, 7, 8])
    forth, back = Interactions.from_dataframe(frame), Interactions.from_dataframe(frame[::-1])
    assert forth.users.tolist() == back.users[::-1].tolist() == [2, 0, 1]
    assert forth.items.tolist() == [2, 0, 1]


def test_the_earliest_of_repeats_counts_and_they_are_told() -> None:
    made = Interactions.from_dataframe(table(list("aabaa"), [1, 1, 1, 2, 1], time=[5, 3, 9, 4, 7]), time="time")
    assert made.duplicates == 2
    assert "2 repeated ones left out" in repr(made)
    assert [*zip(made.users, made.items, made.times, strict=True)] == [(0, 0, 3), (1, 0, 9), (0, 1, 4)]
    assert made.graph.n_edges == 3


def test_dates_of_all_years() -> None:
    times = ["0001-01-01", "1969-12-31 23:59:59.5", "9999-12-31"]
    made = Interactions.from_dataframe(table(list("abc"), [1, 2, 3], time=times), time="time")
    assert made.times.tolist() == [-62_135_596_800, -0.5, 253_402_214_400]


@pytest.mark.parametrize(
    "times",
    [
        ["2024-01-01", "2024-01-01 01:00:00", "2024-01-01T02:00+02:00"],
        pd.to_datetime(["2024-01-01", "2024-01-01 01:00", "2024-01-01"], format="ISO8601"),
        [1_704_067_200, 1_704_070_800, 1_704_067_200],
    ],
)
def test_dates_are_seconds_in_utc(times: list) -> None:
    made = Interactions.from_dataframe(table(list("abc"), [1, 2, 3], time=times), time="time")
    assert made.times.tolist() == [1_704_067_200, 1_704_070_800, 1_704_067_200]


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"user": ["a", None]}, {}, "row 1 of the table: user is missing"),
        ({"item": [1.0, np.nan]}, {}, "row 1 of the table: item is missing"),
        ({"when": [1, np.inf]}, {"time": "when"}, "row 1 of the table: when is inf, expected a number or a date"),
        ({"when": ["2024-01-01", "soon"]}, {"time": "when"}, "row 1 of the table: when is 'soon', expected a number"),
        ({"when": [3, 10**400]}, {"time": "when"}, "row 1 of the table: when is 1000.*, expected a number"),
        ({"stars": [5, -(10**400)]}, {"label": "stars"}, "row 1 of the table: stars is -1000.*, expected a number"),
        ({"when": [3, None]}, {"time": "when"}, "row 1 of the table: when is missing"),
        ({"stars": ["5", "?"]}, {"label": "stars"}, r"row 1 of the table: stars is '\?', expected a number"),
        ({"stars": [3, 2]}, {"label": "stars", "min_label": 4}, "the table has no row with a stars of at least 4"),
        ({}, {"user": "customer"}, "the table has no column 'customer', but 'user', 'item'"),
        ({}, {"item": "user"}, "user, item, time and label must be different columns, got user, user"),
        ({"item": [["x"], ["y"]]}, {}, "item must hold ids that can be hashed"),
        ({"user": [], "item": []}, {}, "the table has no rows"),
    ],
)
def test_mistakes(columns: dict, options: dict, expected: str) -> None:
    frame = pd.DataFrame({"user": ["a", "b"], "item": [1, 2]} | columns)
    with pytest.raises(UserError, match=expected):
        Interactions.from_dataframe(frame, **options)


def test_labels() -> None:
    frame = table(list("abab"), [1, 1, 2, 2], stars=[5, 3, 4, 1])
    assert pairs(Interactions.from_dataframe(frame, label="stars", min_label=4)) == {("a", 1), ("a", 2)}


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text('who;what;when\n"Ann, Lee";007;2024-01-01\n12;8;2024-01-02\n\n12;8;2024-01-03\n')
    made = Interactions.from_csv(path, "who", "what", "when", sep=";")
    assert pairs(made) == {("Ann, Lee", "007"), ("12", "8")}
    assert (made.duplicates, made.times.tolist()) == (1, [1_704_067_200, 1_704_153_600])
    path.write_text("user,item\n12,8\n-3,0\n")
    assert pairs(Interactions.from_csv(path)) == {(12, 8), (-3, 0)}
    path.write_text("user,item\n12,8\n,0\n")
    with pytest.raises(UserError, match=r"own.csv line 3: user is missing"):
        Interactions.from_csv(path)
    path.write_text("user,item,t\n12,8,1\n\n1,0,x\n")
    with pytest.raises(UserError, match=r"own.csv line 4: t is 'x', expected a number or a date"):
        Interactions.from_csv(path, time="t")


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.parquet"
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(UserError, match="from_parquet needs pyarrow: pip install pyarrow"):
            Interactions.from_parquet(path)
    pytest.importorskip("pyarrow")
    table(["a", "b"], [1, 2]).to_parquet(path)
    assert pairs(Interactions.from_parquet(path)) == {("a", 1), ("b", 2)}
    for bad in (tmp_path / "no", __file__):
        with pytest.raises(UserError, match=f"cannot read {re.escape(str(bad))}"):
            Interactions.from_parquet(bad)


def clicks(n_users: int = 20, each: int = 10, times: bool = True) -> Interactions:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": np.repeat([f"u{n}" for n in range(n_users)], each),
            "item": np.concatenate([rng.choice(30, each, replace=False) for _ in range(n_users)]),
            "time": rng.permutation(n_users * each) // 2,
        }
    )
    return Interactions.from_dataframe(frame, time="time" if times else None)


@pytest.mark.parametrize("how", ["leave_one_out", "ratio", "time"])
def test_parts_are_the_whole_and_share_its_ids(how: str) -> None:
    whole = clicks()
    parts = whole.split(how, seed=3)
    assert sorted(np.concatenate([p.users * 100 + p.items for p in parts])) == sorted(whole.users * 100 + whole.items)
    assert all(p.user_ids is whole.user_ids and p.graph.n_items == whole.n_items for p in parts)
    again = whole.split(how, seed=3)
    assert all((p.items == q.items).all() for p, q in zip(parts, again, strict=True))


def test_leave_one_out_takes_the_last() -> None:
    train, dev, test = clicks().split()
    assert sorted(dev.users.tolist()) == sorted(test.users.tolist()) == list(range(20))
    for user in range(20):
        latest = [part.times[part.users == user].max() for part in (train, dev, test)]
        assert latest == sorted(latest)


def test_ratio_takes_shares_of_each_user() -> None:
    train, dev, test = clicks(times=False).split("ratio", dev=0.2, test=0.3)
    assert [np.bincount(part.users).tolist() for part in (train, dev, test)] == [[5] * 20, [2] * 20, [3] * 20]
    other = clicks(times=False).split("ratio", dev=0.2, test=0.3, seed=1)
    assert any((a.items != b.items).any() for a, b in zip((train, dev, test), other, strict=True))


def test_time_cuts_between_times() -> None:
    train, dev, test = clicks().split("time", dev=0.105, test=0.205)
    assert train.times.max() < dev.times.min() <= dev.times.max() < test.times.min()
    assert abs(len(test) - 41) <= 1
    assert abs(len(dev) - 21) <= 2


@pytest.mark.parametrize(
    "first",
    [1_704_153_600, "2024-01-02", "2024-01-02T01:00+01:00", datetime.date(2024, 1, 2), pd.Timestamp("2024-01-02")],
)
def test_date_parts_what_came_before_from_the_rest(first) -> None:
    """c and 4 are seen too late to be learned from, b never again."""
    days = ["2024-01-01", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-02", "2024-01-01T23:59:59"]
    whole = Interactions.from_dataframe(table(list("aaaacb"), [1, 2, 3, 4, 1, 3], time=days), time="time")
    whole = Interactions.from_dataframe(
        pd.concat([whole.to_dataframe(), table(["d"] * 3, [1, 3, 2], time=[0, 9, 1_704_153_600])]), time="time"
    )
    train, dev, test = whole.split("date", dev=0.25, test_from=first)
    assert pairs(test) == {("a", 3), ("d", 2)}
    assert pairs(train) | pairs(dev) == {("a", 1), ("a", 2), ("d", 1), ("d", 3)}
    assert (len(dev), dev.user_ids is whole.user_ids) == (1, True)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: clicks(times=False).split("date", test_from=3), "a split by date needs times"),
        (lambda: clicks().split("date"), "test_from, the time of the first test click, goes with a split by date"),
        (lambda: clicks().split("time", test_from=3), "goes with a split by date, and only with one"),
        (
            lambda: clicks().split("date", test_from="spring"),
            "test_from must be a date such as 2014-04-01, or a number",
        ),
        (lambda: clicks().split("date", test_from=float("nan")), "test_from must be a date .*, got nan"),
        (lambda: clicks().split("date", test_from=[3]), r"test_from must be a date .*, got \[3\]"),
        (lambda: clicks().split("date", test_from=1e6), r"too few clicks come before 1e\+06, or from then on"),
        (lambda: clicks(times=False).split("time"), "a split by time needs times"),
        (lambda: clicks().split("thirds"), "split must be one of leave_one_out, ratio, time, date, got 'thirds'"),
        (
            lambda: clicks().split("ratio", dev=0.6, test=0.4),
            "dev and test must be shares above 0",
        ),
        (lambda: clicks().split("ratio", dev=float("nan")), "dev and test must be shares above 0"),
        (lambda: clicks(each=9).split("ratio"), "no user has clicks enough for 10% for dev, 10% for test"),
        (lambda: clicks(each=2).split(), "no user has three items"),
        (lambda: clicks(1, 2).split("time"), "there are too few different times"),
        (lambda: clicks().k_core(99), "no user and item has 99 clicks"),
    ],
)
def test_impossible_parts(make, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        make()


def test_k_core_goes_on_until_nothing_changes() -> None:
    made = Interactions.from_dataframe(table(list("aabbccd"), [1, 2, 1, 2, 2, 3, 3]))
    core = made.k_core(2)  # d has one click; without it item 3 has one, and then c
    assert pairs(core) == {("a", 1), ("a", 2), ("b", 1), ("b", 2)}
    assert (core.n_users, core.n_items, core.graph.n_edges) == (2, 2, 4)


def test_unknown_ids_are_named() -> None:
    ids = Ids("user", ["a", "b"])
    assert ids.find(["b", 3, None]).tolist() == [1, -1, -1]
    assert ids[np.array([[1, -1]])].tolist() == [["b", None]]
    with pytest.raises(UserError, match=r"user 'c' is not among the 2 known ones \(nor are 1 more\)"):
        ids.numbers(["c", "a", "d"])


@pytest.mark.parametrize("values", [["b", "a"], [5, 3]])
def test_ids_in_a_file(values: list) -> None:
    assert Ids("user", Ids("user", values).plain()).find(values).tolist() == [0, 1]
    with pytest.raises(UserError, match=r"item ids in a file must be text or whole numbers, got 1\.5"):
        Ids("item", ["a", 1.5]).plain()
