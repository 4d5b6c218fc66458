"""LightGCN."""

from __future__ import annotations

from typing import Any

from ans_fast.models.clicks import Clicks
from ans_fast.models.encoded import Encoded
from ans_fast.models.shared_options import N_LAYERS
from ans_fast.nn.encoders import LightGCNEncoder


class LightGCN(Encoded):
    """ "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation" (He et al., SIGIR 2020).

    A node's vector is the mean of its embedding and of its n_layers propagated ones.

    Args:
        graph: who clicked what. emb_size: D. n_layers: hops; 0 is matrix factorisation. options: see Encoded.
    """

    name = "LightGCN"
    log_args = ("emb_size", "n_layers", "batch_size")

    n_layers = N_LAYERS

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        self.encoder = LightGCNEncoder(self.n_layers, self.emb_size, self.precision)
        names = ("encoder.embedding_dict.user_emb", "encoder.embedding_dict.item_emb")
        self.table = self.drawn_table(names)
