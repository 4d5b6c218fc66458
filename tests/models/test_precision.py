"""Models whose hops are stored in bfloat16: float32's results to bfloat16's rounding, from float32 weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ans_fast import BipartiteGraph, backend, models, ops
from ans_fast.errors import UserError
from ans_fast.models import ANS, LightGCN
from ans_fast.models.losses import VECTOR_LOSSES
from ans_fast.nn import gather
from ans_fast.nn.encoders import ENCODERS
from ans_fast.nn.gather import projected, rows_at, widened
from tests.conftest import random_graph
from tests.models.test_waiting import rows_of

ROUNDING = 2.0**-8  # of a bfloat16, of the number
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "LightGCN": ("LightGCN", "TopK", {}),
    "LightGCN lists": ("LightGCN", "Impression", {}),
    "BPRMF": ("BPRMF", "TopK", {}),
    **{name: ("LightGCN", "TopK", {"negative_sampling": name}) for name in ("DNS", "MixGCF", "DENS")},
    **{name: ("LightGCN", "TopK", {"loss_n": name}) for name in VECTOR_LOSSES},
    "ANS": ("ANS", "TopK", {"noise_scale": 0.0}),
    "ANS SSM": ("ANS", "TopK", {"noise_scale": 0.0, "loss_n": "SSM"}),
    "ANS over BPRMF": ("ANS", "TopK", {"noise_scale": 0.0, "base_model": "BPRMF"}),
    "ANS lists": ("ANS", "Impression", {"noise_scale": 0.0}),
    "ANS clicks": ("ANS", "CTR", {"noise_scale": 0.0}),
}


@pytest.fixture
def graph() -> BipartiteGraph:
    return random_graph(40, 50, 300)


def made(graph: BipartiteGraph, case: str, precision: str) -> models.Recommender:
    name, mode, options = CASES[case]
    torch.manual_seed(0)
    model = models.by_name(name)(graph, emb_size=16, mode=mode, precision=precision, **options)
    with torch.no_grad():  # on the grid of bfloat16, and large enough that scores differ
        model.table.weight.mul_(4).copy_(model.table.weight.bfloat16())
    return model


def loss_and_gradients(model: models.Recommender) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    batch = rows_of(model.mode.name, 300)
    seeds = torch.arange(model.seed_count)[:, None].unbind()
    loss, _ = model.loss(model.draw(batch, seeds), seeds)
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_those_of_float32_rounded(graph: BipartiteGraph, case: str):
    (loss, gradients), (wide, expected) = (
        loss_and_gradients(made(graph, case, precision)) for precision in ("bf16", "float32")
    )
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, wide, rtol=ROUNDING, atol=0)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert gradient.dtype == torch.float32
        # where a rounded score chooses another negative, or turns a sign, a few rows have gradients of their own
        assert (gradient - expected[name]).norm() <= 0.1 * expected[name].norm(), name


@pytest.mark.parametrize("case", ["LightGCN", "DENS", "ANS"])
def test_the_reference_computes_the_same(graph: BipartiteGraph, case: str):
    loss, gradients = loss_and_gradients(made(graph, case, "bf16"))
    with backend("reference"):
        wanted, expected = loss_and_gradients(made(graph, case, "bf16"))
    torch.testing.assert_close(loss, wanted, rtol=ROUNDING, atol=0)
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).norm() <= 0.1 * expected[name].norm(), name


def test_hops_are_bfloat16_and_what_ranks_is_float32(graph: BipartiteGraph):
    for name in ("LightGCN", "BPRMF"):
        model = models.by_name(name)(graph, emb_size=16, precision="bf16")
        assert (model.hops().dtype, model.nodes().dtype) == (torch.bfloat16, torch.float32)
        ans = ANS(graph, emb_size=16, precision="bf16", base_model=name)
        assert (ans._hops().dtype, ans.nodes().dtype) == (torch.bfloat16, torch.float32)
        assert model.table.weight.dtype == ans.table.weight.dtype == torch.float32


def test_a_float64_model_stays_one(graph: BipartiteGraph):
    """float32 names what models are made in, and casts nothing."""
    assert LightGCN(graph, emb_size=8).double().nodes().dtype == torch.float64


def test_gradients_of_a_row_that_is_wanted_often_are_summed_in_float32():
    """In bfloat16 a sum of ones would stay at 256."""
    table = torch.ones(2, 4, dtype=torch.bfloat16, requires_grad=True)
    rows = rows_at(table, torch.zeros(1_000, dtype=torch.int64))
    assert rows.dtype == torch.float32
    rows.sum().backward()
    assert table.grad[:, 0].tolist() == [1_000, 0]
    graph = BipartiteGraph([0], [0], 1, 1)
    encoder = ENCODERS["BPRMF"](0, 4, "bf16")
    weight = torch.ones(2, 4, requires_grad=True)
    encoder.mean(weight, graph, torch.zeros(1_001, dtype=torch.int64)).sum().backward()
    assert weight.grad[:, 0].tolist() == [1_001, 0]


@pytest.mark.parametrize("short", [False, True])
def test_projected_is_the_layer_in_its_rows_dtype(short: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gather, "SHORT_PRODUCTS", short)
    torch.manual_seed(0)
    layer, rows = torch.nn.Linear(8, 8), torch.randn(5, 3, 8)
    assert torch.equal(projected(layer, rows), layer(rows))
    rows = rows.bfloat16()
    found = projected(layer, rows)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(widened(found), layer(rows.float()), rtol=2e-2, atol=2e-2)
    found.sum().backward()
    assert layer.bias.grad.tolist() == [15.0] * 8
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("case", ["LightGCN", "BPRMF", "ANS"])
def test_trains_and_is_saved_with_its_precision(graph: BipartiteGraph, case: str, tmp_path):
    ends = {}
    for precision in ("float32", "bf16"):
        model = made(graph, case, precision)
        losses = model.fit(epochs=20, lr=0.02)
        assert losses[-1] < 0.9 * losses[0]
        ends[precision] = losses[-1]
    assert ends["bf16"] == pytest.approx(ends["float32"], rel=0.02)
    assert ends["bf16"] != ends["float32"]
    model.save(tmp_path / "model.pt")
    again = models.load(tmp_path / "model.pt")
    assert again.precision == "bf16"
    assert (again.recommend([1, 2])[0] == model.recommend([1, 2])[0]).all()


def test_who_has_no_such_precision_says_so(graph: BipartiteGraph):
    with pytest.raises(UserError, match="precision of ANS must be float32 with base_model NGCF, got bf16"):
        ANS(graph, base_model="NGCF", precision="bf16")
    with pytest.raises(UserError, match=r"precision of \w+ must be one of float32, bf16, got 'fp16'"):
        LightGCN(graph, precision="fp16")
    with pytest.raises(TypeError, match="NeuMF has no option 'precision'"):
        models.by_name("NeuMF")(graph, precision="bf16")


@pytest.mark.parametrize("case", ["LightGCN", "ANS"])
def test_a_compiled_loss(graph: BipartiteGraph, case: str):
    model = made(graph, case, "bf16")
    users, items = torch.arange(10), torch.arange(10)
    encoder = model.encoder if case == "LightGCN" else model.base

    def hops(nodes: Tensor) -> Tensor:
        return encoder(model.table.weight, graph, nodes)

    nodes = torch.cat([users, items + graph.n_users])
    expected, found = hops(nodes), torch.compile(hops, backend="aot_eager", fullgraph=True)(nodes)
    assert torch.equal(found, expected)
    assert torch.equal(found, ops.propagate(model.table.weight.bfloat16(), graph, model.n_layers, nodes))
