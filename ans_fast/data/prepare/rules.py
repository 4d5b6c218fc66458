"""The steps the published rules are made of. Frames have the columns user, item (original ids), time, perhaps label."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ans_fast.errors import UserError

N_NEGATIVES = 99
Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]  # train, dev, test
_PERIODS = np.array([8] * 5 + [0] * 4 + [1] * 2 + [2] * 2 + [3] * 3 + [4] * 2 + [5] * 2 + [6] * 2 + [7] * 2)  # by hour


def k_core(rows: pd.DataFrame, k: int = 5, rounds: int | None = None) -> pd.DataFrame:
    """The rows of users and items with at least k rows, of label 1 where they have labels, in `rounds` passes or until
    nothing changes. Raises UserError."""
    ids = [pd.factorize(rows[column])[0] for column in ("user", "item")]
    clicks = rows["label"].to_numpy() == 1 if "label" in rows else np.ones(len(rows), bool)
    left, done = np.arange(len(rows)), 0
    while rounds is None or done < rounds:
        keep = np.ones(len(left), bool)
        for numbers in ids:
            counts = np.bincount(numbers[left], weights=clicks[left])
            keep &= counts[numbers[left]] >= k
        if keep.all():
            break
        left, done = left[keep], done + 1
    if not len(left):
        raise UserError(f"no user and item has {k} clicks, so the {k}-core is empty")
    return rows.iloc[left].reset_index(drop=True)


def renumber(frames: list[pd.DataFrame], column: str) -> tuple[list[np.ndarray], dict]:
    """Ids from 1 for each frame's column, in the sorted order of the values in all frames; the mapping from old ids."""
    values = np.unique(np.concatenate([frame[column].to_numpy() for frame in frames]))
    mapping = dict(zip(values.tolist(), range(1, len(values) + 1), strict=True))
    return [np.searchsorted(values, frame[column].to_numpy()) + 1 for frame in frames], mapping


def add_time_context(rows: pd.DataFrame, utc_offset: float) -> pd.DataFrame:
    """Adds c_hour_c, c_weekday_c (Monday 0), c_period_c (0 … 8) and c_day_f (days since the first row's date).

    ReChorus took its machine's local time; utc_offset is that zone's distance from UTC in hours.
    """
    local = rows.time.to_numpy(np.float64) + 3600 * utc_offset
    days, hours = np.floor(local / 86_400).astype(np.int64), (local % 86_400 // 3600).astype(np.int64)
    return rows.assign(
        c_hour_c=hours, c_weekday_c=(days + 3) % 7, c_period_c=_PERIODS[hours], c_day_f=days - days.min()
    )


def known_only(rows: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """The rows whose user and item both occur in train."""
    return rows[rows.user.isin(train.user.unique()) & rows.item.isin(train.item.unique())]


def drop_repeats(rows: pd.DataFrame) -> pd.DataFrame:
    """Each user's first click on an item, by time where there is one, in the rows' order."""
    ordered = rows.sort_values("time", kind="stable") if "time" in rows else rows
    return ordered.drop_duplicates(["user", "item"]).sort_index()


def drawn_order(rows: pd.DataFrame, by_time: bool, seed: int) -> pd.DataFrame:
    """Rows without repeats in a random order, by_time: of the rows of one time; whatever order they come in."""
    known = rows.sort_values(["user", "item"])
    drawn = known.iloc[np.random.default_rng(seed).permutation(len(known))]
    return drawn.sort_values("time", kind="stable") if by_time else drawn


def hold_out_last(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without each user's last, and these; a user's only row is not held out."""
    last = rows.duplicated("user") & ~rows.duplicated("user", keep="last")
    return rows[~last], rows[last]


def leave_one_out(rows: pd.DataFrame) -> Frames:
    """Train, dev, test: of each user's rows in order the last is test, the one before dev; the first stays in train."""
    rest, test = hold_out_last(rows)
    return *hold_out_last(rest), test


def by_order(frames: Frames) -> Frames:
    """The frames with whole numbers as time: a user's rows of one in their order, and all of one before the next's."""
    timed, start = [], 0
    for frame in frames:
        time = start + frame.groupby("user").cumcount()
        timed.append(frame.assign(time=time))
        start = time.max() + 1
    return tuple(timed)


def draw_negatives(
    users: np.ndarray, clicks: np.ndarray, n_items: int, rng: np.random.Generator, own_ids: list, advice: str
) -> np.ndarray:
    """N_NEGATIVES different items from 1 … n_items a row that its user has not clicked: int64 [R, N_NEGATIVES].

    users int64 [R]; clicks int64 [P, 2] holds (user, item) pairs. Uniform without rejection of clicked items: the r-th
    unclicked one. Where a user has left too few, a UserError says so by own_ids[user - 1] and gives the advice.
    """
    pairs = np.unique(clicks, axis=0)
    starts = np.searchsorted(pairs[:, 0], np.arange(pairs[:, 0].max(initial=0) + 2))
    degree = np.diff(starts)
    allowed = n_items - degree[users]
    if (allowed < N_NEGATIVES).any():
        user = users[(allowed < N_NEGATIVES).argmax()]
        raise UserError(
            f"user {own_ids[user - 1]!r} has clicked {degree[user]} of {n_items} items, too many for {N_NEGATIVES} "
            f"unclicked ones; {advice}"
        )
    unclicked_before = pairs[:, 1] - 1 - (np.arange(len(pairs)) - starts[pairs[:, 0]])
    keys = pairs[:, 0] * (n_items + 1) + unclicked_before
    draws = (rng.random((len(users), N_NEGATIVES)) * allowed[:, None]).astype(np.int64)
    while True:
        order = np.argsort(draws, axis=1, kind="stable")
        ordered = np.take_along_axis(draws, order, axis=1)
        row, column = np.nonzero(ordered[:, 1:] == ordered[:, :-1])
        if not len(row):
            break
        draws[row, order[row, column + 1]] = (rng.random(len(row)) * allowed[row]).astype(np.int64)
    skipped = np.searchsorted(keys, users[:, None] * (n_items + 1) + draws, side="right") - starts[users][:, None]
    return draws + skipped + 1
