"""Prediction files by ReChorus's names and columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ans_fast.files import write_atomically
from ans_fast.runner.evaluate import ClickEvaluator, Evaluator, ListEvaluator

BEST = 100  # recommendations a row
DIGITS = 6


def write_predictions(path: Path, evaluator: Evaluator, state: Any, sep: str) -> None:
    """One row a row of the evaluator, by `sep`, quoted where csv's rules ask for it. Lists are written `[3, 17]`; rows
    keep their order: that of the split, or of ids where each user is ranked once. Of several processes the leader
    writes.

    TopK: user_id, rec_items, rec_predictions, the best 100. Impression: user_id, pos_items, pos_predictions, neg_items,
    neg_predictions. CTR: user_id, item_id, pCTR, label.
    """
    users = evaluator.rows.users.tolist()
    if isinstance(evaluator, ClickEvaluator):
        rows = evaluator.rows
        columns = {
            "user_id": users,
            "item_id": rows.items.tolist(),
            "pCTR": _numbers(evaluator.scores(state)).tolist(),
            "label": rows.labels.int().tolist(),
        }
    elif isinstance(evaluator, ListEvaluator):
        columns = {"user_id": users, **_list_columns(evaluator, state)}
    else:
        columns = {"user_id": users, **_top_columns(evaluator, state)}
    if not evaluator.group.leads:
        return
    text = io.StringIO()
    writer = csv.writer(text, delimiter=sep, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_atomically(path, text.getvalue().encode())


def _top_columns(evaluator: Evaluator, state: Any) -> dict[str, list[str]]:
    items: list[str] = []
    scores: list[str] = []
    for best, values in evaluator.best(state, BEST):
        values = _numbers(values)
        kept = (values > -np.inf) | np.isnan(values)
        items += _lists(best.cpu().numpy(), kept)
        scores += _lists(values, kept)
    columns = {"rec_items": items, "rec_predictions": scores}
    parts, n_rows = evaluator.group.collect(columns), len(evaluator.rows)
    return {name: list(chain.from_iterable(part[name] for part in parts))[:n_rows] for name in columns}


def _list_columns(evaluator: ListEvaluator, state: Any) -> dict[str, list[str]]:
    rows, scores = evaluator.rows, _numbers(evaluator.scores(state))
    items, n_pos, n_neg = rows.items.cpu().numpy(), rows.n_pos.cpu().numpy()[:, None], rows.n_neg.cpu().numpy()[:, None]
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
    """Each row's kept values as "[1, 2]": one call of the C encoder writes them all."""
    if not len(values):
        return []
    if kept.all():
        rows = values.tolist()
    else:
        flat, ends = values[kept].tolist(), [0, *kept.sum(1).cumsum().tolist()]
        rows = [flat[begin:end] for begin, end in pairwise(ends)]
    return [f"[{row}]" for row in json.dumps(rows)[2:-2].split("], [")]
