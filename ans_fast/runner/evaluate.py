"""Scores and metrics of a split, whole tensors at a time: one class a mode, all with `scores` and `evaluate`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ans_fast.data import Dataset
from ans_fast.models.base import Recommender
from ans_fast.models.rows import Query, Rows
from ans_fast.runner import metrics as m


def make_evaluator(model: Recommender, dataset: Dataset, split: str, args: Namespace) -> Evaluator:
    """The evaluator of "dev" or "test" in the data set's mode."""
    rows = Rows.of_split(getattr(dataset, split))
    rows = Rows(**{**vars(rows), "context": model.context(dataset, split)}).to(model.device)
    if dataset.mode == "CTR":
        return ClickEvaluator(model, rows, args.eval_batch_size)
    if dataset.mode == "Impression":
        return ListEvaluator(model, rows, args.eval_batch_size)
    if args.test_all or rows.neg_items is None:
        return AllItemsEvaluator(model, rows, args.eval_batch_size, dataset)
    return CandidatesEvaluator(model, rows, args.eval_batch_size)


class Evaluator:
    """rows of one split that a model is to score; `state` is what model.precompute() gave."""

    def __init__(self, model: Recommender, rows: Rows, batch_size: int):
        self.model, self.rows, self.batch_size = model, rows, batch_size

    def batches(self) -> Iterator[Rows]:
        """The rows in their order, batch_size at a time."""
        for start in range(0, len(self.rows), self.batch_size):
            yield self.rows[start : start + self.batch_size]

    def scores(self, state: Any) -> Tensor:
        """The candidates' scores, one row a row."""
        return torch.cat([self.model.score(state, Query(b.users, b.items, b.context)) for b in self.batches()])

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        """Metrics by name."""
        raise NotImplementedError


class CandidatesEvaluator(Evaluator):
    """Each row's clicked item, in column 0, among its neg_items."""

    def __init__(self, model: Recommender, rows: Rows, batch_size: int):
        items = torch.cat([rows.items[:, None], rows.neg_items], 1)
        super().__init__(model, Rows(rows.users, items, context=rows.context), batch_size)

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        scores = self.scores(state)
        return m.top_k_metrics(m.positive_ranks(scores, scores[:, :1]), metrics, ks)

    def best(self, state: Any, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For batches of rows, the k best candidates (fewer if there are fewer) and their scores [B, k]."""
        for batch in self.batches():
            scores = self.model.score(state, Query(batch.users, batch.items, batch.context))
            scores, at = scores.sort(dim=1, descending=True, stable=True)
            at = at[:, :k]
            yield batch.items.gather(1, at), scores[:, :k]


class AllItemsEvaluator(Evaluator):
    """Each row's item among all items but those that the user clicked in train, dev or test."""

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, dataset: Dataset):
        super().__init__(model, rows, batch_size)
        clicks, device = dataset.clicked_by_all, model.device
        users = torch.tensor(clicks.users).to(device)
        self.clicked = torch.tensor(clicks.items).to(device)[users.argsort()]
        self.degrees = torch.bincount(users, minlength=dataset.n_users)
        self.begins = self.degrees.cumsum(0) - self.degrees

    def batches_of_scores(self, state: Any) -> Iterator[tuple[Rows, Tensor]]:
        """Batches with the scores of all items [B, n_items], -inf for what is no candidate."""
        for batch in self.batches():
            scores = self.model.score(state, Query(batch.users, None, batch.context)).clone()
            target = scores.gather(1, batch.items[:, None])
            scores[:, : self.model.first_item] = -torch.inf
            counts = self.degrees[batch.users]
            row = torch.repeat_interleave(torch.arange(len(batch), device=scores.device), counts)
            offset = torch.arange(len(row), device=scores.device) - (counts.cumsum(0) - counts)[row]
            scores[row, self.clicked[self.begins[batch.users][row] + offset]] = -torch.inf
            yield batch, scores.scatter(1, batch.items[:, None], target)

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        ranks = [
            m.positive_ranks(scores, scores.gather(1, batch.items[:, None]))
            for batch, scores in self.batches_of_scores(state)
        ]
        return m.top_k_metrics(torch.cat(ranks), metrics, ks)

    def best(self, state: Any, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As CandidatesEvaluator.best; places beyond the candidates have the score -inf."""
        for _, scores in self.batches_of_scores(state):
            best = scores.topk(min(k, scores.shape[1]), dim=1)
            yield best.indices, best.values


class ListEvaluator(Evaluator):
    """Impression lists."""

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        return m.impression_metrics(self.scores(state), self.rows.n_pos, self.rows.n_neg, metrics, ks)


class ClickEvaluator(Evaluator):
    """Rows with labels; scores are click probabilities [R]."""

    def scores(self, state: Any) -> Tensor:
        parts = [self.model.score(state, Query(b.users, b.items[:, None], b.context))[:, 0] for b in self.batches()]
        return torch.cat(parts).sigmoid()

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        return m.click_metrics(self.scores(state), self.rows.labels, metrics)
