"""RecBole runs ANS: its data, trainer and evaluation, our loss and negatives. `make recbole` installs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("recbole", reason="RecBole is not installed: make recbole")

import ans_fast.recbole  # first: it mends what RecBole imports

# isort: split
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model, run_recbole

SETTINGS: dict[str, Any] = dict(
    embedding_size=8,
    n_layers=2,
    eps=0.2,
    gamma=0.05,
    reg_weight=1e-4,
    require_pow=True,
    train_neg_sample_args=dict(distribution="uniform", sample_num=3, alpha=1.0, dynamic=False, candidate_num=0),
    train_batch_size=96,
    learning_rate=0.01,
    epochs=12,
    topk=[5],
    metrics=["Recall", "NDCG"],
    valid_metric="NDCG@5",
    eval_args=dict(split={"RS": [0.8, 0.1, 0.1]}, group_by="user", order="RO", mode="full"),
    show_progress=False,
    load_col=dict(inter=["user_id", "item_id"], item=["item_id", "class", "price"]),
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a set of 40 users of two tastes, some of whose items have neither class nor price."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "two"
    folder.mkdir(parents=True)
    clicks = [(u, i) for u in range(40) for i in rng.choice(30, 14, replace=False) + 30 * (u % 2)]
    rows = "".join(f"u{u}\ti{i}\n" for u, i in clicks)
    (folder / "two.inter").write_text("user_id:token\titem_id:token\n" + rows)
    kinds = "".join(f"i{i}\t{'ab'[i % 2] if i % 3 else ''}\t{i if i % 3 else ''}\n" for i in range(60))
    (folder / "two.item").write_text("item_id:token\tclass:token\tprice:float\n" + kinds)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["test"])
    return SETTINGS | dict(data_path=str(tmp_path / "data"), checkpoint_dir=str(tmp_path / "saved"))


def prepared(settings: dict[str, Any], model: str = "ANS") -> tuple[Config, Any, Any]:
    config = Config(model=model, dataset="two", config_dict=settings)
    dataset = create_dataset(config)
    return config, dataset, data_preparation(config, dataset)[0]


@pytest.mark.parametrize("name", ans_fast.recbole.__all__)
def test_learns_two_tastes(settings, name):
    result = run_recbole(model=name, dataset="two", config_dict=settings)
    assert result["test_result"]["recall@5"] > 0.14  # 5 of the 60 items would be 0.08, of a taste's 30 0.17


def test_a_run_repeats(settings):
    settings = settings | dict(epochs=2)
    first, second = (run_recbole(model="ANS", dataset="two", config_dict=settings) for _ in range(2))
    assert first == second


def test_a_checkpoint_is_read(settings, tmp_path):
    run_recbole(model="ANS", dataset="two", config_dict=settings)
    (file,) = (tmp_path / "saved").glob("ANS-*.pth")
    _, model, dataset, _, _, test = load_data_and_model(str(file))
    batch, *_ = next(iter(test))
    users = batch["user_id"]
    scores = model.full_sort_predict(batch).view(len(users), -1)
    items = torch.arange(1, dataset.item_num)
    for user, row in zip(users, scores, strict=True):
        of_user = {"user_id": user.expand(len(items)), "item_id": items}
        torch.testing.assert_close(model.predict(of_user), row[1:])


def test_the_loss_is_our_models(settings):
    config, _, loader = prepared(settings)
    model = ans_fast.recbole.ANS(config, loader.dataset)
    assert (model.model.eps, model.model.gamma, model.model.require_pow) == (0.2, 0.05, 1)
    batch = next(iter(loader))
    assert len(batch) == 96
    torch.manual_seed(5)
    loss = model.calculate_loss(batch)
    torch.manual_seed(5)
    seeds = torch.randint(2**63 - 1, (1, 2))  # drawn as training draws them
    negatives = torch.stack([batch["neg_item_id"][32 * m : 32 * (m + 1)] for m in range(3)], 1)
    rows = ans_fast.recbole.models.Rows(batch["user_id"][:32], batch["item_id"][:32], negatives)
    expected = model.model.loss(rows, [seeds[0, :1], seeds[0, 1:]])[0]
    assert loss.isfinite()
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)  # other noise


def test_negatives_are_unclicked_and_uniform(settings):
    _, dataset, loader = prepared(settings)
    sampler = loader._sampler
    users = np.tile(np.arange(1, 41), 25)
    drawn = sampler.sample_by_user_ids(users, None, 40).view(40, -1).T.numpy()
    for user in range(1, 41):
        own = drawn[users == user].ravel()
        free = np.setdiff1d(np.arange(1, dataset.item_num), list(sampler.used_ids[user]))
        counts = np.bincount(own, minlength=dataset.item_num)
        assert counts[free].sum() == len(own)
        expected = len(own) / len(free)
        chi_square = ((counts[free] - expected) ** 2 / expected).sum()
        assert chi_square < len(free) - 1 + 5 * np.sqrt(2 * len(free))


def test_what_is_missing_is_filled(settings):
    _, dataset, _ = prepared(settings)
    at = dataset.token2id("item_id", np.array(["i0", "i1", "i2", "i3"]))
    classes, prices = (dataset.item_feat[name][at] for name in ("class", "price"))
    assert dataset.id2token("class", classes).tolist() == ["[PAD]", "b", "a", "[PAD]"]
    mean = sum(i for i in range(60) if i % 3) / 40
    torch.testing.assert_close(prices, torch.tensor([mean, 1.0, 2.0, mean]))


def test_other_models_run(settings):
    settings = settings | dict(epochs=1)
    for name in ("BPR", "LightGCN", "NGCF"):  # the last two fill a dok_matrix
        assert run_recbole(model=name, dataset="two", config_dict=settings)["test_result"]
