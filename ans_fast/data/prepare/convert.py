"""Clicks of any source into the Top-k format: read, filtered, split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ans_fast.data.description import Description
from ans_fast.data.prepare.rules import (
    N_NEGATIVES,
    Frames,
    by_order,
    drawn_order,
    drop_repeats,
    hold_out_last,
    k_core,
)
from ans_fast.data.prepare.sources import Source
from ans_fast.data.prepare.splits import split_rows
from ans_fast.data.prepare.write import write_set
from ans_fast.errors import UserError

_NAMED = 10  # unread files that are named; of more, how many there are


@dataclass(frozen=True)
class Rules:
    """What becomes of a source's clicks.

    split: "given" keeps the files' split; those of `split_rows`; "auto" is "given" where there is one, else
    "leave_one_out". Clicks of one time, all of them where the source has no times, count in an order drawn with `seed`.
    test_from: of a split by date. min_rating: of ratings that are clicks. k_core: clicks that users and items have at
    least, of what is left; None: all stay. neg_items: whether dev and test get 99 unclicked items a row; None: after
    leave_one_out only.
    """

    split: str = "auto"
    test_from: float | None = None
    min_rating: float | None = None
    k_core: int | None = None
    neg_items: bool | None = None
    seed: int = 0


def convert(found: Source, target: Path, rules: Rules) -> list[str]:
    """Writes the source's clicks as a Top-k set into the folder target; tells what its description does not, in lines.
    Of clicks that a user repeats on an item the earliest counts. Raises UserError."""
    own_split = len(found.files) > 1 and rules.split in ("auto", "given")
    if rules.split == "given" and not own_split:
        raise UserError(f"{found.path} has no split of its own; use --split leave_one_out")
    if own_split and (rules.k_core is not None or rules.test_from is not None):
        flag = "--test_from" if rules.k_core is None else "--k_core"
        raise UserError(f"{found.path} has its own split, which {flag} would change; choose another --split")
    how = "leave_one_out" if rules.split in ("auto", "given") else rules.split
    parts = _read(found, rules.min_rating)
    read = sum(map(len, parts))
    times = all("time" in part for part in parts)
    if own_split:
        parts = [drop_repeats(part) for part in parts]
        frames, told = _given(parts, times, rules.seed, found)
    else:
        rows = pd.concat(parts, ignore_index=True)
        parts = [drop_repeats(rows if times else rows[["user", "item"]])]
        rows = parts[0] if rules.k_core is None else k_core(parts[0], rules.k_core)
        frames, told = split_rows(rows, how, rules.seed, test_from=rules.test_from, where=str(found.path))
    by_row = not own_split and how == "leave_one_out"
    drawn = by_row if rules.neg_items is None else rules.neg_items
    description = Description(
        source=", ".join([found.told, *_filters(rules)]),
        split=told,
        seed=rules.seed if drawn or not (own_split and len(parts) == 3) else None,
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
    if not found.rated:
        raise UserError(f"--min_rating needs ratings, which {found.kind} do not have")
    return [found.read(file, min_rating) for file in found.files]


def _filters(rules: Rules) -> list[str]:
    rated = [] if rules.min_rating is None else [f"ratings of at least {rules.min_rating:g}"]
    return rated + ([] if rules.k_core is None else [f"{rules.k_core}-core"])


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
