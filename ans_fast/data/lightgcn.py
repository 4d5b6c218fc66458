"""LightGCN's sets as its code reads them: train.txt and test.txt, `user item item …` a line, ids from 0.

Nothing is written: dev is cut from train in memory, the same with every seed of a run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.checks import table_rows
from ans_fast.data.dataset import Dataset, TopKSplit
from ans_fast.data.description import Description
from ans_fast.data.prepare.adjacency import read_adjacency
from ans_fast.data.prepare.rules import by_order, drawn_order, drop_repeats
from ans_fast.data.prepare.splits import by_ratio
from ans_fast.data.raw_files import LIST_FILES
from ans_fast.data.topk import of_splits
from ans_fast.errors import UserError

NAME = "lightgcn"
DEV = 0.1  # of each user's train clicks
SEED = 0  # of what dev gets
DESCRIPTION = Description(
    source=f"LightGCN's adjacency lists ({', '.join(LIST_FILES)})",
    split=f"its own, and {DEV:.0%} of each user's train clicks, drawn with seed {SEED}, for dev: not trained on",
    seed=SEED,
    times=False,
    rank="user",
    own_ids=True,
)


def read_lists(name: str, folder: Path) -> Dataset:
    """The data set whose LIST_FILES lie in folder; an id is the file's plus 1, since 0 is padding. Raises UserError."""
    train, test = (drop_repeats(read_adjacency(folder / file)) + 1 for file in LIST_FILES)
    train, dev, _ = by_ratio(drawn_order(train, by_time=False, seed=SEED), DEV, 0)
    if dev.empty:
        raise UserError(f"{folder / LIST_FILES[0]}: no user has clicks enough for {DEV:.0%} of them to be one")
    train, dev, test = map(_split, by_order((train.sort_index(), dev.sort_index(), test)))
    n_users, n_items = (
        table_rows(f"{who}_id", [getattr(split, f"{who}s") for split in (train, dev, test)], folder)
        for who in ("user", "item")
    )
    return of_splits(
        name, n_users, n_items, train, dev, test, folder=folder, protocol=NAME, protocol_description=DESCRIPTION
    )


def _split(frame: pd.DataFrame) -> TopKSplit:
    return TopKSplit(frame.user.to_numpy(), frame.item.to_numpy(), frame.time.to_numpy(np.float64))
