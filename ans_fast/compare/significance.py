"""Whether lines of the table differ from a baseline by more than chance: paired t-tests over users.

A user's value is the mean over its rows and over seeds. All tests of a data set are corrected together, as Holm has it
("A simple sequentially rejective multiple test procedure", 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ans_fast.compare.earlier import Cell
from ans_fast.runner.row_metrics import FILE, read_user_metrics

LEVEL = 0.05
LEAST_P = 0.0001  # that is shown as it is
Records = Sequence[Mapping[str, Any]]  # of a line's runs, a seed each


@dataclass(frozen=True)
class Difference:
    """mean: of the line's values less the baseline's. p: corrected."""

    mean: float
    p: float

    @property
    def mark(self) -> str:
        """Of what is significantly better or worse; metrics of rows are the better the larger."""
        return "" if self.p >= LEVEL else "▲" if self.mean > 0 else "▼"

    @property
    def told(self) -> str:
        """As a table has it: "▼ (p 0.012)"."""
        shown = f"{self.p:.2g}" if self.p >= LEAST_P else f"< {LEAST_P:g}"
        return f"{self.mark} (p {shown})".lstrip()


def differences(
    records: Mapping[Cell, Records], metrics: Sequence[str], baseline: str
) -> dict[Cell, dict[str, Difference]]:
    """By line and metric: of lines of the same data as the baseline's, and of metrics that are means over rows."""
    found: dict[Cell, dict[str, Difference]] = {cell: {} for cell in records}
    for dataset in dict.fromkeys(dataset for dataset, _ in records):
        own = records.get((dataset, baseline), [])
        others = [cell for cell in records if cell[0] == dataset and cell[1] != baseline]
        pairs = {(cell, metric): _paired(records[cell], own, metric) for cell in others for metric in metrics}
        tests = {of: _test(values) for of, values in pairs.items() if values is not None}
        for (cell, metric), p in zip(tests, holm([p for _, p in tests.values()]), strict=True):
            found[cell][metric] = Difference(tests[cell, metric][0], p)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """The smallest times their number, the next times one less, …, none below the one before."""
    order = np.argsort(p_values)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return corrected.clip(max=1).tolist()


def _paired(line: Records, baseline: Records, metric: str) -> pd.Series | None:
    """The line's values less the baseline's, by user; None where runs have not kept them, or saw other data."""
    if not line or not baseline or line[0].get("fingerprint") != baseline[0].get("fingerprint"):
        return None
    values, own = _user_means(line, metric), _user_means(baseline, metric)
    return None if values is None or own is None or not values.index.equals(own.index) else values - own


def _user_means(records: Records, metric: str) -> pd.Series | None:
    of_seeds = [read_user_metrics(Path(record["folder"]) / "log" / FILE, metric) for record in records]
    return None if any(values is None for values in of_seeds) else pd.concat(of_seeds, axis=1).mean(axis=1)


def _test(values: pd.Series) -> tuple[float, float]:
    """The mean and the p-value of its being 0."""
    from scipy.stats import ttest_1samp  # takes a second to import

    if not values.std() > 0:  # all alike, or a single one: nothing to tell by
        return values.mean(), 1.0
    return values.mean(), float(ttest_1samp(values, 0).pvalue)
