"""Which losses look at values, for which a GPU would be waited for: a model says so by `captures`.

Tensors on torch's meta device have no values, so whatever looks at one is an error there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ans_fast import models
from ans_fast.models.encoded import SAMPLINGS
from ans_fast.models.losses import VECTOR_LOSSES
from ans_fast.models.modes import CLICKS, IMPRESSION
from ans_fast.ops._operator import Operator
from ans_fast.training.batches import Rows
from ans_fast.training.optimizer import make_optimizer
from ans_fast.training.step import Step
from tests.conftest import random_graph

WIDTH = 5  # of a list
CASES = {  # whether steps can be captured, and the model's options
    **{f"LightGCN TopK {name}": (True, {"negative_sampling": name}) for name in SAMPLINGS},
    "LightGCN TopK four": (True, {"num_neg": 4}),
    "LightGCN TopK none": (True, {"n_layers": 0}),
    **{f"LightGCN TopK {name}": (True, {"loss_n": name}) for name in VECTOR_LOSSES},
    **{
        f"LightGCN TopK {n} {name}": (True, {"loss_n": "SSM", n: 7, "logq": 1, "negative_sampling": name})
        for n in ("n_shared", "n_own")
        for name in ("uniform", "popularity")
    },
    **{f"LightGCN Impression {name}": (True, {"loss_n": name}) for name in IMPRESSION.losses},
    **{f"LightGCN CTR {name}": (True, {"loss_n": name}) for name in CLICKS.losses},
    **{f"BPRMF TopK {name}": (True, {"negative_sampling": name}) for name in SAMPLINGS},
    **{f"ANS TopK {name}": (name != "SGL", {"base_model": name}) for name in ("LightGCN", "BPRMF", "NGCF", "SGL")},
    **{
        f"{name} TopK bf16 {sampling}": (True, {"negative_sampling": sampling, "precision": "bf16"})
        for name in ("LightGCN", "BPRMF")
        for sampling in SAMPLINGS
    },
    **{f"ANS TopK bf16 {name}": (True, {"base_model": name, "precision": "bf16"}) for name in ("LightGCN", "BPRMF")},
    "ANS TopK SSM": (True, {"loss_n": "SSM"}),
    "ANS TopK BSL": (True, {"loss_n": "BSL", "n_shared": 7, "logq": 1}),
    "ANS TopK own bf16": (True, {"loss_n": "BSL", "n_own": 7, "precision": "bf16"}),
    "LightGCN TopK reg": (True, {"reg_weight": 0.1, "require_pow": 1}),
    "ANS TopK reg": (True, {"reg_weight": 0.1, "require_pow": 1}),
    "ANS Impression": (False, {}),
    "ANS CTR": (False, {}),
    "NeuMF TopK": (True, {"dropout": 0.5}),
    "NeuMF CTR": (True, {}),
    "FPMC TopK": (True, {}),
    "AutoCF TopK": (False, {}),
    "GRU4Rec TopK": (False, {}),
}


class There(TorchDispatchMode):
    """Fails where the host's memory has a part in what the device does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        given = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, given)):
            assert not isinstance(tensor, Tensor) or tensor.device.type == "meta", f"{func} has to do with the host"
        return given


@pytest.fixture(autouse=True)
def every_device_has_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Operator, "_check_kernels", lambda self, device: None)


def rows_of(mode: str, n: int) -> Rows:
    """n rows of a mode, of 40 users and 50 items."""
    users, items = torch.randint(40, (n,)), torch.randint(1, 50, (n, WIDTH))
    if mode == "Impression":
        return Rows(users, items, n_pos=torch.randint(1, 3, (n,)), n_neg=torch.randint(1, WIDTH - 1, (n,)))
    history = {"history_items": torch.randint(1, 50, (n, 3)), "lengths": torch.randint(1, 4, (n,))}
    labels = torch.randint(2, (n,)).float() if mode == "CTR" else None
    return Rows(users, items[:, 0], labels=labels, context=history)


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_captures_looks_at_no_value(case: str):
    captures, options = CASES[case]
    name, mode = case.split()[:2]
    model = models.by_name(name)(random_graph(40, 50, 300), emb_size=8, mode=mode, **options)
    assert model.captures is captures
    model.to_device("meta").train()
    batch = rows_of(mode, 6).to(torch.device("meta"))
    seeds = torch.zeros(model.seed_count, 1, dtype=torch.int64, device="meta").unbind()
    if captures:
        step = Step(model, make_optimizer(model, "Adam", 0.1, 0.0))
        with There():
            step(batch, seeds)
    else:
        with pytest.raises((RuntimeError, AssertionError)), There():
            model.loss(model.draw(batch, seeds), seeds)
