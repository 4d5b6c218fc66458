"""Each row's metrics on test in a file beside the results, by which paired tests compare runs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ans_fast.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

FILE = "test_rows.npz"
USERS = "user_id"


def write_row_metrics(path: Path, users: Tensor, values: Mapping[str, Tensor]) -> None:
    """users int64 [R] and, float32 [R] by name, those metrics that are means over rows; nothing where none is."""
    of_rows = {name: of.float().cpu().numpy() for name, of in values.items() if of.ndim}
    if of_rows:
        content = io.BytesIO()
        np.savez_compressed(content, **{USERS: users.cpu().numpy()}, **of_rows)
        write_atomically(path, content.getvalue())


def read_user_metrics(path: Path, metric: str) -> pd.Series | None:
    """The mean of each user's rows, by user; None where they are not kept."""
    import pandas as pd  # takes longer than all of a run's own modules, and a run from the cache does without

    try:
        with np.load(path) as content:
            return pd.Series(content[metric], dtype=float).groupby(content[USERS]).mean()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
