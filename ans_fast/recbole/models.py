"""ANS behind RecBole's interface of a model."""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType
from typing import Any, ClassVar

from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor

from ans_fast import BipartiteGraph
from ans_fast import models as ours
from ans_fast.ops._seed import draw_seeds
from ans_fast.training.batches import Query, Rows

# Settings by RecBole's name and the argument that they are.
SETTINGS = {"embedding_size": "emb_size"} | {
    name: name
    for name in (
        "n_layers",
        "gamma",
        "eps",
        "noise_scale",
        "gate",
        "reg_weight",
        "require_pow",
        "predict_with",
        "precision",
    )
}


class ANS(GeneralRecommender):
    """`ans_fast.models.ANS`, its parameters in `model`. Settings that are not given have its defaults.

    RecBole's batch is train_batch_size // sample_num clicks with sample_num negatives each. All items are ranked by
    what training scores with; predict_with: ego ranks them by unpropagated embeddings, as the published class does.
    """

    input_type = InputType.PAIRWISE
    base_model: ClassVar[str] = "LightGCN"

    def __init__(self, config: Any, dataset: Any):
        super().__init__(config, dataset)
        clicks = dataset.inter_feat
        graph = BipartiteGraph(clicks[self.USER_ID].numpy(), clicks[self.ITEM_ID].numpy(), self.n_users, self.n_items)
        options = {argument: config[name] for name, argument in SETTINGS.items() if config[name] is not None}
        self.n_negatives = config["train_neg_sample_args"]["sample_num"]
        self.model = ours.ANS(
            graph, base_model=self.base_model, num_neg=self.n_negatives, first_item=1, **options
        ).to_device(self.device)
        self._state: Any = None

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Of clicks that stand sample_num times in `interaction`, each time with another negative."""
        self._state = None
        negatives = interaction[self.NEG_ITEM_ID].view(self.n_negatives, -1).T
        users, items = (interaction[field][: len(negatives)] for field in (self.USER_ID, self.ITEM_ID))
        loss, _ = self.model.loss(Rows(users, items, negatives), draw_seeds(1, self.model.seed_count)[0].unbind())
        return loss

    def predict(self, interaction: Any) -> Tensor:
        """Scores [B] of pairs."""
        return self._score(interaction, interaction[self.ITEM_ID][:, None])

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items for each user, one user after the other."""
        return self._score(interaction, None)

    def _score(self, interaction: Any, items: Tensor | None) -> Tensor:
        if self._state is None:
            self._state = self.model.precompute()
        return self.model.score(self._state, Query(interaction[self.USER_ID], items)).view(-1)

    def train(self, mode: bool = True) -> ANS:
        """RecBole says so as an epoch begins."""
        self._state = None  # weights may have changed, or been loaded
        if mode:
            self.model.begin_epoch()
        return super().train(mode)


class ANSBPRMF(ANS):
    """ANS over matrix factorisation."""

    base_model = "BPRMF"


class ANSNGCF(ANS):
    """ANS over NGCF."""

    base_model = "NGCF"


class ANSSGL(ANS):
    """ANS over SGL."""

    base_model = "SGL"


MODELS = (ANS, ANSBPRMF, ANSNGCF, ANSSGL)


def register() -> None:
    """Puts the models where RecBole looks for them by name."""
    for model in MODELS:
        name = f"recbole.model.general_recommender.{model.__name__.lower()}"
        module = ModuleType(name, model.__doc__)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        setattr(module, model.__name__, model)
        sys.modules[name] = module
