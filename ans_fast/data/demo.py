"""The demo set: synthetic clicks of 2,000 users on 1,000 items, written as ReChorus Top-k files on first use.

Users and items live in taste clusters: 60 % of a user's clicks fall in a favourite cluster, 25 % in a second one, the
rest anywhere; within a cluster the click probability follows a long-tailed popularity. How much a user clicks is
long-tailed too. The last click in time is test, the one before it dev, each with 99 uniformly drawn unclicked items.
No person and no shop stands behind it; the numbers say nothing about other data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ans_fast.files import atomic_folder

NAME = "demo"
N_USERS, N_ITEMS, N_CLUSTERS, N_NEGATIVES = 2000, 1000, 20, 99
SEED = 2023
_START, _YEAR = 1_640_995_200, 365 * 86_400  # seconds: 2022-01-01


def write_demo(target: Path, seed: int = SEED) -> None:
    """Writes train.csv, dev.csv and test.csv into the folder `target`, the same bytes for the same seed."""
    rng = np.random.default_rng(seed)
    users, items, times, ranks, clicked = _clicks(rng)
    negatives = _first_columns(np.where(clicked, np.inf, rng.random(clicked.shape)), N_NEGATIVES)
    with atomic_folder(target) as folder:
        for name, rows in (("train", ranks > 1), ("dev", ranks == 1), ("test", ranks == 0)):
            u, i, t = users[rows], items[rows], times[rows]
            cells = [u + 1, i + 1, t] if name == "train" else [u + 1, i + 1, t, (negatives[u] + 1).tolist()]
            header = "user_id\titem_id\ttime" + ("" if name == "train" else "\tneg_items")
            lines = ["\t".join(map(str, row)) for row in zip(*cells, strict=True)]
            (folder / f"{name}.csv").write_text("\n".join([header, *lines, ""]))


def _clicks(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """users, items, times, ranks from each user's last click, all [R] by time; clicked bool [N_USERS, N_ITEMS]."""
    cluster = np.arange(N_ITEMS) % N_CLUSTERS
    popularity = (np.argsort(np.argsort(rng.random(N_ITEMS))) + 10.0) ** -0.8
    first = (rng.random(N_USERS) * N_CLUSTERS).astype(np.int64)
    second = (first + 1 + (rng.random(N_USERS) * (N_CLUSTERS - 1)).astype(np.int64)) % N_CLUSTERS
    taste = np.full((N_USERS, N_CLUSTERS), 0.15 / (N_CLUSTERS - 2))
    np.put_along_axis(taste, first[:, None], 0.60, axis=1)
    np.put_along_axis(taste, second[:, None], 0.25, axis=1)
    share = popularity / np.bincount(cluster, popularity)[cluster]
    amount = np.clip(5 + 26 * -np.log1p(-rng.random(N_USERS)), 5, 200).astype(np.int64)

    # the smallest of exponential waiting times with rates p are a draw without replacement with probabilities p
    waiting = -np.log1p(-rng.random((N_USERS, N_ITEMS))) / (taste[:, cluster] * share)
    order = np.argsort(waiting, axis=1, kind="stable")
    clicked = np.zeros((N_USERS, N_ITEMS), bool)
    np.put_along_axis(clicked, order, np.arange(N_ITEMS) < amount[:, None], axis=1)

    users, items = np.nonzero(clicked)
    times = _START + (rng.random(len(users)) * _YEAR).astype(np.int64)
    latest_first = np.lexsort((items, -times, users))
    ranks = np.empty(len(users), np.int64)
    ranks[latest_first] = np.arange(len(users)) - (np.cumsum(amount) - amount)[users[latest_first]]
    by_time = np.lexsort((items, users, times))
    return users[by_time], items[by_time], times[by_time], ranks[by_time], clicked


def _first_columns(keys: np.ndarray, count: int) -> np.ndarray:
    """The column indices of each row's `count` smallest keys, [N_USERS, count]."""
    return np.argsort(keys, axis=1, kind="stable")[:, :count]
