"""A data set's statistics, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ans_fast.charts import new_figure, png
from ans_fast.data.dataset import Dataset, Events
from ans_fast.data.description import told_time
from ans_fast.files import write_atomically

_SPLITS = ("train", "dev", "test")


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """(what, figure) rows: source, sizes, density, clicks a user and an item, splits, candidates, time span."""
    clicks = dataset.clicks
    per_user, per_item = _counts(clicks.users), _counts(clicks.items)
    pairs = len(np.unique(clicks.users * dataset.n_items + clicks.items))
    about = dataset.description
    span = map(told_time, _span(dataset.clicked_by_all))
    rows = [
        ("data set", f"{dataset.name} ({dataset.mode})"),
        ("source", about.source),
        ("split", about.split),
        ("users", f"{dataset.n_users - 1:,} ids, {len(per_user):,} with a train click"),
        ("items", f"{dataset.n_items - 1:,} ids, {len(per_item):,} with a train click"),
        ("train clicks", f"{len(clicks):,}, {pairs:,} distinct pairs"),
        ("density", f"{pairs / ((dataset.n_users - 1) * (dataset.n_items - 1)):.4%}"),
        ("clicks a user", _spread(per_user)),
        ("clicks an item", _spread(per_item)),
        ("clicks on the top 1 % of items", f"{_top_share(per_item):.1%}"),
        ("time", " to ".join(span) if about.times else "none, an order instead"),
    ]
    rows += [(split, getattr(dataset, split).summary) for split in _SPLITS]
    return rows + [("remark", line) for line in dataset.remarks]


def plot(dataset: Dataset, path: Path) -> None:
    """Writes a picture: clicks of users and of items by rank and, where there are times, clicks over time. Raises
    UserError without matplotlib."""
    figure = new_figure(12, 3.6)
    timed = dataset.description.times
    axes = figure.subplots(1, 3 if timed else 2)
    for axis, ids, who in zip(axes, (dataset.clicks.users, dataset.clicks.items), ("user", "item"), strict=False):
        axis.loglog(np.arange(1, len(_counts(ids)) + 1), np.sort(_counts(ids))[::-1], lw=1.5)
        axis.set(xlabel=f"{who}s by rank", ylabel=f"train clicks of the {who}", title=f"Clicks per {who}")
    if timed:
        times = dataset.clicked_by_all.times
        axes[2].hist((times - times.min()) / 86_400, bins=60)
        axes[2].set(xlabel="days since the first click", ylabel="clicks", title="Clicks over time")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.suptitle(f"{dataset.name}: {dataset.n_users - 1:,} users, {dataset.n_items - 1:,} items")
    write_atomically(path, png(figure))


def _counts(ids: np.ndarray) -> np.ndarray:
    counts = np.bincount(ids)
    return counts[counts > 0]


def _span(clicks: Events) -> tuple[float, float]:
    return float(clicks.times.min()), float(clicks.times.max())


def _spread(counts: np.ndarray) -> str:
    return f"min {counts.min()}, median {np.median(counts):g}, mean {counts.mean():.1f}, max {counts.max():,}"


def _top_share(per_item: np.ndarray) -> float:
    top = np.sort(per_item)[::-1][: max(1, len(per_item) // 100)]
    return float(top.sum() / per_item.sum())
