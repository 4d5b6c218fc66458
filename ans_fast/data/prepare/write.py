"""Writing a data set's folder: three CSV files, description, id mappings, perhaps item_meta.csv; all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.description import Description, write_description
from ans_fast.data.ids import write_ids
from ans_fast.data.prepare.rules import Frames, draw_negatives, renumber
from ans_fast.data.raw_files import DESCRIPTION_FILE, ID_FILES, META_FILE, SPLIT_FILES
from ans_fast.errors import UserError, reason
from ans_fast.files import atomic_folder

SPLITS = ("train", "dev", "test")


def write_set(
    target: Path,
    frames: Frames,
    description: Description,
    columns: tuple[str, ...] = (),
    neg_items: bool = False,
    item_meta: pd.DataFrame | None = None,
    advice: str = "is this the whole download?",
) -> None:
    """Writes train, dev and test with new ids from 1 (by sorted old ids), time and the further `columns`.

    neg_items: dev and test get some, drawn with the description's seed. item_meta: an `item` column of old ids and what
    to keep by new item_id; items that no frame has are left out. A set that is there is replaced whole. Raises
    UserError where target holds something else than a set, and with `advice` at its end where a split is empty or a
    user has left too few items for neg_items.
    """
    _check_replaceable(target)
    for split, frame in zip(SPLITS, frames, strict=True):
        if frame.empty:
            raise UserError(f"the {split} split would be empty; {advice}")
    users, user_ids = renumber(list(frames), "user")
    items, item_ids = renumber(list(frames), "item")
    clicks = np.stack([np.concatenate(users), np.concatenate(items)], axis=1)
    rng = np.random.default_rng(description.seed)
    tables = {}
    for split, frame, user, item in zip(SPLITS, frames, users, items, strict=True):
        table = pd.DataFrame({"user_id": user, "item_id": item, "time": _whole(frame.time)})
        for name in columns:
            table[name] = frame[name].to_numpy()
        if neg_items and split != "train":
            table["neg_items"] = draw_negatives(user, clicks, len(item_ids), rng, list(user_ids), advice).tolist()
        tables[split] = table
    with atomic_folder(target) as folder:
        for split, table in tables.items():
            table.to_csv(folder / f"{split}.csv", sep="\t", index=False)
        if item_meta is not None:
            known = item_meta[item_meta["item"].isin(list(item_ids))]
            meta = known.drop(columns="item")
            meta.insert(0, "item_id", known["item"].map(item_ids).astype(np.int64))
            meta.sort_values("item_id").to_csv(folder / META_FILE, sep="\t", index=False)
        write_ids(folder, user_ids, item_ids)
        write_description(folder, description)


def _check_replaceable(target: Path) -> None:
    """UserError where target is a folder with files that are no set's, a download perhaps: they would be lost."""
    known = {*SPLIT_FILES, META_FILE, DESCRIPTION_FILE, *ID_FILES}
    try:
        names = sorted(os.listdir(target)) if os.path.isdir(target) else []
    except OSError as error:
        raise UserError(f"cannot read {target}: {reason(error)}") from None
    for name in names:
        if name not in known and not name.lstrip(".").startswith("ans_fast-"):
            raise UserError(
                f"{target} holds {name}, which is no file of a data set, and would be replaced whole; "
                "remove that or write elsewhere"
            )


def _whole(times: pd.Series) -> np.ndarray:
    """Times as int64 where none has a fraction, nor is too large for a float64 to tell it from the next."""
    values = times.to_numpy()
    whole = np.all((values == np.floor(values)) & (np.abs(values) < 2**53))
    return values.astype(np.int64) if whole else values
