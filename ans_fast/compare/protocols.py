"""Rules of the field by which whole comparisons are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """defaults: of the comparison's own flags. runs: flags of every run. published: flags of models, as
    `flags.PUBLISHED`. told: what the table's figures are, in words."""

    defaults: Mapping[str, Any]
    runs: tuple[str, ...]
    published: Mapping[str, str]
    told: str


_LIGHTGCN_FLAGS = "--lr 1e-3 --reg_weight 1e-4 --require_pow 1"
_LIGHTGCN = {"LightGCN": f"--n_layers 3 --init_std 0.1 {_LIGHTGCN_FLAGS}", "BPRMF": _LIGHTGCN_FLAGS}

PROTOCOLS = {
    "lightgcn": Protocol(
        defaults={
            "models": ",".join(_LIGHTGCN),
            "metrics": ",".join(f"{name}@{k}" for k in (20, 15) for name in ("RECALL", "NDCG", "PRECISION", "HR")),
            "epoch": 1000,
            "batch_size": 2048,
        },
        runs=("--protocol", "lightgcn", "--early_stop", "20"),
        published=_LIGHTGCN,
        told="all items ranked but the user's train clicks, each user once, as LightGCN's code does; the best epoch "
        "is chosen on a tenth of each user's train clicks, drawn with one seed and not trained on, never on test",
    )
}
