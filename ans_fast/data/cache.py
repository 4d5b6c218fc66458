"""What a reader made of large CSV files, kept as an .npz beside them under their fingerprint.

No pickle: plain arrays only. A stale, cut or damaged file is never used: the key is in its name, zip checks the rest.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from ans_fast.data.dataset import Dataset, ImpressionLists, Interactions, Labelled, TopKSplit
from ans_fast.data.files import SPLIT_FILES
from ans_fast.errors import UserError
from ans_fast.files import atomic_file

_FORMAT = 1  # a new number with every change of what the readers or this file make of the same CSVs
_WORTHWHILE = 8 << 20  # bytes of CSV: smaller sets are read about as fast as their cache
_SPLITS = ("train", "dev", "test")
_SPLIT_TYPES = {"TopK": TopKSplit, "Impression": ImpressionLists, "CTR": Labelled}


def cached(
    read: Callable[[], Dataset], name: str, mode: str, folder: Path, sep: str, fingerprint: str, regenerate: bool
) -> Dataset:
    """What read() gives, from the cache where that holds the fingerprint; `regenerate` reads and replaces it.

    A cache that cannot be written is done without.
    """
    if sum((folder / file).stat().st_size for file in SPLIT_FILES) < _WORTHWHILE:
        return read()
    file_name = f".ans_fast-{mode}-{_FORMAT}-{fingerprint}.npz"
    paths = [home / file_name for home in (folder, _user_cache(name)) if home]
    for path in () if regenerate else paths:
        arrays = _load(path)
        if arrays:
            n_users, n_items = arrays.pop("sizes").tolist()
            parts = {part: kind(**_of(part, arrays)) for part, kind in _types(mode).items() if _of(part, arrays)}
            parts.setdefault("clicks", parts["train"])
            return Dataset(name, mode, n_users, n_items, folder=folder, sep=sep, **parts)
    dataset = read()
    any(_save(path, dataset) for path in paths)
    return dataset


def _user_cache(name: str) -> Path | None:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ans_fast" / name
    except RuntimeError:  # no home folder
        return None


def _types(mode: str) -> dict[str, type]:
    return {"clicks": Interactions, "later_clicks": Interactions, **dict.fromkeys(_SPLITS, _SPLIT_TYPES[mode])}


def _of(part: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{part}."): values for name, values in arrays.items() if name.startswith(f"{part}.")}


def _save(path: Path, dataset: Dataset) -> bool:
    """Writes the cache and drops older ones of the mode there; False where the folder is not to be written."""
    arrays = {"sizes": np.array([dataset.n_users, dataset.n_items])}
    for part, kind in _types(dataset.mode).items():
        if part == "clicks" and dataset.clicks is dataset.train:
            continue
        for field in fields(kind):
            values = getattr(getattr(dataset, part), field.name)
            if values is not None:
                arrays[f"{part}.{field.name}"] = values.astype(np.int32) if values.dtype == np.int64 else values
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.stat().st_mode & 0o222:  # marked read-only, which would not hold root back
            return False
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
        for other in path.parent.glob(f".ans_fast-{dataset.mode}-*.npz"):
            if other != path:
                other.unlink(missing_ok=True)
    except (OSError, UserError):
        return False
    return True


def _load(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays in the file, ids and counts as int64; None where there is no file, or none that is whole."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return {name: a.astype(np.int64) if a.dtype == np.int32 else a for name, a in arrays.items()}
