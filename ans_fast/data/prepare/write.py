"""Writing a data set's folder: three CSV files, the id mappings, perhaps item_meta.csv; all of it or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ans_fast.data.files import DESCRIPTION_FILE, META_FILE, SPLIT_FILES
from ans_fast.data.prepare.rules import draw_negatives, renumber
from ans_fast.errors import UserError
from ans_fast.files import atomic_folder

SPLITS = ("train", "dev", "test")
_MAPPINGS = ("user2newid.json", "item2newid.json")


def write_set(
    target: Path,
    frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
    columns: list[str],
    negatives_seed: int | None = None,
    distinct: bool = True,
    item_meta: pd.DataFrame | None = None,
) -> None:
    """Writes train, dev and test with new ids from 1 (by sorted old ids), time and the further `columns`.

    negatives_seed: dev and test get neg_items drawn with it. item_meta: an `item` column of old ids and what to keep
    by new item_id; items that no frame has are left out. A set that is there is replaced whole. Raises UserError
    where a split is empty, or target holds something else than a set.
    """
    _check_replaceable(target)
    for split, frame in zip(SPLITS, frames, strict=True):
        if frame.empty:
            raise UserError(f"the {split} split would be empty; is this the whole download?")
    users, user_ids = renumber(list(frames), "user")
    items, item_ids = renumber(list(frames), "item")
    clicks = np.stack([np.concatenate(users), np.concatenate(items)], axis=1)
    rng = np.random.default_rng(negatives_seed)
    with atomic_folder(target) as folder:
        for split, frame, user, item in zip(SPLITS, frames, users, items, strict=True):
            table = pd.DataFrame({"user_id": user, "item_id": item, "time": _whole(frame.time)})
            for name in columns:
                table[name] = frame[name].to_numpy()
            if negatives_seed is not None and split != "train":
                table["neg_items"] = draw_negatives(user, clicks, len(item_ids), rng, distinct).tolist()
            table.to_csv(folder / f"{split}.csv", sep="\t", index=False)
        if item_meta is not None:
            known = item_meta[item_meta["item"].isin(list(item_ids))]
            meta = known.drop(columns="item")
            meta.insert(0, "item_id", known["item"].map(item_ids).astype(np.int64))
            meta.sort_values("item_id").to_csv(folder / META_FILE, sep="\t", index=False)
        for name, mapping in zip(_MAPPINGS, (user_ids, item_ids), strict=True):
            (folder / name).write_text(json.dumps(mapping))


def _check_replaceable(target: Path) -> None:
    """UserError where target is a folder with files that are no set's, a download perhaps: they would be lost."""
    known = {*SPLIT_FILES, META_FILE, DESCRIPTION_FILE, *_MAPPINGS}
    for path in sorted(target.iterdir()) if target.is_dir() else ():
        if path.name not in known and not path.name.lstrip(".").startswith("ans_fast-"):
            raise UserError(
                f"{target} holds {path.name}, which is no file of a data set, and would be replaced whole; "
                "remove that or write elsewhere"
            )


def _whole(times: pd.Series) -> np.ndarray:
    """Times as int64 where none has a fraction."""
    values = times.to_numpy()
    return values.astype(np.int64) if np.all(values == np.floor(values)) else values
