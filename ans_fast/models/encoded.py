"""Models whose vectors an encoder makes, with a choice of negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast import ops
from ans_fast.errors import UserError
from ans_fast.flag_types import Choice, draws, non_negative, positive_int
from ans_fast.models.ans import ANS
from ans_fast.models.batch_norms import BatchNorms
from ans_fast.models.clicks import Clicks
from ans_fast.models.contrastive import TEMPERATURE, Contrastive
from ans_fast.models.losses import VECTOR_LOSSES
from ans_fast.models.modes import TOP_K
from ans_fast.models.shared_options import EMB_SIZE, PRECISION
from ans_fast.nn.columns import Columns
from ans_fast.nn.contrast import alignment_and_uniformity, top_k_weights
from ans_fast.nn.encoders import Encoder
from ans_fast.nn.gather import products, rows_at, widened
from ans_fast.nn.hops import Hops, hops_of
from ans_fast.nn.node_table import NodeTable
from ans_fast.nn.thresholds import Thresholds
from ans_fast.options import Option
from ans_fast.sampling import DENS, DNS, MixGCF, Popularity
from ans_fast.training.batches import Rows

SAMPLINGS = {  # choices, and the flags that they look at
    "uniform": (),
    "popularity": (),
    "DNS": ("n_candidates",),
    "MixGCF": ("n_candidates",),
    "DENS": ("n_candidates", "dens_gamma", "dens_warmup"),
}


def _looked_at(flag: str) -> dict[str, list[str]]:
    """The choices that look at the flag."""
    return {"negative_sampling": [name for name, flags in SAMPLINGS.items() if flag in flags]}


_DRAWS = Contrastive.num_neg.only
_SLK = {"loss_n": ("SL@K",)}


class Encoded(BatchNorms, Contrastive):
    """A model with a choice of negatives in TopK mode, whose vectors are the mean of what an encoder makes of a table.

    A subclass gives the `table` and the `encoder`.

    For each clicked item num_neg negatives are chosen:

    - uniform (RNS): any item that the user has not clicked ("BPR: Bayesian Personalized Ranking from Implicit
      Feedback", Rendle et al., UAI 2009).
    - popularity (PNS): such an item by clicks^0.75 ("Distributed Representations of Words and Phrases and their
      Compositionality", Mikolov et al., NIPS 2013).
    - DNS, MixGCF, DENS: of n_candidates uniform ones the hardest, each by its paper.

    In TopK mode loss_n is "BPR" over these negatives; or a softmax loss, see `Contrastive`, whose negatives, where they
    are drawn, come uniformly or by popularity; or "SL@K", that is SSM with weights (`nn.contrast.top_k_weights`); or
    "DirectAU" (`nn.contrast.alignment_and_uniformity`).

    Augmented negative sampling replaces the whole loss. It is a model of its own, `ANS`, with the class's name as its
    base_model; the command line's --negative_sampling ANS makes that.

    Args:
        graph: who clicked what. emb_size: D. negative_sampling: one of SAMPLINGS.
        n_candidates: M, looked at for each hard negative.
        init_std: standard deviation of the embeddings at the start; None: the model's own rule.
        reg_weight, require_pow: see BatchNorms; in TopK mode. Negatives are those of BPR over drawn ones, not the hard
            ones of DNS, MixGCF and DENS, nor what vector losses compare.
        precision: of hops, "float32" or "bf16": weights, all sums and what ranks are float32.
        dens_gamma, dens_warmup: weight of the tasks of DENS; epochs until it is at its hardest.
        slk_k, slk_temperature, slk_every: K and the weights' temperature of SL@K; epochs between looks at all scores.
        uniformity: weight of DirectAU's uniformity.
        options: see Contrastive.
    """

    table: NodeTable
    encoder: Encoder

    own_losses: ClassVar[dict[str, tuple[str, ...]]] = {TOP_K.name: VECTOR_LOSSES}

    emb_size = EMB_SIZE
    precision = PRECISION
    init_std = Option(
        non_negative,
        None,
        "standard deviation of the embeddings at the start; default: 0.01 (BPRMF), Xavier's rule (LightGCN)",
        names_runs=True,
    )
    num_neg = Contrastive.num_neg.but(only={**_DRAWS, "loss_n": TOP_K.losses})
    reg_weight = BatchNorms.reg_weight.but(only=_DRAWS)
    negative_sampling = Option(
        Choice(tuple(SAMPLINGS)), "uniform", "how negatives are chosen in TopK mode", only=_DRAWS
    )
    n_candidates = Option(
        draws, 32, "candidates of DNS, MixGCF and DENS for a negative", only=_looked_at("n_candidates")
    )
    dens_gamma = Option(non_negative, 0.3, "weight of DENS's tasks for its gates", only=_looked_at("dens_gamma"))
    dens_warmup = Option(positive_int, 100, "epochs until DENS is at its hardest", only=_looked_at("dens_warmup"))
    slk_k = Option(positive_int, 20, "K of SL@K", names_runs=True, only=_SLK)
    slk_temperature = Option(TEMPERATURE, 2.25, "what SL@K's weights divide differences by", names_runs=True, only=_SLK)
    slk_every = Option(positive_int, 20, "epochs between SL@K's looks at all scores", names_runs=True, only=_SLK)
    uniformity = Option(
        non_negative, 1.0, "weight of DirectAU's uniformity", names_runs=True, only={"loss_n": ("DirectAU",)}
    )

    def __init__(self, graph: Clicks, **options: Any):
        if options.get("negative_sampling") == ANS.name:
            raise UserError(f"negative_sampling ANS is a model of its own: ANS(graph, base_model={self.name!r})")
        super().__init__(graph, **options)
        sampling = self.negative_sampling
        self.thresholds = Thresholds(self.graph.n_users, self.slk_k, self.slk_every) if self.loss_n == "SL@K" else None
        self.hard: DNS | None = None
        if sampling == "popularity":
            self.sampler = Popularity(self.graph, self.first_item)
        elif sampling == "DENS":
            self.hard = DENS(self.emb_size, self.dens_gamma, self.dens_warmup * self.graph.n_edges)
        elif sampling != "uniform":
            self.hard = {"DNS": DNS, "MixGCF": MixGCF}[sampling]()

    @classmethod
    def check_together(cls, values: Mapping[str, Any]) -> None:
        super().check_together(values)
        sampling = values["negative_sampling"]
        drawn = ("uniform", "popularity") if values["n_shared"] or values["n_own"] else ("uniform",)
        if values["loss_n"] in VECTOR_LOSSES and sampling not in drawn:
            raise UserError(
                f"negative_sampling {sampling} has no meaning with loss_n {values['loss_n']}, n_shared "
                f"{values['n_shared']} and n_own {values['n_own']}"
            )

    def drawn_table(self, names: tuple[str, str], std: float | None = None) -> NodeTable:
        """The node table as it is at the start. names: see NodeTable; std: what holds without init_std."""
        table = NodeTable(self.graph, self.emb_size, names)
        std = std if self.init_std is None else self.init_std
        if std is None:
            table.xavier_uniform()
        else:
            table.normal(std)
        return table

    @property
    def negatives_told(self) -> str:
        told = super().negatives_told
        return told if self.hard is None else f"{told}, the hardest of {self.n_candidates:,}"

    @property
    def captures(self) -> bool:
        return self.encoder.captures

    @classmethod
    def by_columns(cls, **options: Any) -> bool:
        """Not where a loss looks at all scores (SL@K), at all users of a batch (DirectAU), or at whole embeddings."""
        return options.get("loss_n") not in ("SL@K", "DirectAU") and not options.get("reg_weight")

    @property
    def columns(self) -> Columns | None:
        return self.table.columns

    @property
    def adds_up_scores(self) -> bool:
        return self.columns is not None and not self.contrasts and self.hard is None

    def hops(self, nodes: Tensor | None = None) -> Tensor:
        """The vectors of nodes int64 [R], or of all, hop by hop [R, H, D], with gradients."""
        return self.encoder(self.table.weight, self.graph, nodes)

    def _means(self, nodes: Tensor) -> Tensor:
        """Their means [R, D]."""
        return self.encoder.mean(self.table.weight, self.graph, nodes)

    def _mean_hops(self, nodes: Tensor) -> Tensor:
        """The same as the one hop of these nodes [R, 1, D]."""
        return self._means(nodes)[:, None]

    @torch.no_grad()
    def item_hops(self) -> Tensor:
        return self.hops()[self.graph.n_users :].detach()

    def pooled(self, hops: Tensor) -> Tensor:
        return self.ranked(widened(hops).mean(1))

    def nodes(self) -> Tensor:
        return self.ranked(self.encoder.mean(self.table.weight, self.graph), self.columns)

    def rows(self, ids: Tensor) -> Tensor:
        return self.ranked(self._means(ids), self.columns)

    @property
    def seed_count(self) -> int:
        return int(self.draws_negatives) if self.contrasts else super().seed_count

    def begin_epoch(self) -> None:
        super().begin_epoch()
        if self.thresholds is not None:
            self.thresholds.begin_epoch(self._cosine_vectors)

    @torch.no_grad()
    def _cosine_vectors(self) -> tuple[Tensor, Tensor]:
        """Of users [n_users, D] and of the items that can be clicked, of length 1."""
        users, items = F.normalize(self.nodes(), dim=1).split([self.graph.n_users, self.graph.n_items])
        return users, items[self.first_item :]

    def draw(self, batch: Rows, seeds: Sequence[Tensor]) -> Rows:
        """Where negatives are the hardest of several, neg_items are the candidates, each negative's side by side."""
        if self.contrasts:
            return self.with_negatives(batch, seeds[0]) if self.draws_negatives else batch
        if self.hard is None:
            return super().draw(batch, seeds)
        candidates = self.sampler(self.graph, batch.users, self.num_neg * self.n_candidates, seeds[0])
        n_hops = self.encoder.n_layers + 1 if self.hard.hop_by_hop else 1
        drawn = self.hard.draw(batch.users, self.num_neg, n_hops, seeds[0])
        return replace(batch, neg_items=candidates, context={**batch.context, **drawn})

    def loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = self._ranking_loss(batch, seeds)
        if not self.reg_weight:
            return loss, parts
        reg = self._reg(batch)
        return loss + self.reg_weight * reg, {**(parts or {self.loss_n: loss}), "reg": reg}

    def _reg(self, batch: Rows) -> Tensor:
        nodes = [batch.users, batch.items + self.graph.n_users]
        if batch.neg_items is not None and self.hard is None:
            nodes.append(batch.neg_items.flatten() + self.graph.n_users)
        squares = rows_at(self.table.weight, torch.cat(nodes)).square().sum(1)
        return self.reg(batch, squares.split([len(part) for part in nodes]), len(batch.whole))

    def _ranking_loss(self, batch: Rows, seeds: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if self.loss_n == "DirectAU":
            return self._direct_au(batch)
        if self.contrasts:
            return self._softmax(batch), {}
        if self.hard is None:
            return super().loss(batch, seeds)
        encode = self.hops if self.hard.hop_by_hop else self._mean_hops
        hops = hops_of(self.table, encode, self.graph, batch.users, batch.items, batch.neg_items)
        u, p, n = self._rows(hops, batch.users, batch.items, batch.neg_items)
        n = self.hard.negatives(p, n, batch.context)
        loss = ops.top_k_bpr(products(u.mean(1), torch.cat([p[:, None], n], 1).mean(2)))
        own = self.hard.own_loss(u, p, n)
        if own is None:
            return loss, {}
        return loss + own, {"bpr": loss, self.negative_sampling: own}

    def _softmax(self, batch: Rows) -> Tensor:
        items = batch.items, self.negative_items(batch)
        hops = hops_of(self.table, self._mean_hops, self.graph, batch.users, *items).unit()
        each, cosines = self.softmax_losses(batch, hops)
        if self.thresholds is not None:
            thresholds = self.thresholds.values.index_select(0, batch.users)
            each = each * top_k_weights(cosines, thresholds, self.slk_temperature)
        return each.mean()

    def _direct_au(self, batch: Rows) -> tuple[Tensor, dict[str, Tensor]]:
        nodes = torch.cat([batch.whole.users, batch.whole.items + self.graph.n_users])
        users, items = F.normalize(self.table.rows(self._means, nodes), dim=1).chunk(2)
        alignment, uniformity = alignment_and_uniformity(users, items, self.uniformity, batch.own_of, batch.total)
        return alignment + uniformity, {"alignment": alignment, "uniformity": uniformity}

    def _rows(self, hops: Hops, users: Tensor, items: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of clicks users int64 [B], items int64 [B] and of the negatives chosen for them of candidates
        int64 [B, K · M], with gradients: [B, H, D], [B, H, D] and [B, K, H, D]."""
        users, items = hops.user_rows(users), hops.item_rows(items)
        n_users, n_hops = len(hops.users), hops.both.shape[1]
        with torch.no_grad():
            u, p = hops.users.index_select(0, users), hops.items.index_select(0, items)
            candidates = hops.item_rows(candidates).view(len(users), self.num_neg, -1)
            hardest = self.hard.hardest(u, p, hops.items, candidates)
        # one gather from one table: its backward pass fills one gradient of the table's size
        nodes = torch.stack([users, items + n_users], 1)[..., None].expand(-1, -1, n_hops)
        nodes = torch.cat([nodes, hardest + n_users], 1)  # [B, 2 + K, H]
        rows = rows_at(hops.both.flatten(0, 1), nodes * n_hops + torch.arange(n_hops, device=nodes.device))
        return rows[:, 0], rows[:, 1], rows[:, 2:]
