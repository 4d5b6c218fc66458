"""What people do with a model, each in the file that defines it: a model is the first argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ans_fast.errors import UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.models import storage
from ans_fast.models.evaluation import evaluate, evaluation
from ans_fast.models.export import export
from ans_fast.models.new_users import recommend_new
from ans_fast.models.ranking import predict, recommend, spread
from ans_fast.models.vectors import embeddings, similar_items, similar_users
from ans_fast.training.loop import fit

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class Uses:
    """The methods of a trained model, and what those about vectors ask of it; a model that has none says so."""

    name: str
    graph: BipartiteGraph

    fit, evaluate, evaluation, spread = fit, evaluate, evaluation, spread
    recommend, recommend_new, predict = recommend, recommend_new, predict
    embeddings, similar_items, similar_users, export = embeddings, similar_items, similar_users, export
    save, content, load_weights = storage.save, storage.content, storage.load_weights
    load = classmethod(storage.load_as)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """The vectors of users [n_users, K] and items [n_items, K] whose products are the scores, without gradients.
        Raises UserError where scores are anything else."""
        raise UserError(f"{self.name} has no vectors of users and items whose products are its scores")

    def item_hops(self) -> Tensor:
        """The hops [n_items, H, D] of the items, of which `recommend_new` makes those of new users. Raises UserError
        where a model's users are made of anything else."""
        raise UserError(f"{self.name} has no vectors for users that training did not see")

    def pooled(self, hops: Tensor) -> Tensor:
        """The vectors [R, K] that rank, of hops [R, H, D]: for models that have `item_hops`."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.graph.device

    def to_device(self, device: torch.device | str) -> Self:
        """Moves parameters and graph; returns self."""
        self.graph = self.graph.to(device)
        return self.to(device)
