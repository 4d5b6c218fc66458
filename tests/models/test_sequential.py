"""Sequential models of a person's own clicks with times: they learn, rank by the latest ones, and keep them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ans_fast import BipartiteGraph, Interactions, UserError, models

NAMES = ("FPMC", "GRU4Rec", "SLRCPlus")
N_USERS, N_ITEMS = 60, 20


def walks(times: bool = True) -> Interactions:
    """Each user walks from an item to the next, eight steps; rows are not in the order of time."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(N_USERS):
        first = int(rng.integers(N_ITEMS))
        rows += [(f"u{user}", f"i{(first + step) % N_ITEMS:02}", 1e6 + 10 * step + user) for step in range(8)]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"]).sample(frac=1, random_state=0)
    return Interactions.from_dataframe(frame, time="time" if times else None)


def fitted(name: str, clicks: Interactions, epochs: int = 25) -> models.Recommender:
    torch.manual_seed(0)
    model = models.by_name(name)(clicks, emb_size=16)
    model.fit(epochs=epochs, batch_size=64, lr=0.02)
    return model


@pytest.mark.parametrize("name", ["FPMC", "GRU4Rec"])
def test_the_next_step_is_found(name: str) -> None:
    train, dev, _ = walks().split("leave_one_out")
    model, popular = fitted(name, train), models.POP(train)
    assert model.evaluate(dev, ["HR@3"])["HR@3"] > 0.8 > popular.evaluate(dev, ["HR@3"])["HR@3"] + 0.2
    users = [f"u{user}" for user in (7, 3, 7)]
    items, scores = model.recommend(users, k=3)
    last = {user: rows.item.iloc[-1] for user, rows in train.to_dataframe().sort_values("time").groupby("user")}
    expected = [f"i{(int(last[user][1:]) + 1) % N_ITEMS:02}" for user in users]
    assert sum(item in row for item, row in zip(expected, items, strict=True)) >= 2
    assert items[0].tolist() == items[2].tolist()  # a user that is asked for twice has the same history
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_validation_files_and_copies(name: str, tmp_path: Path) -> None:
    train, dev, _ = walks().split("leave_one_out")
    torch.manual_seed(0)
    model = models.by_name(name)(train, emb_size=8)
    told = []
    model.fit(epochs=3, batch_size=64, lr=0.02, validation=dev, metric="HR@3", callbacks=[told.append])
    assert model.evaluate(dev, ["HR@3"]) == max((epoch.validation for epoch in told), key=lambda result: result["HR@3"])
    items, scores = model.recommend(["u3", "u9"], k=6)
    assert np.allclose(model.predict(["u3"] * 6 + ["u9"] * 6, items.reshape(-1)), scores.reshape(-1), rtol=1e-4)
    model.save(tmp_path / "own.pt")
    users = train.user_ids[range(N_USERS)]
    expected = model.recommend(users, k=5)
    for twin in (models.load(tmp_path / "own.pt"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for ours, theirs in zip(expected, twin.recommend(users, k=5), strict=True):
            assert ours.tolist() == theirs.tolist()
        twin.fit(epochs=1, batch_size=64)


def test_slrc_looks_at_the_time_since() -> None:
    """Of relation 1, which leads from each item to the next; as of the last click of all."""
    train = walks()
    own = torch.arange(N_ITEMS)
    pairs, order = torch.cat([own * (N_ITEMS + 1), own * N_ITEMS + (own + 1) % N_ITEMS]).sort()
    kinds = torch.tensor([[1, 0], [0, 1]]).bool().repeat_interleave(N_ITEMS, 0)[order]
    model = models.SLRCPlus(train, pairs=pairs, kinds=kinds, emb_size=4)
    context = model.latest(torch.tensor([5]))
    mine = train.items[train.users == 5][np.argsort(train.times[train.users == 5])]
    assert context["history_items"][0].tolist() == mine.tolist()
    ages = train.times.max() - np.sort(train.times[train.users == 5])
    assert context["history_ages"][0].tolist() == ages.tolist()
    found = model.relations.ages_of_all(context)[0, :, 1]
    assert found[(mine[-1] + 1) % N_ITEMS] == ages[-1]


@pytest.mark.parametrize("name", NAMES)
def test_without_times_it_is_said(name: str, tmp_path: Path) -> None:
    clicks = walks(times=False)
    for made in (models.by_name(name)(clicks), models.by_name(name)(BipartiteGraph([0, 0], [0, 1], 1, 2))):
        for ask in (made.fit, lambda made=made: made.recommend([], k=1), lambda made=made: made.evaluate(made.graph)):
            with pytest.raises(UserError, match=f"^{name} needs times of clicks: make it from Interactions with times"):
                ask()
    once = Interactions.from_dataframe(pd.DataFrame({"user": [1, 2], "item": [1, 2], "time": [1, 2]}), time="time")
    with pytest.raises(UserError, match=f"{name} learns from earlier clicks, and no user has two of them"):
        models.by_name(name)(once).fit()


def test_clicks_of_a_damaged_file_are_told(tmp_path: Path) -> None:
    model = models.FPMC(walks(), emb_size=4)
    for column, value in (("items", N_ITEMS), ("times", float("nan"))):
        content = model.content()
        content["clicks"][column][3] = value
        torch.save(content, tmp_path / "own.pt")
        with pytest.raises(UserError, match="does not hold a model that ans_fast saved"):
            models.load(tmp_path / "own.pt")
