"""Reading data sets: `load(path, name)` reads ReChorus's files and writes the synthetic `demo` set on first use."""

from __future__ import annotations

import difflib
import logging
from pathlib import Path

from ans_fast.data.dataset import Dataset, ImpressionLists, Interactions, Labelled, TopKSplit
from ans_fast.data.demo import NAME as DEMO
from ans_fast.data.demo import write_demo
from ans_fast.data.topk import read_topk
from ans_fast.errors import UserError

__all__ = ["Dataset", "ImpressionLists", "Interactions", "Labelled", "TopKSplit", "load"]

MODES = ("TopK", "Impression", "CTR")


def load(path: str | Path, name: str, mode: str = "TopK", sep: str = "\t") -> Dataset:
    """The data set in the folder {path}/{name}: train.csv, dev.csv, test.csv with the columns that `mode` needs.

    The set `demo` is generated where it is missing. Raises UserError with one line that names file, line or column.
    """
    if mode not in MODES:
        raise UserError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    folder = _find(Path(path), name)
    return read_topk(name, folder, sep)


def _find(path: Path, name: str) -> Path:
    folder = path / name
    if name == DEMO and not folder.exists():
        logging.info("Writing the synthetic demo set to %s", folder)
        write_demo(folder)
    if folder.is_dir():
        return folder
    there = sorted(f.parent.name for f in path.glob("*/train.csv"))
    close = difflib.get_close_matches(name, there, n=1, cutoff=0.4)
    raise UserError(
        f"no data set {name!r} in {path} (no folder {folder}); "
        + (f"there: {', '.join(there)}" if there else "no data set is there")
        + (f"; did you mean {close[0]}?" if close else "; give its folder's parent as --path")
    )
