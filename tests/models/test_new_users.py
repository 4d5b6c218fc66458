"""Users that training did not see, by what they clicked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from ans_fast import BipartiteGraph, Interactions, UserError, models

N_USERS, N_ITEMS = 12, 10
FOLDING = {
    "LightGCN": {"n_layers": 2},
    "BPRMF": {},
    "ANS": {"n_layers": 3},
    "ANS with ego": {"n_layers": 2, "predict_with": "ego"},
    "ANS over SGL": {"base_model": "SGL"},
    "LightGCN by cosines": {"loss_n": "SSM", "ranking": "cosine"},
    "LightGCN in bf16": {"precision": "bf16"},
}


def clicks() -> Interactions:
    """Two groups of users that keep to items of their own; item i9 is clicked by nobody in the first part."""
    pairs = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if u % 2 == i % 2 and (u + i // 2) % 5 and i != 9]
    frame = pd.DataFrame([(f"u{u}", f"i{i}", 0) for u, i in pairs], columns=["user", "item", "time"])
    late = pd.DataFrame({"user": ["u0", "u1"], "item": ["i9", "i9"], "time": [1, 2]})
    whole = Interactions.from_dataframe(pd.concat([frame, late]), time="time")
    train, _, _ = whole.split("time", dev=1 / len(whole), test=1 / len(whole))
    assert train.graph.degrees[N_USERS + whole.item_ids.find("i9")] == 0
    return train


def made(case: str) -> models.Recommender:
    torch.manual_seed(0)
    return models.by_name(case.split()[0])(clicks(), emb_size=8, **FOLDING[case])


@pytest.mark.parametrize("case", FOLDING)
def test_scores_are_those_of_a_literal_propagation(case: str) -> None:
    """Over the clicks one after the other, with the items' degrees as training counted them."""
    model = made(case)
    graph, hops = model.graph, model.item_hops().double().numpy()
    lists = [["i1", "i3", "i1"], ["i0"], ["i2", "i9"]]
    items, scores = model.recommend_new(lists, k=N_ITEMS, exclude_seen=False)
    for ids, found, values in zip(lists, items, scores, strict=True):
        numbers = model.item_ids.numbers(sorted({*ids}))
        near, known = np.zeros(hops.shape[1:]), []
        for item in numbers:
            degree = int(graph.degrees[N_USERS + item])
            if degree:
                near += hops[item] / np.sqrt(degree * len(numbers))
                known.append(hops[item, 0])
        user = np.stack([np.mean(known, 0), *near[:-1]])
        pooled = {"ANS": user.reshape(-1), "ANS with ego": user[0], "ANS over SGL": user.reshape(-1)}
        user = pooled.get(case, user.mean(0))
        if "cosines" in case:
            user /= np.linalg.norm(user)
        expected = user @ model.vectors()[1].double().detach().numpy().T
        assert np.allclose(values, np.sort(expected)[::-1], rtol=1e-4, atol=1e-6)
        assert np.allclose(expected[model.item_ids.find(found)], values, rtol=1e-4, atol=1e-6)


def test_hop_by_hop_they_are_as_users_of_the_graph_are() -> None:
    """Who clicked what a user of the graph did has its hops but for the embedding, which training alone makes."""
    from ans_fast.nn.fold_in import folded_in

    model = made("LightGCN")
    users = torch.arange(N_USERS)
    place, item = model.graph.clicks_of(users)
    hops = folded_in(model.item_hops(), model.graph, place, item, N_USERS)
    assert torch.allclose(hops[:, 1:], model.hops(users).detach()[:, 1:], atol=1e-6)


@pytest.mark.parametrize("name", ["LightGCN", "BPRMF", "ANS"])
def test_they_get_their_own_group_and_nothing_seen(name: str) -> None:
    model = made(name)
    model.fit(epochs=40, batch_size=16, lr=0.05)
    lists = [["i0", "i4"], ["i1", "i5"]]
    items, _ = model.recommend_new(lists, k=2)
    for group, (ids, found) in enumerate(zip(lists, items, strict=True)):
        assert not {*ids} & {*found}
        assert all(int(item[1:]) % 2 == group for item in found)
    alone, _ = model.recommend_new(lists[1:], k=2)  # one user's items are not the others' matter
    assert alone.tolist() == items[1:].tolist()
    some, scores = model.recommend_new(lists, k=3, items=["i2", "i6", "i4"], exclude="i6")
    assert some[0].tolist() == ["i2", None, None]
    assert (scores[0, 1:] == -np.inf).all()


def test_who_clicked_nothing_gets_what_was_clicked_most() -> None:
    model = made("LightGCN")
    most = model.graph.degrees[N_USERS:].numpy()
    with pytest.warns(UserWarning, match="2 of 3 users have no clicks: they get what was clicked most") as warned:
        items, scores = model.recommend_new([[], ["i0"], ["i9"]], k=3)  # nobody in training has clicked i9
    assert warned[0].filename == __file__
    for row in (0, 2):
        assert scores[row].tolist() == sorted(most, reverse=True)[:3]
        assert most[model.item_ids.find(items[row])].tolist() == scores[row].tolist()
    assert model.recommend_new([], k=3)[0].shape == (0, 3)


def test_numbers_of_a_graph() -> None:
    torch.manual_seed(0)
    model = models.BPRMF(BipartiteGraph([1, 1, 2], [1, 2, 3], 3, 5), emb_size=4, first_item=1)
    items, _ = model.recommend_new([np.array([1, 2]), torch.tensor([3])], k=4)
    assert {*items[0]} == {3, 4, -1}
    assert {*items[1]} == {1, 2, 4, -1}
    with pytest.raises(UserError, match=r"items must be in \[0, 5\), got 1 … 5"):
        model.recommend_new([[1, 5]], k=1)


def test_mistakes_are_told() -> None:
    model = made("LightGCN")
    with pytest.raises(UserError, match="item 'none' is not among the 10 known ones"):
        model.recommend_new([["i0"], ["none"]])
    for wrong in (["i0", "i1"], [3]):
        with pytest.raises(UserError, match=f"item_lists must hold a list of items for each user, got {wrong[0]!r} "):
            model.recommend_new(wrong)
    with pytest.raises(UserError, match=r"k must be in \[1, 10\], got 11"):
        model.recommend_new([["i0"]], k=11)
    with pytest.raises(UserError, match="ANS over NGCF has no vectors for users that training did not see"):
        models.ANS(clicks(), emb_size=8, base_model="NGCF").recommend_new([["i0"]])


@pytest.mark.parametrize("name", [name for name in models.MODULES if name not in ("ANS", "BPRMF", "LightGCN")])
def test_models_that_cannot_say_so(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name} has no vectors for users that training did not see"):
        models.by_name(name)(clicks()).recommend_new([["i0"]])
