"""Models of a person's own table: they speak its ids, also from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ans_fast import Interactions, UserError, models
from tests.models.test_citizens import COPIES


@pytest.fixture(params=["text", "numbers"])
def clicks(request: pytest.FixtureRequest) -> Interactions:
    """Users in two groups that keep to items of their own; user x has all its clicks in the test part."""
    pairs = [(f"u{u}", f"i{i}") for u in range(12) for i in range(10) if u % 2 == i % 2 and (u + i // 2) % 5]
    frame = pd.DataFrame([*pairs, ("u1", "i5")], columns=["user", "item"])
    if request.param == "numbers":
        frame = frame.apply(lambda column: column.str[1:].astype(int) * 7 - 3)
    return Interactions.from_dataframe(frame)


@pytest.fixture
def model(clicks: Interactions) -> models.Recommender:
    torch.manual_seed(0)
    model = models.LightGCN(clicks, emb_size=8)
    model.fit(epochs=40, batch_size=16, lr=0.05)
    return model


def seen(clicks: Interactions, user: object) -> set:
    frame = clicks.to_dataframe()
    return {*frame.item[frame.user == user]}


def test_recommendations_are_own_items_not_yet_clicked(clicks: Interactions, model: models.Recommender) -> None:
    users = clicks.user_ids[np.array([3, 0])]
    items, scores = model.recommend(users, k=3)
    assert items.shape == scores.shape == (2, 3)
    for user, row in zip(users, items, strict=True):
        assert not {*row} & seen(clicks, user)
        assert {*row} <= {*clicks.item_ids[range(clicks.n_items)]}
    alone, _ = model.recommend(users[1], k=3)
    assert alone.tolist() == items[1:].tolist()


def test_items_to_choose_from_and_to_leave_out(clicks: Interactions, model: models.Recommender) -> None:
    user, every = clicks.user_ids[0], clicks.item_ids[range(clicks.n_items)]
    items, scores = model.recommend([user], k=4, exclude_seen=False, items=every[:3], exclude=every[1])
    assert {*items[0, :2]} == {every[0], every[2]}
    assert items[0, 2:].tolist() == [None, None]
    assert (scores[0, 2:] == -np.inf).all()
    items, _ = model.recommend([user], k=clicks.n_items, exclude_seen=False)
    assert {*items[0]} == {*every}
    assert model.recommend([user], k=1, items=[])[0].tolist() == [[None]]


def test_unknown_ids_are_told(model: models.Recommender) -> None:
    with pytest.raises(UserError, match="user 'nobody' is not among the 12 known ones"):
        model.recommend(["nobody"])
    with pytest.raises(UserError, match="item 'nothing' is not among the 10 known ones"):
        model.recommend([], exclude="nothing")


def test_what_is_no_id_or_k_is_told(model: models.Recommender) -> None:
    with pytest.raises(UserError, match="item ids must be text, numbers or anything else that can be hashed"):
        model.recommend([], items=[["i1"]])
    for k in (0, 11, 2.5, "3"):
        with pytest.raises(UserError, match=rf"k must be in \[1, 10\], got {k}"):
            model.recommend([], k=k)


def test_pairs_have_the_scores_that_rank(clicks: Interactions, model: models.Recommender) -> None:
    users = clicks.user_ids[np.array([3, 0])]
    items, scores = model.recommend(users, k=4, exclude_seen=False)
    found = model.predict(np.repeat(users, 4), items.reshape(-1))
    assert found.dtype == np.float32
    assert np.allclose(found, scores.reshape(-1), rtol=1e-5)
    with pytest.raises(UserError, match="predict needs as many users as items, got 2 and 1"):
        model.predict(users, items[0, 0])


def test_users_without_clicks_get_what_was_clicked_most() -> None:
    whole = Interactions.from_dataframe(
        pd.DataFrame({"user": list("abcdabx"), "item": list("ppppqrp"), "time": [1, 2, 3, 4, 5, 6, 99]}), time="time"
    )
    train, _, _ = whole.split("time", dev=0.15, test=0.15)
    assert "x" not in {*train.to_dataframe().user}
    model = models.BPRMF(train, emb_size=4)
    with pytest.warns(UserWarning, match="1 of 2 users have no clicks"):
        items, scores = model.recommend(["a", "x"], k=1)
    assert items[1, 0] == "p"
    assert scores[1, 0] == (train.to_dataframe().item == "p").sum() == 4


def test_a_file_keeps_the_ids(clicks: Interactions, model: models.Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "model.pt")
    again = models.load(tmp_path / "model.pt")
    users = clicks.user_ids[range(clicks.n_users)]
    for ours, theirs in zip(model.recommend(users), again.recommend(users), strict=True):
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("copied", COPIES, ids=["deepcopy", "pickle", "torch.save"])
def test_copies_keep_the_ids(clicks: Interactions, model: models.Recommender, copied: Callable) -> None:
    users, twin = clicks.user_ids[range(clicks.n_users)], copied(model)
    for ours, theirs in zip(model.recommend(users), twin.recommend(users), strict=True):
        assert ours.tolist() == theirs.tolist()
    twin.fit(epochs=1)  # and are models of their own
    assert not np.array_equal(model.embeddings()[0], twin.embeddings()[0])


@pytest.mark.parametrize("name", [*models.MODULES])
def test_every_model_takes_them(clicks: Interactions, name: str) -> None:
    assert models.by_name(name)(clicks).item_ids is clicks.item_ids


def test_evaluation_ranks_each_user_once_among_all_it_has_not_clicked() -> None:
    model = models.POP(Interactions.from_dataframe(pd.DataFrame({"user": list("aabcd"), "item": list("pqpps")})))
    later = Interactions.from_dataframe(pd.DataFrame({"user": list("abb"), "item": list("sqs")}))
    found = model.evaluate(later, ["Recall@1", "hr@1", "NDCG@2", "Precision@2"])  # a: s. b: q and s, which tie
    assert found == {"Recall@1": 0.75, "hr@1": 1.0, "NDCG@2": 1.0, "Precision@2": 0.75}
    again = model.evaluate(Interactions.from_dataframe(pd.DataFrame({"user": ["a"], "item": ["p"]})), ["HR@9"])
    assert again == {"HR@9": 0.0}  # clicked in training: no candidate


def test_what_cannot_be_evaluated_is_told(clicks: Interactions, model: models.Recommender) -> None:
    for metric in ("AUC", "NDCG", "NDCG@0", "NDCG@x", "Nothing@5"):
        with pytest.raises(UserError, match="metrics must each be one of HR@5"):
            model.evaluate(clicks, [metric])
    for metrics in ([], "NDCG@20"):
        with pytest.raises(UserError, match=r"metrics must be a list of at least one, such as \['NDCG@20'\], got "):
            model.evaluate(clicks, metrics)
    with pytest.raises(UserError, match="user 'nobody' is not among"):
        model.evaluate(Interactions.from_dataframe(pd.DataFrame({"user": ["nobody"], "item": ["i1"]})))


def test_what_is_alike(clicks: Interactions, model: models.Recommender) -> None:
    for ids, similar in ((clicks.item_ids, model.similar_items), (clicks.user_ids, model.similar_users)):
        every = ids[range(len(ids))]
        found, cosines = similar(every, k=3)
        assert found.shape == cosines.shape == (len(ids), 3)
        assert all(one not in row for one, row in zip(every, found, strict=True))
        assert (np.diff(cosines, axis=1) <= 0).all()
    vectors = model.embeddings()[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(cosines[:, 0], (unit @ unit.T - 9 * np.eye(len(unit))).max(1), atol=1e-5)
    with pytest.raises(UserError, match=r"k must be in \[1, 9\], got 10"):
        model.similar_items(clicks.item_ids[0], k=10)


def test_products_of_embeddings_are_scores(clicks: Interactions, model: models.Recommender) -> None:
    users, items = model.embeddings()
    assert users.dtype == items.dtype == np.float32
    found, scores = model.recommend(clicks.user_ids[4], k=2, exclude_seen=False)
    assert np.allclose(users[4] @ items[clicks.item_ids.find(found[0])].T, scores[0], rtol=1e-4)
    users[:] = 0  # a copy
    assert model.embeddings()[0].any()


def test_validation_ends_training_and_the_best_weights_stay(clicks: Interactions) -> None:
    train, dev, _ = clicks.split("ratio", dev=0.25, test=0.25)
    torch.manual_seed(0)
    model = models.BPRMF(train, emb_size=8)
    seen = []
    given = dict(epochs=200, batch_size=16, lr=0.05, metric="NDCG@3", early_stop=4, callbacks=[seen.append])
    losses = model.fit(validation=dev, **given)
    values = [epoch.validation["NDCG@3"] for epoch in seen]
    assert len(losses) == len(values) == values.index(max(values)) + 1 + 4 < 200
    assert model.evaluate(dev, ["NDCG@3"])["NDCG@3"] == max(values) > values[-1]
    with pytest.raises(UserError, match="metrics must each be one of"):  # before anything is trained
        model.fit(validation=dev, **{**given, "metric": "AUC"})
    assert model.evaluate(dev, ["NDCG@3"])["NDCG@3"] == max(values)
