"""Augmented negative sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.flag_types import Choice, non_negative, switch
from ans_fast.models.batch_norms import BatchNorms
from ans_fast.models.clicks import Clicks
from ans_fast.models.contrastive import Contrastive
from ans_fast.models.modes import CLICKS, TOP_K, Pairs
from ans_fast.models.shared_options import EMB_SIZE, N_LAYERS, PRECISION
from ans_fast.nn.columns import Columns
from ans_fast.nn.encoders import ENCODERS
from ans_fast.nn.gather import projected, rows_at, widened
from ans_fast.nn.hops import Hops, hops_of
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option
from ans_fast.training.batches import Rows


class LossOptions(BatchNorms):
    """What ANS's loss is told, also where it is a choice of --negative_sampling."""

    gamma = Option(non_negative, 0.01, "weight of ANS's sns, distance and orthogonality")
    eps = Option(non_negative, 0.1, "weight of the gain by ANS's noise when a negative is selected", names_runs=True)
    noise_scale = Option(non_negative, 0.1, "length of ANS's noise at a margin of 1", names_runs=True)
    gate = Option(
        switch,
        1,
        "0: ANS without its gate: no factor is hard or easy, noise changes all of them, and gamma has no part",
        names_runs=True,
    )
    predict_with = Option(
        Choice(("hops", "ego")),
        "hops",
        "vectors that rank in ANS: all hops, or only the embeddings, as the paper's code does",
        names_runs=True,
    )


class ANS(LossOptions, Contrastive):
    """ "Augmented Negative Sampling for Collaborative Filtering" (Zhao et al., RecSys 2023, arXiv 2308.05972).

    A node has n_layers + 1 vectors, its embedding and the propagated ones, and a user's score for an item is the sum of
    their products hop by hop. Each negative is split by a gate into hard and easy factors, its easy factors are
    augmented with noise, and the hardest augmented negative of a pair and hop goes into BPR (`ops.ans_terms`):

        loss_ANS = bpr + gamma (sns + distance + orthogonality) + reg_weight reg

    With loss_n SSM or BSL (`Contrastive`), in TopK mode, that loss stands in bpr's place. The hops of a node have the
    length 1 together, so that a user's score for an item is a cosine, and each click has one more negative than its
    batch has for all: the augmented one, hop by hop the hardest of the pair's own num_neg.

    What a mode adds, over the same vectors:

    - TopK: nothing. Pairs are the clicks; num_neg negatives a pair are drawn from what the user has not clicked.
    - Impression: loss = list loss + loss_ANS. The list loss (loss_n) is taken over the scores of the whole list. Every
      clicked item of a list makes a pair, whose negatives are those that the user was shown in that list and did not
      click, so that pairs have unequally many; each pair weighs the same.
    - CTR: loss = BCE or MSE (loss_n) over all rows + loss_ANS. Pairs are the batch's rows with label 1, with num_neg
      drawn negatives as in TopK.

    Weight decay acts on the embeddings alone: on the gates it would pull every gate to 1/2, and on the margin's layer
    it would pull the margin to its limits, since the margin depends on the inverse of what that layer gives.

    Each part can be left out to see what it is worth: gamma 0 is ANS without its auxiliary terms, gate 0 without
    disentanglement, noise_scale 0 without noise, eps 0 without the gain in the selection; and num_neg 1 has a random
    negative in the place of the hardest, since any one of several drawn ones is a drawn one.

    Args:
        graph: who clicked what.
        emb_size: D. n_layers: hops beyond the embedding; 0 is matrix factorisation.
        base_model: what makes the hops, one of ENCODERS: "LightGCN" as said above, "BPRMF" (the embedding alone),
            "NGCF" or "SGL"; a base's own loss is added.
        precision: of hops and gate logits, "float32" or "bf16" (not with NGCF); weights and all sums are float32.
        gamma: weight of the three auxiliary terms. Large values pull all vectors to zero.
        eps: weight, in the selection, of what the noise adds to a score.
        noise_scale: length of the noise where the margin is 1.
        gate: 0 leaves the gate out. No factor is hard or easy then: noise is laid on all of a negative's, the margin
            looks at the whole of both items, and the three auxiliary terms, which are about the two kinds, are 0.
        reg_weight, require_pow: weight of reg, and whether it is of squares, see BatchNorms.
        predict_with: "hops" scores as training does; "ego" uses the unpropagated embeddings, as the paper's published
            code does when it ranks all items.
        options: see Contrastive.
    """

    name = "ANS"
    log_args = ("emb_size", "n_layers", "batch_size", "num_neg", "gamma", "reg_weight")
    DEFAULTS: ClassVar[dict[str, Any]] = {"num_neg": 2, "l2": 1e-5}
    collapse_levers = ("gamma", "l2", "reg_weight")

    emb_size = EMB_SIZE
    n_layers = N_LAYERS
    base_model = Option(Choice(tuple(ENCODERS)), "LightGCN", "what makes the vectors", names_runs=True)
    precision = PRECISION
    num_neg = Contrastive.num_neg.but(default=DEFAULTS["num_neg"], only={"mode": (TOP_K.name, CLICKS.name)})

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        size, base = self.emb_size, ENCODERS[self.base_model]
        self.table = NodeTable(self.graph, size, ("user_embedding.weight", "item_embedding.weight"))
        self.table.xavier_uniform()
        self.base = base(self.n_layers, size, self.precision)
        if self.gate:
            self.user_gate = nn.Linear(size, size)
            self.item_gate = nn.Linear(size, size)
        self.margin = nn.Linear(size, 1)

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        super().check_together(values)
        precisions = ENCODERS[values["base_model"]].precisions
        if values["precision"] not in precisions:
            raise UserError(
                f"precision of {cls.name} must be {' or '.join(precisions)} with base_model {values['base_model']}, "
                f"got {values['precision']}"
            )

    def decays(self, parameter_name: str) -> bool:
        """The embeddings only."""
        return parameter_name.startswith("table.")

    def nodes(self) -> Tensor:
        """The vectors that rank: all hops of a node side by side [N, H · D], or only the first, [N, D], with "ego"."""
        vectors = self.table.weight if self.predict_with == "ego" else widened(self._hops()).flatten(1)
        return self.ranked(vectors, self.columns)

    def pooled(self, hops: Tensor) -> Tensor:
        return self.ranked(widened(hops[:, 0] if self.predict_with == "ego" else hops.flatten(1)))

    @torch.no_grad()
    def item_hops(self) -> Tensor:
        if not self.base.folds_in:
            raise UserError(f"{self.name} over {self.base_model} has no vectors for users that training did not see")
        return self._hops()[self.graph.n_users :].detach()

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
        """The last one is that of the noise; negatives are drawn by the first, and those of softmaxes, where they are
        drawn, by the second."""
        return (1 if self.mode.listed else 2) + self.draws_negatives

    @property
    def negatives_told(self) -> str:
        told = super().negatives_told
        return f"{told} and {self.num_neg:,} augmented" if self.contrasts else told

    @property
    def captures(self) -> bool:
        """With labels how many pairs there are is up to these."""
        return not self.mode.labelled and self.base.captures

    def begin_epoch(self) -> None:
        self.base.begin_epoch()

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """In CTR mode too: for the rows that are not clicked they are not looked at."""
        if self.mode.listed:
            return batch
        if self.draws_negatives:
            batch = self.with_negatives(batch, seeds[1])
        return replace(batch, neg_items=self.draw_negatives(batch.users, seeds[0]))

    def loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        pairs, share = self.mode.pairs(batch), self.mode.share_of_pairs(batch)
        items = batch.items, pairs.neg_items, *([self.negative_items(batch)] if self.contrasts else [])
        hops = hops_of(self.table, self._hops, self.graph, batch.users, *items)
        reg = self._reg(batch, hops, pairs) if self.reg_weight else None
        if self.contrasts:
            hops = hops.unit()
        loss, parts = self._pair_loss(batch, hops, pairs, seeds[-1], share.first)
        if share.weight != 1:
            loss, parts = share.weight * loss, {name: share.weight * part for name, part in parts.items()}
        if reg is not None:
            parts["reg"], loss = reg, loss + self.reg_weight * reg
        if not self.mode.labelled:
            return loss, parts
        own = self.mode.loss(self.loss_n, hops.scores(batch.users, self.mode.candidates(batch)), batch)
        return own + loss, {self.loss_n: own, **parts}

    def _pair_loss(
        self, batch: Rows, hops: Hops, pairs: Pairs, seed: Tensor, first_pair: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """loss_ANS of the pairs, and its parts; first_pair: see `ops.ans_terms`."""
        users, dtype = hops.user_rows(pairs.users), hops.users.dtype
        terms = ops.ans_terms(
            hops.users,
            hops.items,
            *self._gate_logits(hops, users),
            self.margin.weight[0].to(dtype),
            self.margin.bias.to(dtype),
            users,
            hops.item_rows(pairs.pos_items),
            hops.item_rows(pairs.neg_items),
            pairs.neg_count,
            eps=self.eps,
            noise_scale=self.noise_scale,
            seed=seed,
            first_pair=first_pair,
        )
        name, ranks = "bpr", terms.bpr
        if self.contrasts:
            each, _ = self.softmax_losses(batch, hops, terms.differences)
            name, ranks = self.loss_n, each.mean()
        parts, loss = {name: ranks}, ranks
        if self.gate:
            parts |= {"sns": terms.sns, "distance": terms.distance, "orthogonality": terms.orthogonality}
            loss = ranks + self.gamma * (terms.sns + terms.distance + terms.orthogonality)
        own = self.base.own_loss(self.table.weight, self.graph, pairs.users, pairs.pos_items)
        if own is not None:
            parts[self.base_model], loss = own, loss + own
        return loss, parts

    def _gate_logits(self, hops: Hops, users: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the pairs' users, rows of hops.users, and of all items: [P, H, D] and [n_items, H, D]. Without a
        gate they are 0, so that every factor is half hard and half easy."""
        if not self.gate:
            return hops.users.new_zeros(len(users), *hops.users.shape[1:]), torch.zeros_like(hops.items)
        of_users = rows_at(hops.users, users).to(hops.users.dtype)
        return projected(self.user_gate, of_users), projected(self.item_gate, hops.items)

    def _reg(self, batch: Rows, hops: Hops, pairs: Pairs) -> Tensor:
        """reg over the pairs of the rows at hand, by their lengths and not by copies of their embeddings."""
        squares = widened(hops.both[:, 0]).square().sum(1)
        users, items = squares.split([len(hops.users), len(hops.items)])
        of_negatives = rows_at(items[:, None], hops.item_rows(pairs.neg_items))[..., 0]  # [P, M]
        if pairs.neg_count is not None:
            column = torch.arange(of_negatives.shape[1], device=of_negatives.device)
            of_negatives = of_negatives.masked_fill(column >= pairs.neg_count[:, None], 0.0)
        of_users = users.index_select(0, hops.user_rows(pairs.users))
        of_clicked = items.index_select(0, hops.item_rows(pairs.pos_items))
        return self.reg(batch, (of_users, of_clicked, of_negatives), self.mode.n_pairs(batch.whole))
