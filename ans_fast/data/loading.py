"""From a folder to a data set."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path

from ans_fast.data.cache import cached
from ans_fast.data.dataset import SPLIT_TYPES, Dataset, ImpressionLists, Labelled, TopKSplit
from ans_fast.data.demo import NAME as DEMO
from ans_fast.data.demo import write_demo
from ans_fast.data.impressions import ListLimits
from ans_fast.data.raw_files import LIST_FILES, SPLIT_FILES, check_name, fingerprint_of
from ans_fast.errors import UserError
from ans_fast.files import restore_folder

MODES = tuple(SPLIT_TYPES)
PROTOCOLS = ("lightgcn",)
_READERS = {  # imported when they are needed: pandas takes longer than a cache to read
    TopKSplit: "topk.read_topk",
    ImpressionLists: "labelled.read_impressions",
    Labelled: "labelled.read_ctr",
}


def load(
    path: str | Path,
    name: str,
    mode: str = "TopK",
    sep: str = "\t",
    impression_key: str = "time",
    train_max_pos_item: int = 20,
    train_max_neg_item: int = 20,
    test_max_pos_item: int = 20,
    test_max_neg_item: int = 20,
    protocol: str | None = None,
    regenerate: bool = False,
) -> Dataset:
    """The data set in the folder {path}/{name}: train.csv, dev.csv, test.csv with the columns that `mode` needs.

    impression_key and the four limits matter in Impression mode alone: rows of one user with one value of the column
    impression_key are one list, of which at most so many clicked and other items are kept (`test_…` for dev too).
    protocol "lightgcn", in TopK mode alone, reads LightGCN's train.txt and test.txt instead (`lightgcn.read_lists`).
    What was read of large CSV files is kept in a cache keyed by their contents and these options; `regenerate` rebuilds
    it. The set `demo` is generated where it is missing. Raises UserError with one line that names file, line or column.
    """
    limits = ListLimits(train_max_pos_item, train_max_neg_item, test_max_pos_item, test_max_neg_item)
    digest = fingerprint(path, name, mode, sep, impression_key, protocol, **asdict(limits))
    folder = _find(Path(path), name)
    if protocol is not None:
        from ans_fast.data.lightgcn import read_lists

        return replace(read_lists(name, folder), fingerprint=digest)

    def read() -> Dataset:
        module, _, reader = _READERS[SPLIT_TYPES[mode]].partition(".")
        read_files = getattr(importlib.import_module(f"ans_fast.data.{module}"), reader)
        return read_files(name, folder, sep, *((impression_key, limits) if _has_lists(mode) else ()))

    return replace(cached(read, name, mode, folder, sep, digest, regenerate), fingerprint=digest)


def fingerprint(
    path: str | Path,
    name: str,
    mode: str = "TopK",
    sep: str = "\t",
    impression_key: str = "time",
    protocol: str | None = None,
    **limits: int,
) -> str:
    """The fingerprint that `load` gives what it reads with these arguments; the tables are not read for it, so that it
    takes a moment. Raises UserError where the data set or a file is missing."""
    if mode not in MODES:
        raise UserError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    options = {"impression_key": impression_key, **asdict(ListLimits(**limits))} if _has_lists(mode) else {}
    if protocol is None:
        return fingerprint_of(_find(Path(path), name), SPLIT_FILES, [mode, sep, options])
    if protocol not in PROTOCOLS or mode != TopKSplit.mode:
        raise UserError(
            f"protocol must be {' or '.join(PROTOCOLS)} in {TopKSplit.mode} mode, got {protocol!r} in {mode}"
        )
    return fingerprint_of(_find(Path(path), name), LIST_FILES, [mode, protocol])


def _has_lists(mode: str) -> bool:
    return SPLIT_TYPES[mode] is ImpressionLists


def data_sets(path: str | Path) -> list[str]:
    """The names of the data sets in the folder."""
    return sorted(f.parent.name for f in Path(path).glob("*/train.csv"))


def _find(path: Path, name: str) -> Path:
    check_name(name, "the data set's name")
    folder = path / name
    if not os.path.lexists(folder):
        with contextlib.suppress(OSError):
            restore_folder(folder)
    if name == DEMO and not os.path.lexists(folder):
        logging.info("Writing the synthetic demo set to %s", folder)
        write_demo(folder)
    if os.path.isdir(folder):
        return folder
    there = data_sets(path)
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.4)
    raise UserError(
        f"no data set {name!r} in {path} (no folder {folder}); "
        + (f"there: {', '.join(there)}" if there else "no data set is there")
        + (f"; did you mean {close[0]}?" if close else "; give its folder's parent as --path")
    )
