"""Prediction files by ReChorus's names and columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ans_fast.data import Dataset
from ans_fast.errors import UserError
from ans_fast.files import write_atomically
from ans_fast.runner.evaluate import ClickEvaluator, Evaluator, ListEvaluator

BEST = 100  # recommendations a row
DIGITS = 6


@dataclass(frozen=True)
class Names:
    """What users and items are called in the file, by their ids: arrays [n_users] and [n_items], or None for the ids
    themselves."""

    users: np.ndarray | None = None
    items: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Names:
        """The source's ids where the set's description says so."""
        if not dataset.description.own_ids:
            return cls()
        if dataset.protocol is not None:  # ids counted from 0, which is padding here
            return cls(np.arange(-1, dataset.n_users - 1), np.arange(-1, dataset.n_items - 1))
        from ans_fast.data.ids import read_ids  # imports pandas, which a set in a cache does without

        names = cls(*read_ids(dataset.folder))
        for what, own, n in (("users", names.users, dataset.n_users), ("items", names.items, dataset.n_items)):
            if len(own) < n:
                raise UserError(f"{dataset.folder}: the id table has {len(own) - 1:,} {what}, the set {n - 1:,}")
        return names

    def of_users(self, ids: Tensor) -> list:
        """Of user ids [R]."""
        ids = ids.cpu().numpy()
        return (ids if self.users is None else self.users[ids]).tolist()

    def of_items(self, ids: Tensor) -> np.ndarray:
        """Of item ids of any shape."""
        ids = ids.cpu().numpy()
        return ids if self.items is None else self.items[ids]


def write_predictions(path: Path, evaluator: Evaluator, state: Any, sep: str, names: Names) -> None:
    """One row a row of the evaluator, by `sep`, quoted where csv's rules ask for it. Lists are written `[3, 17]`; rows
    keep their order: that of the split, or of ids where each user is ranked once. Of several processes the leader
    writes.

    TopK: user_id, rec_items, rec_predictions, the best 100. Impression: user_id, pos_items, pos_predictions, neg_items,
    neg_predictions. CTR: user_id, item_id, pCTR, label.
    """
    users = names.of_users(evaluator.rows.users)
    if isinstance(evaluator, ClickEvaluator):
        rows = evaluator.rows
        columns = {
            "user_id": users,
            "item_id": names.of_items(rows.items).tolist(),
            "pCTR": _numbers(evaluator.scores(state)).tolist(),
            "label": rows.labels.int().tolist(),
        }
    elif isinstance(evaluator, ListEvaluator):
        columns = {"user_id": users, **_list_columns(evaluator, state, names)}
    else:
        columns = {"user_id": users, **_top_columns(evaluator, state, names)}
    if not evaluator.group.leads:
        return
    text = io.StringIO()
    writer = csv.writer(text, delimiter=sep, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_atomically(path, text.getvalue().encode())


def _top_columns(evaluator: Evaluator, state: Any, names: Names) -> dict[str, list[str]]:
    items: list[str] = []
    scores: list[str] = []
    for best, values in evaluator.best(state, BEST):
        values = _numbers(values)
        kept = (values > -np.inf) | np.isnan(values)
        items += _lists(names.of_items(best), kept)
        scores += _lists(values, kept)
    columns = {"rec_items": items, "rec_predictions": scores}
    parts, n_rows = evaluator.group.collect(columns), len(evaluator.rows)
    return {name: list(chain.from_iterable(part[name] for part in parts))[:n_rows] for name in columns}


def _list_columns(evaluator: ListEvaluator, state: Any, names: Names) -> dict[str, list[str]]:
    rows, scores = evaluator.rows, _numbers(evaluator.scores(state))
    items = names.of_items(rows.items)
    n_pos, n_neg = rows.n_pos.cpu().numpy()[:, None], rows.n_neg.cpu().numpy()[:, None]
    column = np.arange(items.shape[1])
    clicked, other = column < n_pos, (column >= n_pos) & (column < n_pos + n_neg)
    return {
        "pos_items": _lists(items, clicked),
        "pos_predictions": _lists(scores, clicked),
        "neg_items": _lists(items, other),
        "neg_predictions": _lists(scores, other),
    }


def _numbers(scores: Tensor) -> np.ndarray:
    return scores.double().cpu().numpy().round(DIGITS)


def _lists(values: np.ndarray, kept: np.ndarray) -> Iterable[str]:
    """Each row's kept values as "[1, 2]": one call of the C encoder writes all that are numbers."""
    if not len(values):
        return []
    if values.dtype == object:
        return [json.dumps(row[own].tolist(), ensure_ascii=False) for row, own in zip(values, kept, strict=True)]
    if kept.all():
        rows = values.tolist()
    else:
        flat, ends = values[kept].tolist(), [0, *kept.sum(1).cumsum().tolist()]
        rows = [flat[begin:end] for begin, end in pairwise(ends)]
    return [f"[{row}]" for row in json.dumps(rows)[2:-2].split("], [")]
