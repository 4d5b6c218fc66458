"""Arrays that were read from large CSV files, kept as an .npz beside them under their fingerprint.

No pickle: plain arrays only. A stale, damaged or forged file is never used: the fingerprint is in its name, and what
it holds passes zip's checksums and the checks of `check_dataset`, or is read again from the CSVs.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from ans_fast.data.checks import check_dataset
from ans_fast.data.dataset import SPLIT_TYPES, Dataset, Events
from ans_fast.data.raw_files import SPLIT_FILES
from ans_fast.errors import UserError
from ans_fast.files import atomic_file

_FORMAT = 2  # a new number with every change of what the readers or this file make of the same CSVs
_WORTHWHILE = 8 << 20  # bytes of CSV: smaller sets are read about as fast as their cache
_SPLITS = ("train", "dev", "test")
_NUMBERS = ("n_users", "n_items", "repeated_clicks", "repeated_negatives")


def cached(
    read: Callable[[], Dataset], name: str, mode: str, folder: Path, sep: str, fingerprint: str, regenerate: bool
) -> Dataset:
    """The set of read(), from the cache where that holds the fingerprint; `regenerate` reads and replaces it.

    A cache that cannot be written is done without.
    """
    if sum((folder / file).stat().st_size for file in SPLIT_FILES) < _WORTHWHILE:
        return read()
    file_name = f".ans_fast-{mode}-{_FORMAT}-{fingerprint}.npz"
    paths = [home / file_name for home in (folder, _user_cache(name)) if home]
    for path in () if regenerate else paths:
        if not os.path.lexists(path):
            continue
        try:
            return _load(path, name, mode, folder, sep)
        except Exception:  # damaged bytes raise a dozen types; the CSVs tell the truth
            continue
    dataset = read()
    any(_save(path, dataset) for path in paths)
    return dataset


def _user_cache(name: str) -> Path | None:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ans_fast" / name
    except RuntimeError:  # no home folder
        return None


def _types(mode: str) -> dict[str, type]:
    return {"clicks": Events, "later_clicks": Events, **dict.fromkeys(_SPLITS, SPLIT_TYPES[mode])}


def _save(path: Path, dataset: Dataset) -> bool:
    """Writes the cache and drops older ones of the mode there; False where the folder is not to be written."""
    arrays = {name: np.array(getattr(dataset, name)) for name in _NUMBERS}
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


def _load(path: Path, name: str, mode: str, folder: Path, sep: str) -> Dataset:
    """The data set in the cache file. Raises whatever a damaged file makes zipfile, NumPy and the checks raise."""
    if not path.is_file():  # a pipe would be waited for
        raise ValueError
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() or any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    arrays = {key: a.astype(np.int64) if a.dtype == np.int32 else a for key, a in arrays.items()}
    numbers = {key: arrays.pop(key).item() for key in _NUMBERS}
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, values in arrays.items():
        part, field = key.split(".")
        parts.setdefault(part, {})[field] = values
    read = {part: _types(mode)[part](**columns) for part, columns in parts.items()}
    read.setdefault("clicks", read["train"])
    dataset = Dataset(name, mode, folder=folder, sep=sep, **numbers, **read)
    check_dataset(dataset)
    return dataset
