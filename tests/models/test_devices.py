"""A model answers on another device as on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import ans_fast
from ans_fast import Interactions, UserError, models
from tests.elsewhere import ELSEWHERE, elsewhere

VECTORS = ("ANS", "AutoCF", "BPRMF", "LightGCN")


def parts() -> tuple[Interactions, Interactions]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(0, n, 150).astype(str) for name, n in (("user", 20), ("item", 15))})
    train, dev, _ = Interactions.from_dataframe(frame.assign(time=range(150)), time="time").split("ratio", 0.2, 0.2)
    return train, dev


def answers(model: models.Recommender, dev: Interactions, folder: Path) -> list[np.ndarray]:
    """All that a model says in Python, as arrays of numbers."""
    found = [*model.recommend(["1", "2"], 3), model.predict(["1", "2"], ["3", "4"])]
    found.append(np.array([*model.evaluate(dev, ["Recall@3", "NDCG@5"]).values()]))
    if model.name in VECTORS:
        found += model.similar_items(["1", "2"], 3)
        model.export(folder / "own.npz")
        held = np.load(folder / "own.npz")
        found += [held["user_vectors"], held["item_clicks"]]
    try:
        found += model.recommend_new([["1"], ["2", "3"]], 3)
    except UserError:
        assert model.name not in ("ANS", "BPRMF", "LightGCN")
    found.append(np.array(model.fit(epochs=1, validation=dev, capture=False)))
    return [array.astype(float) for array in found]


@pytest.mark.filterwarnings("ignore:.*users have no clicks")
@pytest.mark.parametrize("name", models.MODULES)
def test_answers_elsewhere_are_those_on_the_cpu(name: str, tmp_path: Path) -> None:
    train, dev = parts()
    with ans_fast.backend("reference"):
        torch.manual_seed(0)
        here, there = models.by_name(name)(train), models.by_name(name)(train)
        there.load_state_dict(here.state_dict())
        torch.manual_seed(1)
        expected = answers(here, dev, tmp_path)
        with elsewhere():
            torch.manual_seed(1)
            found = answers(there.to_device(ELSEWHERE), dev, tmp_path)
    assert len(found) == len(expected) >= 5
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
