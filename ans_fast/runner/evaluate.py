"""Scores and metrics of a split, whole tensors at a time: one class a mode, all with `scores` and `evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ans_fast import BipartiteGraph
from ans_fast import metrics as m
from ans_fast.data import Dataset, Events, ImpressionLists, Labelled
from ans_fast.distributed import ALONE, Processes
from ans_fast.models.base import Recommender
from ans_fast.nn.held_state import held_tables
from ans_fast.runner.settings import Settings
from ans_fast.training.batches import Query, Rows, batches

SCORE_BYTES = {"cpu": 16 << 20}  # scores of all items at once: more than about this leaves the cache, and the heap
SCORE_BYTES_ELSEWHERE = 256 << 20  # where small batches cost launches


def make_evaluator(
    model: Recommender, dataset: Dataset, split: str, settings: Settings, group: Processes = ALONE
) -> Evaluator:
    """The evaluator of "dev" or "test" in the data set's mode and, in TopK mode, by --rank_by and --test_all."""
    part, rows = getattr(dataset, split), model.rows_of(dataset, split)
    if isinstance(part, Labelled):
        return ClickEvaluator(model, rows, settings.eval_batch_size, group)
    if isinstance(part, ImpressionLists):
        return ListEvaluator(model, rows, settings.eval_batch_size, group)
    row_by_row = settings.test_all or rows.neg_items is not None or dataset.description.rank == "row"
    if settings.rank_by == "user" or (settings.rank_by == "auto" and not row_by_row):
        return UserEvaluator(model, rows, settings.eval_batch_size, group, dataset, split)
    if settings.test_all or rows.neg_items is None:
        return RowEvaluator(model, rows, settings.eval_batch_size, group, dataset)
    return CandidatesEvaluator(model, rows, settings.eval_batch_size, group)


class Evaluator:
    """rows of one split that a model is to score; `state` is what model.precompute() gave.

    Of several processes each scores its own part of the rows, of the same size in all: where the rows do not suffice
    the last one fills up.

    own: this process's part of the rows. ranks: what is ranked, for the log; nothing where the data says it.
    """

    ranks: ClassVar[str] = ""

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, group: Processes):
        self.model, self.rows, self.batch_size, self.group = model, rows, batch_size, group
        size = -(-len(rows) // group.size)
        part = torch.arange(group.rank * size, (group.rank + 1) * size, device=rows.users.device)
        self.own = rows.take(part.clamp(max=len(rows) - 1)) if group.size > 1 else rows

    def batches(self) -> Iterator[Rows]:
        """This process's rows in their order, batch_size at a time."""
        return batches(self.own, self.batch_size)

    def whole(self, own: Tensor) -> Tensor:
        """The values of all processes' rows, a row each."""
        return self.group.gather(own)[: len(self.rows)]

    def scores(self, state: Any) -> Tensor:
        """The candidates' scores, one row a row."""
        parts = [self.model.score(state, Query(b.users, b.items, b.context)) for b in self.batches()]
        return self.whole(torch.cat(parts))

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        """Metrics by name: each row's [R], whose mean they are, or [] where they are of all rows together."""
        raise NotImplementedError

    def evaluate(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, float]:
        """Metrics by name."""
        return m.means(self.values(state, metrics, ks))


class CandidatesEvaluator(Evaluator):
    """Each row's clicked item, in column 0, among its neg_items."""

    ranks = "each row by itself, its item among its neg_items (--rank_by row)"

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, group: Processes):
        items = torch.cat([rows.items[:, None], rows.neg_items], 1)
        super().__init__(model, Rows(rows.users, items, context=rows.context), batch_size, group)

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        scores = self.scores(state)
        return m.top_k_metrics(m.positive_ranks(scores, scores[:, :1]), metrics, ks)

    def best(self, state: Any, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For batches of this process's rows, the k best candidates (fewer if there are fewer) and their scores
        [B, k]."""
        for batch in self.batches():
            scores = self.model.score(state, Query(batch.users, batch.items, batch.context))
            scores, at = scores.sort(dim=1, descending=True, stable=True)
            at = at[:, :k]
            yield batch.items.gather(1, at), scores[:, :k]


class AllItemsEvaluator(Evaluator):
    """Rows for which all items are ranked but padding and what their users clicked in `clicked`."""

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, group: Processes, clicked: Events):
        n_users, n_items = model.graph.n_users, model.graph.n_items
        score_bytes = SCORE_BYTES.get(model.device.type, SCORE_BYTES_ELSEWHERE)
        together = group.size if held_tables(model) else 1  # processes score the users of all, to add up
        super().__init__(model, rows, max(1, min(batch_size, score_bytes // (4 * n_items * together))), group)
        self.clicked = BipartiteGraph(clicked.users, clicked.items, n_users, n_items).to(model.device)
        self.n_clicked = self.count_clicks(self.clicked)

    def count_clicks(self, graph: BipartiteGraph) -> list[int]:
        """How many clicks the users of each batch have, read from the device once and not at each evaluation."""
        return [int(part.sum()) for part in graph.degrees[self.own.users].cpu().split(self.batch_size)]

    def batches_of_scores(self, state: Any) -> Iterator[tuple[Rows, Tensor]]:
        """Batches with the scores of all items [B, n_items], -inf for what is no candidate."""
        for batch, n_clicked in zip(self.batches(), self.n_clicked, strict=True):
            scores = self.model.score(state, Query(batch.users, None, batch.context))
            self.mask(scores, batch, n_clicked)
            yield batch, scores

    def mask(self, scores: Tensor, batch: Rows, n_clicked: int) -> None:
        """Sets scores of what is no candidate to -inf. n_clicked: see count_clicks."""
        scores[:, : self.model.first_item].fill_(-torch.inf)
        m.set_never(scores, self.clicked.clicks_of(batch.users, n_clicked))

    def best(self, state: Any, k: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As CandidatesEvaluator.best; places beyond the candidates have the score -inf."""
        for _, scores in self.batches_of_scores(state):
            best = scores.topk(min(k, scores.shape[1]), dim=1)
            yield best.indices, best.values


class RowEvaluator(AllItemsEvaluator):
    """Each row's item among all items but its user's other clicks in train, dev and test, as ReChorus has it."""

    ranks = "each row by itself, its item among all that its user has not clicked (--rank_by row)"

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, group: Processes, dataset: Dataset):
        super().__init__(model, rows, batch_size, group, dataset.clicked_by_all)

    def mask(self, scores: Tensor, batch: Rows, n_clicked: int) -> None:
        own = batch.items[:, None]
        kept = scores.gather(1, own)
        super().mask(scores, batch, n_clicked)
        scores.scatter_(1, own, kept)

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        ranks = [
            m.positive_ranks(scores, scores.gather(1, batch.items[:, None]))
            for batch, scores in self.batches_of_scores(state)
        ]
        return m.top_k_metrics(self.whole(torch.cat(ranks)), metrics, ks)


class UserEvaluator(AllItemsEvaluator):
    """Each user once, with the set of all of its items in the split, as LightGCN's code and RecBole have it.

    Ranked are all items but the user's clicks in the splits before: train for dev, train and dev for test. Items of
    the set that are among these are never found, and count in the set's size all the same. `rows` has one row a user,
    in the order of their ids, with the context of the user's earliest row in the split.
    """

    ranks = "each user once, its items together among all that it has not clicked before (--rank_by user)"

    def __init__(self, model: Recommender, rows: Rows, batch_size: int, group: Processes, dataset: Dataset, split: str):
        positives = getattr(dataset, split)
        by_time = np.lexsort((positives.times, positives.users))
        _, first = np.unique(positives.users[by_time], return_index=True)
        rows = rows.take(torch.from_numpy(by_time[first]).to(model.device))
        earlier = (dataset.clicks, dataset.dev)[: 1 if split == "dev" else 2]
        super().__init__(model, rows, batch_size, group, Events.concatenate(*earlier))
        graph = BipartiteGraph(positives.users, positives.items, dataset.n_users, dataset.n_items)
        self.positives = graph.to(model.device)
        self.n_positives = self.count_clicks(self.positives)

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        hits = []
        for (batch, scores), n_positives in zip(self.batches_of_scores(state), self.n_positives, strict=True):
            hits.append(m.hits_among_all(scores, self.positives.clicks_of(batch.users, n_positives), max(ks)))
        return m.list_metrics(self.whole(torch.cat(hits)), self.positives.degrees[self.rows.users], metrics, ks)


class ListEvaluator(Evaluator):
    """Impression lists."""

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        return m.impression_metrics(self.scores(state), self.rows.n_pos, self.rows.n_neg, metrics, ks)


class ClickEvaluator(Evaluator):
    """Rows with labels; scores are click probabilities [R]."""

    def scores(self, state: Any) -> Tensor:
        parts = [self.model.score(state, Query(b.users, b.items[:, None], b.context))[:, 0] for b in self.batches()]
        return self.whole(torch.cat(parts)).sigmoid()

    def values(self, state: Any, metrics: Sequence[str], ks: Sequence[int]) -> dict[str, Tensor]:
        return m.click_metrics(self.scores(state), self.rows.labels, metrics)
