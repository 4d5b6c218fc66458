"""Clicks into train, dev and test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ans_fast.data.description import told_time
from ans_fast.data.prepare.rules import Frames, drawn_order, known_only, leave_one_out
from ans_fast.errors import UserError

SPLITS = ("leave_one_out", "ratio", "time", "date")
DEV = TEST = 0.1  # the usual shares
_LEAVE_ONE_OUT = {  # by whether there are times
    True: "leave-one-out: a user's last click by time, ties drawn with seed {seed}, for test, the one before for dev",
    False: "leave-one-out without times: a user's clicks for test and dev drawn with seed {seed}",
}


def split_rows(
    rows: pd.DataFrame,
    how: str,
    seed: int,
    dev: float = DEV,
    test: float = TEST,
    test_from: float | None = None,
    where: str = "the table",
) -> tuple[Frames, str]:
    """The three parts of rows without repeats, and how they were made, in words.

    how: one of SPLITS. "leave_one_out": a user's last click is test, the one before dev, drawn where rows have no time.
    "ratio": of each user's clicks shares of `test` and of `dev` are drawn. "time": the latest clicks of all are test,
    the latest of the others dev, clicks of one time on the same side. "date": clicks from the time `test_from` on are
    test, of the earlier ones a share of `dev` is drawn; users without both, and items without an earlier click of such
    a user, are left out. where: names the rows in the UserError that is raised where a part would be empty.
    """
    times = "time" in rows
    if how not in SPLITS:
        raise UserError(f"split must be one of {', '.join(SPLITS)}, got {how!r}")
    if how in ("time", "date") and not times:
        raise UserError(f"{where}: a split by {how} needs times; name their column")
    if (how == "date") != (test_from is not None):
        raise UserError("test_from, the time of the first test click, goes with a split by date, and only with one")
    if not (dev > 0 and test > 0 and dev + test < 1):
        raise UserError(f"dev and test must be shares above 0 and below 1 together, got {dev} and {test}")
    shares = f"{dev:.0%} for dev, {test:.0%} for test"
    if how == "leave_one_out":
        frames = leave_one_out(drawn_order(rows, times, seed))
        told = _LEAVE_ONE_OUT[times].format(seed=seed)
        lacks = "no user has three items, as leave-one-out needs for train, dev and test"
    elif how == "ratio":
        frames = by_ratio(drawn_order(rows, False, seed), dev, test)
        told = f"by ratio: of each user's clicks {shares}, drawn with seed {seed}"
        lacks = f"no user has clicks enough for {shares}"
    elif how == "date":
        frames = _by_date(drawn_order(rows, False, seed), dev, test_from)
        first = told_time(test_from)
        told = f"by date: from {first} on for test, {dev:.0%} of what came before, drawn with seed {seed}, for dev"
        lacks = f"too few clicks come before {first}, or from then on, of users who have both"
    else:
        frames = _by_time(rows, dev, test)
        told = f"by time: of all clicks the latest {shares}"
        lacks = f"there are too few different times for {shares}"
    if any(frame.empty for frame in frames):
        raise UserError(f"{where}: {lacks}")
    return frames, told


def by_ratio(rows: pd.DataFrame, dev: float, test: float) -> Frames:
    """Of each user's n rows the last floor(n · test) for test, the floor(n · dev) before them for dev."""
    groups = rows.groupby("user", sort=False)
    left, size = groups.cumcount(ascending=False), groups["item"].transform("size")
    n_test, n_dev = np.floor(size * test + 1e-9), np.floor(size * dev + 1e-9)
    in_test = left < n_test
    in_dev = ~in_test & (left < n_test + n_dev)
    return rows[~in_test & ~in_dev], rows[in_dev], rows[in_test]


def _by_time(rows: pd.DataFrame, dev: float, test: float) -> Frames:
    """Cut at the times of the first row that the shares give to dev, and to test."""
    ordered = np.sort(rows.time.to_numpy())
    first_dev, first_test = (ordered[int(len(ordered) * (1 - share))] for share in (dev + test, test))
    return (
        rows[rows.time < first_dev],
        rows[(rows.time >= first_dev) & (rows.time < first_test)],
        rows[rows.time >= first_test],
    )


def _by_date(rows: pd.DataFrame, dev: float, test_from: float) -> Frames:
    """Of the earlier rows the last floor(share · dev) for dev."""
    is_late = rows.time.to_numpy() >= test_from
    early, late = rows[~is_late], rows[is_late]
    early = early[early.user.isin(late.user)]
    n_train = len(early) - int(len(early) * dev + 1e-9)
    return early[:n_train], early[n_train:], known_only(late, early)
