"""Matrix factorisation."""

from __future__ import annotations

from argparse import _ArgumentGroup
from typing import Any

from torch import Tensor, nn

from ans_fast.flag_types import positive_int
from ans_fast.graph import BipartiteGraph
from ans_fast.models.dot_product import DotProduct
from ans_fast.models.node_table import NodeTable


class BPRMF(DotProduct):
    """ "BPR: Bayesian Personalized Ranking from Implicit Feedback" (Rendle et al., UAI 2009).

    Args:
        graph: who clicked what. emb_size: D. training: see Recommender.
    """

    name = "BPRMF"
    log_args = ("emb_size", "batch_size")

    def __init__(self, graph: BipartiteGraph, emb_size: int = 64, **training: Any):
        super().__init__(graph, **training)
        self.emb_size = emb_size
        table = NodeTable(graph, emb_size)
        self.table = table.named_in_state(self, "table", "u_embeddings.weight", "i_embeddings.weight")
        nn.init.normal_(self.table.weight, std=0.01)

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        group.add_argument("--emb_size", type=positive_int, default=64, help="size of the embedding vectors")

    def nodes(self) -> Tensor:
        return self.table.weight
