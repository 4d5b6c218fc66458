"""fit: what it is told, what callbacks are told, when it ends, and of what it warns."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch

from ans_fast import BipartiteGraph, UserError, models
from ans_fast.runner.arguments import parse
from ans_fast.training.loop import Epoch
from tests.conftest import random_graph

GRAPH = random_graph(40, 50, 300)
LATER = random_graph(40, 50, 60, seed=1)


def made(name: str = "ANS", **options: object) -> models.Recommender:
    torch.manual_seed(0)
    return models.by_name(name)(GRAPH, emb_size=8, **options)


def test_callbacks_are_told_of_each_epoch() -> None:
    told: list[Epoch] = []
    history = made().fit(epochs=3, batch_size=64, validation=LATER, metric="HR@5", callbacks=[told.append])
    assert [epoch.number for epoch in told] == [1, 2, 3]
    assert [epoch.losses["loss"] for epoch in told] == history
    assert list(told[0].losses) == ["loss", "bpr", "sns", "distance", "orthogonality"]
    parts = told[2].losses
    rest = parts["sns"] + parts["distance"] + parts["orthogonality"]
    assert parts["loss"] == pytest.approx(parts["bpr"] + 0.01 * rest, rel=1e-5)
    assert all(epoch.seconds > 0 and 0 <= epoch.validation["HR@5"] <= 1 for epoch in told)
    alone: list[Epoch] = []
    assert made().fit(epochs=1, batch_size=64, callbacks=[alone.append]) == history[:1]
    assert alone[0].validation is None


def test_a_callback_ends_training_after_all_were_told() -> None:
    told: list[int] = []
    ends: list[Callable] = [lambda epoch: epoch.number == 2, lambda epoch: told.append(epoch.number)]
    assert len(made("BPRMF").fit(epochs=9, batch_size=64, callbacks=ends)) == 2
    assert told == [1, 2]


def test_the_best_weights_stay_where_a_callback_ends() -> None:
    model, values = made("BPRMF"), []

    def end(epoch: Epoch) -> bool:
        values.append(epoch.validation["NDCG@5"])
        return epoch.number == 6

    model.fit(epochs=50, batch_size=32, lr=0.5, validation=LATER, metric="NDCG@5", early_stop=0, callbacks=[end])
    assert model.evaluate(LATER, ["NDCG@5"])["NDCG@5"] == max(values)
    assert len(values) == 6


@pytest.mark.parametrize("name", ["ANS", "BPRMF"])
def test_defaults_are_those_of_the_command_line(name: str) -> None:
    flags = parse(["--model_name", name]).flags
    arguments = {name: value.default for name, value in inspect.signature(models.Recommender.fit).parameters.items()}
    assert arguments["epochs"] == flags["epoch"] == 200
    for shared in ("batch_size", "lr", "optimizer", "early_stop"):
        assert arguments[shared] == flags[shared], shared
    assert arguments["l2"] is None
    usual, stated = made(name), made(name)  # weight decay is up to the model
    torch.manual_seed(1)
    usual.fit(epochs=2)
    torch.manual_seed(1)
    stated.fit(epochs=2, l2=flags["l2"])
    assert all(a.equal(b) for a, b in zip(usual.parameters(), stated.parameters(), strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": -1}, "epochs of BPRMF.fit must be an integer from 0 to 2147483647, got -1"),
        ({"lr": -0.1}, "lr of BPRMF.fit must be a number from 0 to 1e+38, got -0.1"),
        ({"lr": float("nan")}, "lr of BPRMF.fit must be a number from 0 to 1e+38, got nan"),
        ({"l2": -1}, "l2 of BPRMF.fit must be a number from 0 to 1e+38, got -1"),
        ({"batch_size": 0}, "batch_size of BPRMF.fit must be an integer from 1 to 2147483647, got 0"),
        ({"batch_size": 2.5}, "batch_size of BPRMF.fit must be an integer from 1 to 2147483647, got 2.5"),
        ({"early_stop": -1}, "early_stop of BPRMF.fit must be an integer from 0 to 2147483647, got -1"),
        ({"optimizer": "adam"}, "optimizer of BPRMF.fit must be one of Adam, SGD, Adagrad, Adadelta, got 'adam'"),
    ],
)
def test_arguments_out_of_range_are_told(given: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        made("BPRMF").fit(**given)
    assert str(error.value) == message


def test_collapse_is_warned_of_once() -> None:
    with pytest.warns(UserWarning, match=r"collapsed by epoch \d+ \(scores .*\): lower l2, then lr$") as told:
        made("BPRMF").fit(epochs=30, batch_size=32, lr=2e-4, l2=1e3)
    assert len(told) == 1
    assert told[0].filename == __file__


def test_nothing_is_trained_in_no_epochs() -> None:
    model = made("BPRMF")
    before = model.table.weight.detach().clone()
    assert model.fit(epochs=0, validation=LATER) == []
    assert model.table.weight.equal(before)


def test_graphs_without_clicks_are_told() -> None:
    with pytest.raises(UserError, match="fit learns from clicks"):
        models.BPRMF(BipartiteGraph([], [], 4, 4), emb_size=4).fit()
