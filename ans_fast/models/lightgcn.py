"""LightGCN."""

from __future__ import annotations

from argparse import _ArgumentGroup
from typing import Any

from ans_fast.flag_types import layers
from ans_fast.graph import BipartiteGraph
from ans_fast.models.encoded import Encoded
from ans_fast.nn.encoders import LightGCNEncoder
from ans_fast.nn.node_table import NodeTable


class LightGCN(Encoded):
    """ "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation" (He et al., SIGIR 2020).

    A node's vector is the mean of its embedding and of its n_layers propagated ones.

    Args:
        graph: who clicked what. emb_size: D. n_layers: hops; 0 is matrix factorisation. training: see Encoded.
    """

    name = "LightGCN"
    log_args = ("emb_size", "n_layers", "batch_size")

    def __init__(self, graph: BipartiteGraph, emb_size: int = 64, n_layers: int = 3, **training: Any):
        super().__init__(graph, emb_size, **training)
        self.n_layers = n_layers
        self.encoder = LightGCNEncoder(n_layers, emb_size)
        names = ("encoder.embedding_dict.user_emb", "encoder.embedding_dict.item_emb")
        self.table = NodeTable(graph, emb_size, names)
        self.table.xavier_uniform()

    @classmethod
    def add_arguments(cls, group: _ArgumentGroup) -> None:
        group.add_argument(
            "--n_layers", type=layers, default=3, help="graph convolution layers; 0 is matrix factorisation"
        )
        super().add_arguments(group)
