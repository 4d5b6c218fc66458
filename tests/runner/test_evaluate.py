"""Ranking by user equals a literal implementation, from scores and from the weights that a run saved."""

from __future__ import annotations

import importlib.util
import json
import math
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast import BipartiteGraph
from ans_fast.data import Dataset, Events
from ans_fast.data.dataset import TopKSplit
from ans_fast.metrics import RANKING
from ans_fast.models import LightGCN, by_name
from ans_fast.runner import evaluate
from ans_fast.training.batches import Query
from tests.runner.conftest import write

_spec = importlib.util.spec_from_file_location("literal_metrics", Path(__file__).parents[1] / "literal_metrics.py")
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

N_ITEMS = 9  # with padding
ARGS = Namespace(eval_batch_size=2, test_all=0, rank_by="user")


def split(*pairs: tuple[int, int]) -> TopKSplit:
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    return TopKSplit(users, items, np.arange(len(users), dtype=float))


class Given(LightGCN):
    """Scores as they are given: one row a user."""

    def precompute(self):
        return torch.tensor(self.table_of_scores)

    def score(self, state, query: Query):
        return state[query.users]


def evaluator(scores: list[list[float]], train, dev, test, of: str = "test", args: Namespace = ARGS):
    train, dev, test = split(*train), split(*dev), split(*test)
    n_users = len(scores)
    later = Events.concatenate(dev, test)
    dataset = Dataset("made", "TopK", n_users, N_ITEMS, train, later, train, dev, test, Path("/nowhere"))
    model = Given(BipartiteGraph(train.users, train.items, n_users, N_ITEMS), emb_size=2, first_item=1)
    model.table_of_scores = scores
    return evaluate.make_evaluator(model, dataset, of, args)


def metrics(*given, ks=(1, 2), names=("RECALL", "NDCG"), **options) -> dict[str, float]:
    made = evaluator(*given, **options)
    return made.evaluate(made.model.precompute(), names, ks)


DESCENDING = [[9.0 - item for item in range(N_ITEMS)]] * 2  # padding's score is the best


def test_two_items_at_ranks_1_and_2():
    found = metrics(DESCENDING, [(1, 1)], [(1, 8)], [(1, 3), (1, 2)])
    assert found == {"RECALL@1": 0.5, "NDCG@1": 1.0, "RECALL@2": 1.0, "NDCG@2": 1.0}


def test_ties_and_nan_count_against_the_items_to_find():
    tied = [[0.0] * N_ITEMS, [0.0, 1, 1, 1, 0, 0, 0, 0, 0]]
    assert metrics(tied, [(1, 8)], [(1, 7)], [(1, 2), (1, 3)]) == {  # behind item 1: ranks 2 and 3
        "RECALL@1": 0.0, "NDCG@1": 0.0, "RECALL@2": 0.5,
        "NDCG@2": pytest.approx(1 / math.log2(3) / (1 + 1 / math.log2(3)), abs=1e-12),
    }  # fmt: skip
    broken = [[0.0] * N_ITEMS, [0.0, math.nan, 5, math.nan, *[-math.inf] * 5]]
    found = metrics(broken, [(1, 8)], [(1, 7)], [(1, 1), (1, 2), (1, 4)], ks=(1, 2, 100), names=["RECALL"])
    assert found == {"RECALL@1": 0.0, "RECALL@2": 1 / 3, "RECALL@100": 1 / 3}


def test_models_evaluate_themselves_by_the_same_rule():
    """Ties, NaN and what was clicked before, as --rank_by user has them."""
    rng = np.random.default_rng(0)
    table = rng.integers(0, 3, (20, N_ITEMS)).astype(float)
    table[rng.random(table.shape) < 0.1] = math.nan
    table[rng.random(table.shape) < 0.1] = -math.inf
    pairs = [(user, item) for user in range(20) for item in rng.permutation(N_ITEMS - 1)[:5] + 1]
    train, dev = pairs[::2], pairs[1::2]
    made = evaluator(table.tolist(), train, dev, dev, of="dev")
    ours = made.model.evaluate(BipartiteGraph(*np.array(dev).T, 20, N_ITEMS), ["Recall@3", "NDCG@3", "MRR@20"])
    theirs = made.evaluate(made.model.precompute(), ["RECALL", "NDCG", "MRR"], [3, 20])
    assert ours == {"Recall@3": theirs["RECALL@3"], "NDCG@3": theirs["NDCG@3"], "MRR@20": theirs["MRR@20"]}
    assert 0 < ours["Recall@3"] < 1
    items, scores = made.model.recommend(range(20), k=N_ITEMS)
    assert not np.isnan(scores).any()
    assert all(math.isfinite(table[user, item]) for user in range(20) for item in items[user] if item >= 0)


def test_each_split_leaves_out_the_clicks_before_it():
    given = (DESCENDING, [(1, 1)], [(1, 3)], [(1, 2), (1, 4)])
    assert metrics(*given, of="dev") == {"RECALL@1": 0, "NDCG@1": 0, "RECALL@2": 1, "NDCG@2": 1 / math.log2(3)}
    assert metrics(*given, of="test")["RECALL@2"] == 1  # neither 1 nor 3 is ranked
    again = metrics(DESCENDING, [(1, 1)], [(1, 3)], [(1, 1), (1, 2), (1, 2)], ks=(8,))
    assert again["RECALL@8"] == 0.5  # the train click is never found, and what occurs twice is one item


def test_who_is_ranked():
    sets = (DESCENDING, [(1, 1)], [(1, 3)], [(1, 2), (1, 4)])
    kinds = {
        ("auto", 0): evaluate.RowEvaluator,  # no description
        ("user", 0): evaluate.UserEvaluator,
        ("user", 1): evaluate.UserEvaluator,
        ("row", 0): evaluate.RowEvaluator,
    }
    for (rank_by, test_all), kind in kinds.items():
        args = Namespace(eval_batch_size=2, test_all=test_all, rank_by=rank_by)
        assert type(evaluator(*sets, args=args)) is kind


value = st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf, -math.inf]) | st.floats(-2, 2, width=32)
scores = st.lists(st.lists(value, min_size=N_ITEMS, max_size=N_ITEMS), min_size=2, max_size=5)


@settings(max_examples=150, deadline=None)
@given(scores, st.randoms(use_true_random=False), st.lists(st.integers(1, 20), min_size=1, max_size=3, unique=True))
def test_random_scores(rows, random, ks):
    pairs = [(user, item) for user in range(len(rows)) for item in range(1, N_ITEMS)]
    train, dev, test = (random.sample(pairs, random.randint(1, len(pairs))) for _ in range(3))
    found = metrics(rows, train, dev, test, ks=ks, names=RANKING)
    users = []
    for user in sorted({user for user, _ in test}):
        excluded = {0, *(item for u, item in (*train, *dev) if u == user)}
        users.append((rows[user], excluded, {item for u, item in test if u == user}))
    for k in ks:
        for name, wanted in literal.by_user(users, k).items():
            assert found[f"{name}@{k}"] == pytest.approx(wanted, rel=0, abs=1e-12), name


@pytest.fixture
def several(work: Path) -> Path:
    """A set whose 60 users have up to four dev and test items each, described as ranked by user."""
    rng = np.random.default_rng(1)
    order = np.argsort(rng.random((60, 50)) + (np.arange(50) % 5 != np.arange(60)[:, None] % 5), axis=1) + 1
    folder = work / "data/several"
    bounds = {"train": (0, 8), "dev": (8, 10), "test": (10, 14)}
    for name, (begin, end) in bounds.items():
        pairs = [(u + 1, i) for u in range(60) for i in order[u, begin : end - u % 2]]
        write(folder / f"{name}.csv", "user_id item_id time", *np.array(pairs).T)
    (folder / "description.json").write_text('{"rank": "user"}')
    return folder


def frames(folder: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(folder / f"{name}.csv", sep="\t") for name in ("train", "dev", "test")}


FLAGS = "--path ../data --dataset several --epoch 3 --batch_size 64 --emb_size 8 --metric RECALL,NDCG,HR --topk 5,20"


def test_a_run_measures_what_its_weights_say(go, work: Path, several: Path):
    status, out, _ = go("--model_name", "LightGCN", *FLAGS.split(), "--early_stop", "1", "--model_path", "../w.pt")
    assert status == 0
    assert out.count("Ranked: each user once") == 1
    sets, weights = frames(several), LightGCN.load(work / "w.pt").content()["weights"]
    users, items = (weights[f"encoder.embedding_dict.{kind}_emb"].double().numpy() for kind in ("user", "item"))
    adjacency = np.zeros((len(users), len(items)))
    adjacency[sets["train"].user_id, sets["train"].item_id] = 1
    scale = np.sqrt(np.maximum(adjacency.sum(1), 1))[:, None] * np.sqrt(np.maximum(adjacency.sum(0), 1))
    users, items = [users], [items]
    for _ in range(3):
        one, other = (adjacency / scale) @ items[-1], (adjacency / scale).T @ users[-1]
        users.append(one)
        items.append(other)
    scores = np.mean(users, 0) @ np.mean(items, 0).T
    results = json.loads(next((work / "log/LightGCN").glob("*/results.json")).read_text())["results"]
    for name, before in (("dev", ["train"]), ("test", ["train", "dev"])):
        seen = pd.concat([sets[split] for split in before]).groupby("user_id").item_id.agg(set)
        wanted = sets[name].groupby("user_id").item_id.agg(set)
        lists = [(scores[u], {0, *seen[u]}, wanted[u]) for u in wanted.index]
        for k in (5, 20):
            for metric, value in literal.by_user(lists, k).items():
                if metric in ("RECALL", "NDCG", "HR"):
                    assert results[name][f"{metric}@{k}"] == pytest.approx(value, rel=0, abs=1e-6)


@pytest.mark.parametrize("model", ["POP", "GRU4Rec", "SLRCPlus", "NeuMF"])
def test_predictions_have_a_row_a_user(go, work: Path, several: Path, model: str):
    flags = ["--train", "0"] if model == "POP" else ["--epoch", "1"]
    kept = [flag for flag in FLAGS.split() if flag not in ("--emb_size", "8")] if model == "POP" else FLAGS.split()
    status, out, err = go("--model_name", model, *kept, *flags)
    assert (status, err) == (0, "")
    sets = frames(several)
    seen = pd.concat([sets["train"], sets["dev"]]).groupby("user_id").item_id.agg(set)
    wanted = sets["test"].groupby("user_id").item_id.agg(set)
    table = pd.read_csv(
        next((work / "log" / model).glob("*/rec-*-test.csv")), sep="\t", converters={"rec_items": json.loads}
    )
    assert table.user_id.tolist() == wanted.index.tolist()
    n_items = max(frame.item_id.max() for frame in sets.values()) + 1
    recall = []
    for user, items in zip(table.user_id, table.rec_items, strict=True):
        assert sorted(items) == sorted(set(range(1, n_items)) - seen[user])
        recall.append(len(wanted[user] & set(items[:5])) / len(wanted[user]))
    if model != "POP":  # whose scores are often equal
        assert f"RECALL@5:{np.mean(recall):.4f}" in out.split("Test After Training:")[1]


def test_ranking_leaves_the_model_as_it_was():
    graph = BipartiteGraph([1, 1, 2], [1, 2, 1], 3, 4)
    model = by_name("POP")(graph, first_item=1)
    before = model.popularity.clone()
    model.score(model.precompute(), Query(torch.tensor([1]))).fill_(-1)
    model.recommend([1], k=2)
    assert torch.equal(model.popularity, before)
