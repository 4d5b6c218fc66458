"""A person's own table, RecBole's atomic files and LightGCN's adjacency lists into the Top-k format."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ans_fast.data.description import Description
from ans_fast.data.own_table import Columns
from ans_fast.data.prepare.adjacency import read_adjacency
from ans_fast.data.prepare.rules import (
    N_NEGATIVES,
    Frames,
    by_order,
    drawn_order,
    drop_repeats,
    hold_out_last,
)
from ans_fast.data.prepare.sources import Source, find_source
from ans_fast.data.prepare.splits import split_rows
from ans_fast.data.prepare.write import write_set
from ans_fast.errors import UserError

_NAMED = 10  # unread files that are named; of more, how many there are


def convert(
    source: Path,
    target: Path,
    split: str,
    neg_items: bool | None,
    min_rating: float | None,
    seed: int,
    columns: Columns | None = None,
    sep: str = ",",
) -> list[str]:
    """Writes source's clicks as a Top-k set into the folder target; tells what its description does not, in lines.

    source: a CSV file, whose `columns` lie between `sep`; a .inter file; or a folder with one, with RecBole's
    NAME.train.inter, NAME.test.inter and perhaps NAME.valid.inter, or with LightGCN's train.txt, test.txt and perhaps
    valid.txt. split: "given" keeps the files' split; those of `split_rows`; "auto" is "given" where there is one, else
    "leave_one_out". Clicks of one time, all of them where the source has no times, count in an order drawn with `seed`.
    neg_items: whether dev and test get 99 unclicked items a row; None: after leave_one_out only. Raises UserError.
    """
    found = find_source(source, columns, sep)
    if split == "given" and len(found.files) == 1:
        raise UserError(f"{source} has no split of its own; use --split leave_one_out")
    parts = _read(found, min_rating)
    read = sum(map(len, parts))
    times = all("time" in part for part in parts)
    own_split = len(parts) > 1 and split in ("auto", "given")
    how = "leave_one_out" if split in ("auto", "given") else split
    if own_split:
        parts = [drop_repeats(part) for part in parts]
        frames, told = _given(parts, times, seed, found)
    else:
        parts = [drop_repeats(pd.concat(parts, ignore_index=True))]
        frames, told = split_rows(parts[0] if times else parts[0][["user", "item"]], how, seed, where=str(source))
    by_row = not own_split and how == "leave_one_out"
    drawn = by_row if neg_items is None else neg_items
    description = Description(
        source=found.told,
        split=told,
        seed=seed if drawn or not (own_split and len(parts) == 3) else None,
        times=times,
        rank="row" if by_row or drawn else "user",
        dropped_duplicates=read - sum(map(len, parts)),
        own_ids=True,
    )
    write_set(
        target,
        frames if times else by_order(frames),
        description,
        neg_items=drawn,
        advice="--neg_items 0 ranks all items instead",
    )
    return _told(description.rank, drawn, found.unread)


def _read(found: Source, min_rating: float | None) -> list[pd.DataFrame]:
    if min_rating is None:
        return [found.read(file) for file in found.files]
    if found.read is read_adjacency:
        raise UserError("--min_rating needs ratings, which adjacency lists do not have")
    return [found.read(file, min_rating) for file in found.files]


def _given(parts: list[pd.DataFrame], times: bool, seed: int, found: Source) -> tuple[Frames, str]:
    if len(parts) == 3:
        return tuple(parts), "its own"
    train, test = parts
    rest, dev = hold_out_last(drawn_order(train, times, seed))
    if dev.empty:
        raise UserError(f"{found.files[0]}: no user has two items, of which one could be dev's; give a valid file")
    drawn = (
        f"last train click by time, ties drawn with seed {seed}," if times else f"train click drawn with seed {seed}"
    )
    return (rest.sort_index(), dev.sort_index(), test), f"its own, and a user's {drawn} for dev"


def _told(rank: str, drawn: bool, unread: tuple[str, ...]) -> list[str]:
    ranked = f"{N_NEGATIVES} neg_items a row" if drawn else f"all items, each {rank} ranked once"
    more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    return [f"candidates: {ranked}", *([f"not read: {', '.join(unread[:_NAMED])}{more}"] if unread else [])]
