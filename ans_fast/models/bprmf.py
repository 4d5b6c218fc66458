"""Matrix factorisation."""

from __future__ import annotations

from typing import Any

from ans_fast.models.clicks import Clicks
from ans_fast.models.encoded import Encoded
from ans_fast.nn.encoders import BPRMFEncoder


class BPRMF(Encoded):
    """ "BPR: Bayesian Personalized Ranking from Implicit Feedback" (Rendle et al., UAI 2009).

    Args:
        graph: who clicked what. emb_size: D. options: see Encoded.
    """

    name = "BPRMF"
    log_args = ("emb_size", "batch_size")

    def __init__(self, graph: Clicks, **options: Any):
        super().__init__(graph, **options)
        self.encoder = BPRMFEncoder(0, self.emb_size, self.precision)
        self.table = self.drawn_table(("u_embeddings.weight", "i_embeddings.weight"), std=0.01)
