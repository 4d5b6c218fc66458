"""Models as parts of torch programs: copied, pickled, sent to processes, wrapped, and scored with by many threads."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from ans_fast import BipartiteGraph, models
from ans_fast.errors import UserError
from ans_fast.training.batches import Query
from tests.conftest import random_graph

GRAPH = random_graph(40, 50, 300)
NO_CLICKS = BipartiteGraph([], [], 40, 50)


def made(name: str) -> models.Recommender:
    torch.manual_seed(0)
    return models.by_name(name)(GRAPH, **{} if name == "POP" else {"emb_size": 8})


def through_torch_save(model: models.Recommender) -> models.Recommender:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), through_torch_save]


def states_equal(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize("name", models.MODULES)
def test_copies_are_models_of_their_own(name: str, copied: Callable):
    model = made(name)
    twin = copied(model)
    assert states_equal(model, twin)
    with torch.no_grad():
        for weight in twin.state_dict().values():
            weight.add_(1)
    assert not states_equal(model, twin)
    model.load_state_dict(twin.state_dict())
    assert states_equal(model, twin)


def weights_of(models: list[nn.Module]) -> list[dict[str, np.ndarray]]:
    return [{key: value.numpy() for key, value in model.state_dict().items()} for model in models]


def test_spawned_processes_take_and_give_models():
    every = [made(name) for name in models.MODULES]
    with torch.multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(weights_of, (every,))
    for ours, theirs in zip(weights_of(every), found, strict=True):
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


WRAPPERS = {
    "a.": lambda model: nn.ModuleDict({"a": model}),
    "0.a.": lambda model: nn.Sequential(nn.ModuleDict({"a": model})),
    "_orig_mod.": torch.compile,
    "module.": torch.optim.swa_utils.AveragedModel,
}


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("name", models.MODULES)
def test_tables_have_their_names_inside_of_other_modules(name: str, prefix: str):
    model = made(name)
    own = model.state_dict()
    whole = WRAPPERS[prefix](model)
    state = whole.state_dict()
    assert [key for key in state if key.startswith(prefix)] == [prefix + key for key in own]
    before = {key: value.clone() for key, value in state.items()}
    with torch.no_grad():
        for value in state.values():
            value.add_(1)
    whole.load_state_dict(before)
    assert all(torch.equal(value, before[key]) for key, value in whole.state_dict().items())
    assert all(torch.equal(value, before[prefix + key]) for key, value in own.items())


def test_averaged_models_average():
    model = made("NeuMF")
    first = {key: value.clone() for key, value in model.state_dict().items()}
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    averaged.update_parameters(model)
    for key, value in averaged.module.state_dict().items():
        torch.testing.assert_close(value, 2 * first[key])


@pytest.mark.parametrize("options", [{"name": "NeuMF", "dropout": 0.5, "layers": [16, 8]}, {"name": "AutoCF"}])
def test_threads_get_the_answers_of_one(options: dict):
    """Whether the model is in training or not, and it stays what it is."""
    torch.manual_seed(0)
    model = models.by_name(options.pop("name"))(GRAPH, emb_size=8, **options)
    expected = model.eval().recommend(range(40), 5)
    model.train()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: model.recommend(range(40), 5), range(60)))
    assert all(np.array_equal(a, b) for answer in answers for a, b in zip(answer, expected, strict=True))
    assert model.training


def test_scoring_does_not_depend_on_training_mode():
    users, items = torch.arange(40), torch.arange(40).remainder(50)[:, None]
    for model in (made("NeuMF"), models.ANS(GRAPH, emb_size=8, predict_with="ego"), models.NeuMF(GRAPH, dropout=0.5)):
        scores = [model.train(mode).score(model.precompute(), Query(users, items)) for mode in (True, False)]
        assert torch.equal(*scores)


@pytest.mark.parametrize("name", [name for name in models.MODULES if name not in ("FPMC", "GRU4Rec", "SLRCPlus")])
def test_fit_needs_clicks(name: str):
    with pytest.raises(UserError, match=r"fit learns from clicks, and BipartiteGraph\(n_users=40.*n_edges=0.*has none"):
        models.by_name(name)(NO_CLICKS).fit()


def test_nothing_to_fit_is_no_error():
    model = models.POP(GRAPH)
    assert model.fit() == []
    assert model.recommend([39], 1)[0].item() == GRAPH.degrees[40:].argmax()
