"""Metrics equal a literal implementation on random lists with ties, unequal lengths, NaN and infinities."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast import UserError
from ans_fast import metrics as m
from ans_fast.runner.arguments import parse

_spec = importlib.util.spec_from_file_location("literal_metrics", Path(__file__).with_name("literal_metrics.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

few_values = st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, math.nan, math.inf, -math.inf])  # ties are common
scores = few_values | st.floats(-2, 2, width=32)
cut_offs = st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True)


def assert_same(ours: dict[str, float], wanted: dict[str, float]) -> None:
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        assert ours[name] == pytest.approx(value, rel=0, abs=1e-12, nan_ok=True), name


@settings(max_examples=350, deadline=None)
@given(
    st.integers(1, 25).flatmap(lambda c: st.lists(st.lists(scores, min_size=c, max_size=c), min_size=1, max_size=8)),
    cut_offs,
)
def test_top_k(rows, ks):
    tensor = torch.tensor(rows, dtype=torch.float64)
    ours = m.top_k_metrics(m.positive_ranks(tensor, tensor[:, :1]), m.RANKING, ks)
    assert {values.shape for values in ours.values()} == {(len(rows),)}
    assert_same(m.means(ours), {f"{name}@{k}": value for k in ks for name, value in literal.top_k(rows, k).items()})


parts = st.lists(scores, min_size=1, max_size=12)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(parts, parts), min_size=1, max_size=6), cut_offs)
def test_impression(lists, ks):
    width = max(len(pos) + len(neg) for pos, neg in lists) + 1
    padded = [pos + neg + [9.0] * (width - len(pos) - len(neg)) for pos, neg in lists]
    n_pos = torch.tensor([len(pos) for pos, _ in lists])
    n_neg = torch.tensor([len(neg) for _, neg in lists])
    ours = m.impression_metrics(torch.tensor(padded, dtype=torch.float64), n_pos, n_neg, m.RANKING, ks)
    assert {values.shape for values in ours.values()} == {(len(lists),)}
    wanted = {f"{name}@{k}": value for k in ks for name, value in literal.impression(lists, k).items()}
    assert_same(m.means(ours), wanted)


probability = st.sampled_from([0.0, 0.5, 1.0, 0.25]) | st.floats(0, 1)


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(probability | st.just(math.nan), st.integers(0, 1)), min_size=1, max_size=30))
def test_click(rows):
    predictions, labels = [p for p, _ in rows], [y for _, y in rows]
    ours = m.click_metrics(torch.tensor(predictions, dtype=torch.float64), torch.tensor(labels), m.CLICK)
    assert_same(m.means(ours), literal.click(predictions, labels))


def test_nan_is_never_a_hit():
    broken = torch.full((3, 4), torch.nan)
    ranks = m.positive_ranks(broken, broken[:, :1])
    assert m.means(m.top_k_metrics(ranks, ["HR"], [100])) == {"HR@100": 0.0}
    lists = m.impression_metrics(broken, torch.tensor([1, 2, 3]), torch.tensor([3, 2, 1]), ["HR", "NDCG"], [4])
    assert m.means(lists) == {"HR@4": 0.0, "NDCG@4": 0.0}


def test_float32_scores_are_ranked_as_they_are():
    scores = torch.tensor([[0.1, 0.1, 0.2]])
    assert m.positive_ranks(scores, scores[:, :1]).tolist() == [3]


@pytest.mark.parametrize(("name", "larger"), [("HR@5", True), ("LOG_LOSS", False), ("RMSE", False), ("AUC", True)])
def test_direction(name, larger):
    assert m.larger_is_better(name) is larger


def test_format():
    results = {"NDCG@5": 0.12345, "HR@10": 1.0, "HR@5": 0.5, "NDCG@10": 0.0}
    assert m.format_metrics(results) == "HR@5:0.5000,NDCG@5:0.1235,HR@10:1.0000,NDCG@10:0.0000"


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UserError, match=r"--metric: expected one of HR, .*, got 'NDGC'; did you mean NDCG"):
        parse(["--metric", "HR,NDGC"])


@pytest.mark.parametrize("text", ["NDCG", "NDCG@", "NDCG@0", "NDCG@²", "NDCG@5@5", "AUC@5", "@5"])
def test_main_metric_has_a_cut_off(text):
    with pytest.raises(UserError, match=r"--main_metric: expected one of HR@5, NDCG@5, .*, got"):
        parse(["--main_metric", text])
