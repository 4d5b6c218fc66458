"""Rows to impression lists by sorting and index arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ans_fast.data.dataset import ImpressionLists, Labelled
from ans_fast.errors import UserError


@dataclass(frozen=True)
class ListLimits:
    """How many clicked and other items of a list are kept, the first ones; the names are ReChorus's flags."""

    train_max_pos_item: int = 20
    train_max_neg_item: int = 20
    test_max_pos_item: int = 20
    test_max_neg_item: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise UserError(f"{field.name} must be at least 1, got {getattr(self, field.name)}")

    def of(self, split: str) -> tuple[int, int]:
        """The largest numbers of clicked and of other items in a list of "train", "dev" or "test"."""
        if split == "train":
            return self.train_max_pos_item, self.train_max_neg_item
        return self.test_max_pos_item, self.test_max_neg_item


def make_lists(rows: Labelled, keys: np.ndarray, max_pos: int, max_neg: int) -> ImpressionLists:
    """One list for each user and key [R ≥ 1], ordered by these.

    An item that comes twice with the same label counts once, at its first place. Of the clicked and of the other items
    the first max_pos and max_neg in file order are kept. Lists without either are dropped; L may be 0.
    """
    order = np.lexsort((keys, rows.users))
    users, keys, items, times = (column[order] for column in (rows.users, keys, rows.items, rows.times))
    begins = np.append(True, (users[1:] != users[:-1]) | (keys[1:] != keys[:-1]))
    first_rows = np.flatnonzero(begins)
    groups = 2 * (np.cumsum(begins) - 1) + (rows.labels[order] == 0)  # 2 l: clicks of list l, 2 l + 1: the others

    fresh = _first_occurrences(groups, items)
    fresh = fresh[np.argsort(groups[fresh], kind="stable")]
    groups, items = groups[fresh], items[fresh]
    sizes = np.bincount(groups, minlength=2 * len(first_rows))
    place = np.arange(len(groups)) - (np.cumsum(sizes) - sizes)[groups]

    n_pos, n_neg = np.minimum(sizes[0::2], max_pos), np.minimum(sizes[1::2], max_neg)
    whole = (n_pos > 0) & (n_neg > 0)
    lists, is_other = groups >> 1, groups & 1
    kept = whole[lists] & (place < np.where(is_other, max_neg, max_pos))
    row = (np.cumsum(whole) - 1)[lists[kept]]
    column = (place + is_other * n_pos[lists])[kept]
    matrix = np.zeros((int(whole.sum()), int((n_pos + n_neg)[whole].max(initial=0))), np.int64)
    matrix[row, column] = items[kept]
    at = first_rows[whole]
    return ImpressionLists(users[at], matrix, n_pos[whole], n_neg[whole], times[at])


def _first_occurrences(groups: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Where each (group, item) pair comes first, ascending."""
    order = np.lexsort((items, groups))
    again = (groups[order][1:] == groups[order][:-1]) & (items[order][1:] == items[order][:-1])
    return np.sort(order[np.append(True, ~again)])
