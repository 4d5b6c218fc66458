"""NeuMF, FPMC, GRU4Rec and SLRCPlus: what they compute, and that they learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ans_fast import BipartiteGraph
from ans_fast.data import load
from ans_fast.errors import UserError
from ans_fast.models import by_name
from ans_fast.models import load as load_model
from ans_fast.nn.item_relations import ItemRelations
from ans_fast.runner.arguments import parse
from ans_fast.runner.main import run
from ans_fast.training.batches import Part, Query, Rows
from tests.conftest import random_graph

N_USERS, N_ITEMS = 121, 61
SEQUENTIAL = ("FPMC", "GRU4Rec", "SLRCPlus")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Users walk from an item to the next of its group: group and last click both tell what comes."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "walks").mkdir()
    rng = np.random.default_rng(0)
    parts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for user in range(1, N_USERS):
        group, first = rng.integers(0, 4), rng.integers(0, 15)
        items = [1 + int(group) * 15 + int(first + step) % 15 for step in range(9)]
        for place, item in enumerate(items):
            split = "train" if place < 7 else ("dev" if place == 7 else "test")
            line = f"{user}\t{item}\t{1000 + place}"
            if split != "train":
                others = rng.choice(np.setdiff1d(np.arange(1, N_ITEMS), items), 19, replace=False)
                line += f"\t{others.tolist()}"
            parts[split].append(line)
    for split, lines in parts.items():
        header = "user_id\titem_id\ttime" + ("" if split == "train" else "\tneg_items")
        (folder / "walks" / f"{split}.csv").write_text("\n".join([header, *lines, ""]))
    meta = [f"{i}\t{(i - 1) // 15}\t[{1 + (i - 1) // 15 * 15 + i % 15}]" for i in range(1, N_ITEMS)]
    (folder / "walks/item_meta.csv").write_text("\n".join(["item_id\ti_category\tr_next", *meta, ""]))
    return folder


def result(folder: Path, name: str, *flags: str) -> dict:
    root = folder / "runs"
    log, weights = root / f"{name}.txt", root / f"{name}.pt"
    run(
        f"--model_name {name} --path {folder} --dataset walks --gpu= --log_file {log} --model_path {weights}".split()
        + list(flags)
    )
    return json.loads((root / name / "results.json").read_text())


@pytest.mark.parametrize("name", ["NeuMF", *SEQUENTIAL])
def test_beats_popularity(folder, name):
    popular = result(folder, "POP", "--train", "0")["results"]["test"]["NDCG@5"]
    found = result(folder, name, "--epoch", "25", "--lr", "0.02", "--early_stop", "0", "--save_final_results", "1")
    assert found["results"]["test"]["NDCG@5"] > popular + 0.1
    assert all(np.isfinite(epoch["loss"]) for epoch in found["epochs"])


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_a_file_of_the_command_line_recommends(folder, name):
    """By the clicks of train, as of the last one of all."""
    result(folder, name, "--epoch", "2", "--lr", "0.02")
    model, dataset = load_model(folder / "runs" / f"{name}.pt"), load(folder, "walks")
    items, _ = model.recommend([1, 2], k=5)
    for user, row in zip((1, 2), items, strict=True):
        assert not {0, *dataset.clicks.items[dataset.clicks.users == user]} & {*row}
    assert model.clicks.times.tolist() == dataset.clicks.times.tolist()


@pytest.mark.parametrize("name", ["NeuMF", *SEQUENTIAL])
def test_ranking_scores_as_training_does(folder, name):
    dataset = load(folder, "walks")
    graph = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, N_USERS, N_ITEMS)
    torch.manual_seed(0)
    model = by_name(name)(graph, emb_size=8).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    rows = slice(30, 70)  # some without any history
    context = {key: value[rows] for key, value in model.context(dataset, "train").items()}
    context.pop("related_ages", None)
    if name == "SLRCPlus":
        context["related_ages"] = torch.zeros(40, 0, 1)
    users = torch.tensor(dataset.train.users[rows])
    items = torch.randint(1, N_ITEMS, (len(users), 7))
    trained = model(users, items, context)
    state = model.precompute()
    some = model.score(state, Query(users, items, context))
    everything = model.score(state, Query(users, None, context))
    assert trained.isfinite().all()
    assert everything.shape == (len(users), N_ITEMS)
    torch.testing.assert_close(some, trained, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(everything.gather(1, items), trained, rtol=1e-4, atol=1e-4)


def test_units_are_dropped_by_seeds():
    """A layer's by its own, and the rest is larger; in parts of a batch they are those of the whole."""
    torch.manual_seed(0)
    model = by_name("NeuMF")(random_graph(40, 50, 300), emb_size=8, layers=[16, 4], dropout=0.25)
    batch, seeds = Rows(torch.arange(40), torch.arange(40)), [torch.tensor([seed]) for seed in (3, 4, 5)]
    drawn = model.draw(batch, seeds)
    noise = [drawn.context[f"dropout {layer}"] for layer in (0, 1)]
    assert [values.shape for values in noise] == [(40, 2, 16), (40, 2, 4)]
    assert not torch.equal(noise[0][..., :4], noise[1])
    hidden = torch.rand(40, 2, 16)
    first = model.mlp[1](hidden * (noise[0] >= 0.25) / 0.75).relu()
    expected = (first * (noise[1] >= 0.25) / 0.75) @ model.prediction.weight[0, 8:]
    torch.testing.assert_close(model._deep(hidden, drawn.context), expected)
    parts = [Part(drawn, *bounds) for bounds in ((0, 10), (10, 40))]
    losses = [model.loss(part.rows, seeds)[0] * part.weight for part in parts]
    torch.testing.assert_close(sum(losses), model.loss(drawn, seeds)[0])
    assert not by_name("NeuMF")(model.graph, dropout=1.0)._dropped(hidden, torch.rand(40, 2, 16)).any()


@pytest.mark.parametrize("name", ["NeuMF", *SEQUENTIAL])
def test_saves_and_loads(folder, name, tmp_path):
    dataset = load(folder, "walks")
    graph = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, N_USERS, N_ITEMS)
    model = by_name(name)(graph, emb_size=4)
    model.save(tmp_path / "model.pt")
    again = by_name(name).load(tmp_path / "model.pt")
    for key, value in model.state_dict().items():
        assert again.state_dict()[key].equal(value)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_rows_without_history_are_left_out_of_training(folder, name):
    from ans_fast.training.batches import Rows

    dataset = load(folder, "walks")
    model = by_name(name)(BipartiteGraph(dataset.clicks.users, dataset.clicks.items, N_USERS, N_ITEMS))
    rows = Rows(**{**vars(Rows.of_split(dataset.train)), "context": model.context(dataset, "train")})
    assert len(model.training_rows(rows)) == len(dataset.train) - (N_USERS - 1)


def test_related_ages_are_those_of_a_literal_search():
    rng = np.random.default_rng(3)
    n_items, related = 12, rng.random((2, 12, 12)) < 0.2
    pairs = np.flatnonzero(related.any(0))
    relations = ItemRelations(
        n_items, torch.from_numpy(pairs), torch.from_numpy(related.reshape(2, -1)[:, pairs].T.copy())
    )
    lengths = torch.tensor([0, 1, 4, 5])
    history = {
        "lengths": lengths,
        "history_items": torch.randint(1, n_items, (4, 5)),
        "history_ages": torch.arange(5, 0, -1).float().repeat(4, 1),
    }
    items = torch.arange(n_items).repeat(4, 1)
    expected = torch.full((4, n_items, 2), -1.0)
    for row, length in enumerate(lengths.tolist()):
        for place in range(length):  # the latest wins
            for item in range(n_items):
                for r in range(2):
                    if related[r, history["history_items"][row, place], item]:
                        expected[row, item, r] = history["history_ages"][row, place]
    assert relations.ages(items, history).equal(expected)
    assert relations.ages_of_all(history).equal(expected)


@pytest.mark.parametrize("column", ["", "i_category"])
def test_excitation_is_the_literal_sum(folder, column):
    """Over relations, with what ReChorus initialises at 0 moved to the middle of its range; an item has its own
    parameters, or its category's."""
    from torch.distributions import Exponential, Normal

    dataset = load(folder, "walks")
    graph = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, N_USERS, N_ITEMS)
    args = parse(["--model_name", "SLRCPlus", "--time_scalar", "3", "--category_col", column])
    model = by_name("SLRCPlus").from_data(dataset, graph, **args.model_options)
    assert model.alphas.weight.shape == (4 if column else N_ITEMS, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        rows = torch.arange(30, 45)
        users, items = torch.tensor(dataset.train.users)[rows], torch.randint(1, N_ITEMS, (15, 9))
        context = {key: value[rows] for key, value in model.context(dataset, "train").items()}
        context["related_ages"] = torch.zeros(15, 0, 2)
        ages = model.relations.ages(items, context)
        assert (ages >= 0).any()
        state = model.state_dict()
        u, i = state["u_embeddings.weight"], state["i_embeddings.weight"]
        expected = torch.zeros(15, 9)
        for b in range(15):
            for c in range(9):
                item = int(items[b, c])
                own = (item - 1) // 15 if column else item
                score = u[users[b]] @ i[item] + model.user_bias.weight[users[b], 0] + model.item_bias.weight[item, 0]
                for r in range(2):
                    if ages[b, c, r] < 0:
                        continue
                    interval = ages[b, c, r] / 3
                    alpha, pi, beta, sigma, mu = (
                        getattr(model, name).weight[own, r] for name in ("alphas", "pis", "betas", "sigmas", "mus")
                    )
                    fades = Exponential((beta + 1).clamp(1e-10, 10)).log_prob(interval).exp()
                    comes = Normal(mu + 1, (sigma + 1).clamp(1e-10, 10)).log_prob(interval).exp()
                    share = pi + 0.5
                    score += (model.global_alpha + alpha) * (share * fades + (1 - share) * comes)
                expected[b, c] = score
        torch.testing.assert_close(model(users, items, context), expected)


def test_category_column_must_be_there(folder):
    dataset = load(folder, "walks")
    graph = BipartiteGraph(dataset.clicks.users, dataset.clicks.items, N_USERS, N_ITEMS)
    args = parse(["--model_name", "SLRCPlus", "--category_col", "i_kind"])
    with pytest.raises(UserError, match="has no column 'i_kind'"):
        by_name("SLRCPlus").from_data(dataset, graph, **args.model_options)
