"""RecBole's sampler of negatives, with the drawing done by our kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import recbole.data.utils
import torch
from recbole.sampler import Sampler
from torch import Tensor

from ans_fast import BipartiteGraph, ops


class FastSampler(Sampler):
    """Draws uniformly from the items that a user has not clicked, without trying again: the same distribution as
    RecBole's, other numbers. Other distributions are RecBole's own."""

    def set_phase(self, phase: str) -> FastSampler:
        sampler = super().set_phase(phase)
        sampler.graph = None
        return sampler

    def sample_by_user_ids(self, user_ids: Sequence[int], item_ids: Sequence[int], num: int) -> Tensor:
        """int64 [num · B], the first negatives of all users, then the second ones, …"""
        if self.distribution != "uniform":
            return super().sample_by_user_ids(user_ids, item_ids, num)
        if self.graph is None:
            self.graph = self._graph()
        users = torch.as_tensor(np.asarray(user_ids), dtype=torch.int64)
        return ops.sample_negatives(self.graph, users, num, first_item=1).T.reshape(-1)

    def _graph(self) -> BipartiteGraph:
        """Who has clicked what in this phase or an earlier one."""
        until = self.datasets[: self.phases.index(self.phase) + 1]
        users, items = (
            np.concatenate([dataset.inter_feat[field].numpy() for dataset in until])
            for field in (self.uid_field, self.iid_field)
        )
        return BipartiteGraph(users, items, self.user_num, self.item_num)


def use() -> None:
    """Makes RecBole's data loaders use it."""
    recbole.data.utils.Sampler = FastSampler
