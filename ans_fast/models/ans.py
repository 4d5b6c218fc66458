"""Augmented negative sampling."""

from __future__ import annotations

from argparse import _ArgumentGroup
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.flag_types import layers, non_negative, size, switch
from ans_fast.graph import BipartiteGraph
from ans_fast.models.dot_product import DotProduct
from ans_fast.models.modes import Pairs
from ans_fast.nn.columns import Columns
from ans_fast.nn.encoders import ENCODERS
from ans_fast.nn.gather import rows_at
from ans_fast.nn.hops import Hops, hops_of
from ans_fast.nn.node_table import NodeTable
from ans_fast.training.batches import Rows


class ANS(DotProduct):
    """ "Augmented Negative Sampling for Collaborative Filtering" (Zhao et al., RecSys 2023, arXiv 2308.05972).

    A node has n_layers + 1 vectors, its embedding and the propagated ones, and a user's score for an item is the sum of
    their products hop by hop. Each negative is split by a gate into hard and easy factors, its easy factors are
    augmented with noise, and the hardest augmented negative of a pair and hop goes into BPR (`ops.ans_terms`):

        loss_ANS = bpr + gamma (sns + distance + orthogonality) + reg_weight reg

    What a mode adds, over the same vectors:

    - TopK: nothing. Pairs are the clicks; num_neg negatives a pair are drawn from what the user has not clicked.
    - Impression: loss = list loss + loss_ANS. The list loss (loss_n) is taken over the scores of the whole list. Every
      clicked item of a list makes a pair, whose negatives are those that the user was shown in that list and did not
      click, so that pairs have unequally many; each pair weighs the same.
    - CTR: loss = BCE or MSE (loss_n) over all rows + loss_ANS. Pairs are the batch's rows with label 1, with num_neg
      drawn negatives as in TopK.

    Weight decay acts on the embeddings alone: on the gates it would pull every gate to 1/2, and on the margin's layer
    it would pull the margin to its limits, since the margin depends on the inverse of what that layer gives.

    Args:
        graph: who clicked what.
        emb_size: D. n_layers: hops beyond the embedding; 0 is matrix factorisation.
        base_model: what makes the hops, one of ENCODERS: "LightGCN" as said above, "BPRMF" (the embedding alone),
            "NGCF" or "SGL"; a base's own loss is added.
        gamma: weight of the three auxiliary terms. Large values pull all vectors to zero.
        eps: weight, in the selection, of what the noise adds to a score.
        noise_scale: length of the noise where the margin is 1.
        reg_weight: weight of reg, the norms of the batch's embeddings over the batch size.
        require_pow: square these norms, and halve.
        predict_with: "hops" scores as training does; "ego" uses the unpropagated embeddings, as the paper's published
            code does when it ranks all items.
        training: see Recommender.
    """

    name = "ANS"
    log_args = ("emb_size", "n_layers", "batch_size", "num_neg", "gamma", "reg_weight")
    log_changes = ("base_model", "eps", "noise_scale", "require_pow", "predict_with")
    DEFAULTS: ClassVar[dict[str, Any]] = {"num_neg": 2, "l2": 1e-5}  # of flags that all models have
    collapse_hint = "lower --gamma, then --l2 and --reg_weight"

    def __init__(
        self,
        graph: BipartiteGraph,
        emb_size: int = 64,
        n_layers: int = 3,
        gamma: float = 0.01,
        eps: float = 0.1,
        noise_scale: float = 0.1,
        reg_weight: float = 0.0,
        require_pow: int = 0,
        predict_with: str = "hops",
        num_neg: int = 2,
        base_model: str = "LightGCN",
        **training: Any,
    ):
        super().__init__(graph, num_neg=num_neg, **training)
        self.emb_size, self.n_layers = emb_size, n_layers
        self.gamma, self.eps, self.noise_scale = gamma, eps, noise_scale
        self.reg_weight, self.require_pow, self.predict_with = reg_weight, require_pow, predict_with
        self.table = NodeTable(graph, emb_size, ("user_embedding.weight", "item_embedding.weight"))
        self.table.xavier_uniform()
        if base_model not in ENCODERS:
            raise UserError(f"base_model must be one of {', '.join(ENCODERS)}, got {base_model!r}")
        self.base_model, self.base = base_model, ENCODERS[base_model](n_layers, emb_size)
        self.user_gate = nn.Linear(emb_size, emb_size)
        self.item_gate = nn.Linear(emb_size, emb_size)
        self.margin = nn.Linear(emb_size, 1)

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        group.add_argument("--emb_size", type=size, default=64, help="size of the embedding vectors")
        group.add_argument(
            "--n_layers", type=layers, default=3, help="graph convolution layers; 0 is matrix factorisation"
        )
        group.add_argument("--base_model", choices=tuple(ENCODERS), default="LightGCN", help="what makes the vectors")
        cls.add_loss_arguments(group)

    @staticmethod
    def add_loss_arguments(group: _ArgumentGroup) -> None:
        """The flags of the loss, which is also a choice of --negative_sampling."""
        group.add_argument(
            "--gamma", type=non_negative, default=0.01, help="weight of ANS's sns, distance and orthogonality"
        )
        group.add_argument(
            "--eps",
            type=non_negative,
            default=0.1,
            help="weight of the gain by ANS's noise when a negative is selected",
        )
        group.add_argument(
            "--noise_scale", type=non_negative, default=0.1, help="length of ANS's noise at a margin of 1"
        )
        group.add_argument(
            "--reg_weight", type=non_negative, default=0.0, help="weight of the batch's embedding norms in ANS"
        )
        group.add_argument("--require_pow", type=switch, default=0, help="1: squared and halved norms in that term")
        group.add_argument(
            "--predict_with",
            choices=("hops", "ego"),
            default="hops",
            help="vectors that rank in ANS: all hops, or only the embeddings, as the paper's code does",
        )

    def decays(self, parameter_name: str) -> bool:
        """The embeddings only."""
        return parameter_name.startswith("table.")

    def nodes(self) -> Tensor:
        """The vectors that rank: all hops of a node side by side [N, H · D], or only the first, [N, D], with "ego"."""
        if self.predict_with == "ego":
            return self.table.weight
        return self._hops().flatten(1)

    @classmethod
    def by_columns(cls, base_model: str = "LightGCN", **options: Any) -> bool:
        """Where the base acts on every column alone."""
        return ENCODERS[base_model].by_columns

    @property
    def columns(self) -> Columns | None:
        return self.table.columns

    def _hops(self, nodes: Tensor | None = None) -> Tensor:
        """The hops [R, H, D] of nodes int64 [R]; None: of all."""
        return self.base(self.table.weight, self.graph, nodes)

    @property
    def seed_count(self) -> int:
        """The last one is that of the noise; negatives are drawn by the first, where they are drawn."""
        return 1 if self.mode.listed else 2

    @property
    def captures(self) -> bool:
        """With labels how many pairs there are is up to these."""
        return not self.mode.labelled and self.base.captures

    @property
    def unshared(self) -> str:
        return f"reg_weight {self.reg_weight} weighs norms of whole batches" if self.reg_weight else ""

    def begin_epoch(self) -> None:
        self.base.begin_epoch()

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """In CTR mode too: for the rows that are not clicked they are not looked at."""
        if self.mode.listed:
            return batch
        return replace(batch, neg_items=self.draw_negatives(batch.users, seeds[0]))

    def loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        pairs, share = self.mode.pairs(batch), self.mode.share_of_pairs(batch)
        hops = hops_of(self.table, self._hops, self.graph, batch.users, batch.items, pairs.neg_items)
        loss, parts = self._pair_loss(hops, pairs, seeds[-1], share.first)
        if share.weight != 1:
            loss, parts = share.weight * loss, {name: share.weight * part for name, part in parts.items()}
        if not self.mode.labelled:
            return loss, parts
        own = self.mode.loss(self.loss_n, hops.scores(batch.users, self.mode.candidates(batch)), batch)
        return own + loss, {self.loss_n: own, **parts}

    def _pair_loss(self, hops: Hops, pairs: Pairs, seed: Tensor, first_pair: int) -> tuple[Tensor, dict[str, Tensor]]:
        """loss_ANS of the pairs, and its parts; first_pair: see `ops.ans_terms`."""
        users = hops.user_rows(pairs.users)
        terms = ops.ans_terms(
            hops.users,
            hops.items,
            self.user_gate(hops.users.index_select(0, users)),
            self.item_gate(hops.items),
            self.margin.weight[0],
            self.margin.bias,
            users,
            hops.item_rows(pairs.pos_items),
            hops.item_rows(pairs.neg_items),
            pairs.neg_count,
            eps=self.eps,
            noise_scale=self.noise_scale,
            seed=seed,
            first_pair=first_pair,
        )
        parts = {"bpr": terms.bpr, "sns": terms.sns, "distance": terms.distance, "orthogonality": terms.orthogonality}
        loss = terms.bpr + self.gamma * (terms.sns + terms.distance + terms.orthogonality)
        if self.reg_weight:
            parts["reg"] = self._reg(pairs)
            loss = loss + self.reg_weight * parts["reg"]
        own = self.base.own_loss(self.table.weight, self.graph, pairs.users, pairs.pos_items)
        if own is not None:
            parts[self.base_model], loss = own, loss + own
        return loss, parts

    def _reg(self, pairs: Pairs) -> Tensor:
        """(|E_u| + |E_p| + |E_n|) / B; a row that comes k times counts k times, by its length and not by copies."""
        users, items = torch.linalg.vector_norm(self.table.weight, dim=1).split(
            [self.graph.n_users, self.graph.n_items]
        )
        of_negatives = rows_at(items[:, None], pairs.neg_items)[..., 0]  # [P, M]
        if pairs.neg_count is not None:
            column = torch.arange(of_negatives.shape[1], device=of_negatives.device)
            of_negatives = of_negatives.masked_fill(column >= pairs.neg_count[:, None], 0.0)
        total = self.table.weight.new_zeros(())
        for lengths in (users.index_select(0, pairs.users), items.index_select(0, pairs.pos_items), of_negatives):
            norm = torch.linalg.vector_norm(lengths)
            total = total + (norm.square() / 2 if self.require_pow else norm)
        return total / max(len(pairs.users), 1)
