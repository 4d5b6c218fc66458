"""How well a model's rankings of all items find clicks that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ans_fast import metrics as m
from ans_fast.errors import UserError, shown
from ans_fast.graph import BipartiteGraph
from ans_fast.models.ranking import number, scores_of_all

if TYPE_CHECKING:
    from ans_fast.data.interactions import Interactions
    from ans_fast.models.base import Recommender

METRIC = m.Metric(m.RANKING)


def evaluate(
    model: Recommender, clicks: Interactions | BipartiteGraph, metrics: Sequence[str] = ("Recall@20", "NDCG@20")
) -> dict[str, float]:
    """The means over the users of `clicks`, whose items together are to be found among all that the user has not
    clicked in training, as LightGCN's code and RecBole rank them. Users without clicks in training count: popularity
    ranks for them. Ties and NaN count against the items to find: see `metrics.hits_among_all`, which ranks for the
    command line too.

    Args:
        clicks: a later part of what the model learned from, with its ids, or a graph if it was made from one.
        metrics: each of HR, NDCG, Recall, Precision, F1, MRR or MAP with a cut-off.

    Raises:
        UserError: a metric is none of these, there are no clicks, or ids are unknown to the model.
    """
    return evaluation(model, clicks, metrics)()


def evaluation(model: Recommender, clicks: Interactions | BipartiteGraph, metrics: Sequence[str]) -> Evaluation:
    """`evaluate` with these arguments, to be called after each epoch. Raises UserError at once."""
    return Evaluation(model, clicks, metrics)


class Evaluation:
    """`evaluate` made ready with its arguments, to be called as often as the model changes."""

    def __init__(self, model: Recommender, clicks: Interactions | BipartiteGraph, metrics: Sequence[str]):
        if isinstance(metrics, str) or not metrics:
            raise UserError(f"metrics must be a list of at least one, such as ['NDCG@20'], got {shown(metrics)}")
        self.model, self.cuts = model, {metric: _read(metric) for metric in metrics}
        graph = model.graph
        truth = clicks if isinstance(clicks, BipartiteGraph) else _numbered(model, clicks)
        if (truth.n_users, truth.n_items) != (graph.n_users, graph.n_items):
            raise UserError(
                f"clicks must be of the model's {graph.n_users} users and {graph.n_items} items, got {truth}"
            )
        self.truth = truth.to(model.device)
        self.users = self.truth.degrees[: graph.n_users].nonzero()[:, 0]
        if not len(self.users):
            raise UserError("evaluate needs clicks to find, and there are none")

    def __call__(self) -> dict[str, float]:
        largest = max(k for _, k in self.cuts.values())
        parts = scores_of_all(self.model, self.users)
        hits = torch.cat([m.hits_among_all(scores, self.truth.clicks_of(part), largest) for part, scores in parts])
        sizes = self.truth.degrees[self.users]
        values = {cut: m.list_metrics(hits, sizes, [name], [k])[f"{name}@{k}"] for cut, (name, k) in self.cuts.items()}
        return m.means(values)


def _read(metric: str) -> tuple[str, int]:
    try:
        cut = METRIC.read(metric)
    except ValueError:
        cut = ""
    if not METRIC.accepts(cut):
        raise UserError(f"metrics must each be {METRIC.expected}, got {metric!r}")
    name, k = cut.split("@")
    return name, int(k)


def _numbered(model: Recommender, clicks: Interactions) -> BipartiteGraph:
    """The clicks by the model's numbers."""
    frame = clicks.to_dataframe()
    users, items = number(model, "user", frame.user).cpu(), number(model, "item", frame.item).cpu()
    return BipartiteGraph(users, items, model.graph.n_users, model.graph.n_items)
