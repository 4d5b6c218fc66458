"""Exported vectors recommend what the model does, read by NumPy, pyarrow, faiss, hnswlib and torch alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ans_fast import BipartiteGraph, Interactions, UserError, models
from ans_fast.models.export import FILES, INDEXES, SUFFIXES

NAMES = ["ANS", "AutoCF", "BPRMF", "LightGCN"]


def clicks(number: bool = False) -> Interactions:
    """Sixteen users, of whom the first has no clicks in the first part, and twelve items."""
    pairs = [(u, i, 10 * u) for u in range(1, 16) for i in range(12) if (u * 5 + i * 7) % 3]
    frame = pd.DataFrame([*pairs, (3, 0, 998), (0, 0, 999)], columns=["user", "item", "time"])
    if not number:
        frame = frame.assign(user="user " + frame.user.astype(str), item="ü" + frame.item.astype(str))
    train, _, _ = Interactions.from_dataframe(frame, time="time").split("time", dev=0.008, test=0.008)
    assert (train.graph.degrees[:16] == 0).sum() == 1
    return train


@pytest.fixture
def model() -> models.Recommender:
    torch.manual_seed(0)
    return models.LightGCN(clicks(), emb_size=8)


def best(model: models.Recommender, users: np.ndarray) -> list[list]:
    return model.recommend(users, k=4, exclude_seen=False)[0].tolist()


def ranked(scores: np.ndarray, ids: np.ndarray) -> list[list]:
    return ids[np.argsort(-scores, axis=1, kind="stable")[:, :4]].tolist()


@pytest.mark.parametrize("number", [False, True], ids=["text", "numbers"])
@pytest.mark.parametrize("name", NAMES)
def test_npz(name: str, number: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.by_name(name)(clicks(number), emb_size=8)
    assert model.export(tmp_path / "own.npz") == 1
    held = np.load(tmp_path / "own.npz")  # without pickle
    users, items = held["user_vectors"], held["item_vectors"]
    assert users.dtype == items.dtype == np.float32
    assert held["user_ids"].dtype.kind == held["item_ids"].dtype.kind == ("i" if number else "U")
    assert len(held["user_ids"]) == 15  # one has no clicks
    assert ranked(users @ items.T, held["item_ids"]) == best(model, held["user_ids"])
    assert held["item_clicks"].sum() == model.graph.n_edges


def test_parquet(model: models.Recommender, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert model.export(tmp_path / "own.parquet") == 1
    frame = pd.read_parquet(tmp_path / "own.parquet")
    users, items = (frame[frame.kind == kind] for kind in ("user", "item"))
    scores = np.stack(users.vector) @ np.stack(items.vector).T
    assert ranked(scores, items.id.to_numpy()) == best(model, users.id.to_numpy())
    assert users.clicks.sum() == items.clicks.sum() == model.graph.n_edges


def test_faiss(model: models.Recommender, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    assert model.export(tmp_path / "own.faiss") == 1
    held, index = np.load(tmp_path / "own.faiss.npz"), faiss.read_index(str(tmp_path / "own.faiss"))
    scores, places = index.search(held["user_vectors"], 4)
    assert held["item_ids"][places].tolist() == best(model, held["user_ids"])
    assert np.allclose(scores[0], np.sort(held["user_vectors"][0] @ held["item_vectors"].T)[::-1][:4], rtol=1e-5)


def test_hnswlib(model: models.Recommender, tmp_path: Path) -> None:
    hnswlib = pytest.importorskip("hnswlib")
    assert model.export(tmp_path / "own.hnswlib") == 1
    held = np.load(tmp_path / "own.hnswlib.npz")
    index = hnswlib.Index("ip", held["item_vectors"].shape[1])
    index.load_index(str(tmp_path / "own.hnswlib"))
    index.set_ef(128)
    places = index.knn_query(held["user_vectors"], 4)[0].astype(int)
    assert held["item_ids"][places].tolist() == best(model, held["user_ids"])


PROGRAM = """
import json, sys, torch
extra = {"ids.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
ids = json.loads(extra["ids.json"])
every = torch.arange(len(ids["user_ids"]))
scores = torch.cat([program(every[:1]), program(every[1:])])
assert "ans_fast" not in sys.modules
print(json.dumps([ids["user_ids"], [[ids["item_ids"][i] for i in row] for row in scores.topk(4).indices.tolist()]]))
"""


def test_torch_without_ans_fast(model: models.Recommender, tmp_path: Path) -> None:
    assert model.export(tmp_path / "own.pt2") == 1
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, "own.pt2"], cwd=tmp_path, capture_output=True, check=True, text=True
    )
    users, found = json.loads(told.stdout)
    assert len(users) == 16  # those without clicks too, who get what was clicked most
    with pytest.warns(UserWarning, match="1 of 16 users have no clicks"):
        assert found == best(model, np.array(users, object))


def test_padding_is_left_out(tmp_path: Path) -> None:
    models.BPRMF(BipartiteGraph([1, 2], [1, 3], 3, 4), emb_size=4, first_item=1).export(tmp_path / "own.npz")
    held = np.load(tmp_path / "own.npz")
    assert held["item_ids"].tolist() == [1, 2, 3]
    assert held["user_ids"].tolist() == [1, 2]
    assert held["item_vectors"].shape == (3, 4)


def test_an_index_that_finds_too_little_is_not_written(
    model: models.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an index that finds the best and the eight worst of twelve items for ten."""
    vectors = model.embeddings()[1]

    def worst(users: np.ndarray, k: int) -> np.ndarray:
        order = np.argsort(users @ vectors.T, axis=1)
        return np.concatenate([order[:, -1:], order[:, : k - 2], np.full((len(users), 1), -1)], 1)

    class Package:
        write = staticmethod(lambda file: file.write_text("index"))
        read = staticmethod(lambda file: worst)

    monkeypatch.setitem(INDEXES, "faiss", lambda _: Package)
    (tmp_path / "own.faiss").write_text("before")
    with pytest.raises(UserError, match=r"the index finds 0\.700 of the exact top 10, less than min_recall 0\.9"):
        model.export(tmp_path / "own.faiss")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("own.faiss", "before")]
    assert model.export(tmp_path / "own.faiss", min_recall=0.6) == pytest.approx(0.7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["own.faiss", "own.faiss.npz"]


def test_vectors_that_are_not_finite_are_told(model: models.Recommender, tmp_path: Path) -> None:
    with torch.no_grad():
        model.table.weight[3] = torch.nan
    for suffix in ("npz", "pt2"):
        with pytest.raises(UserError, match="export needs finite vectors, and this LightGCN has others"):
            model.export(tmp_path / f"own.{suffix}")


def test_what_cannot_be_exported_is_told(
    model: models.Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, format in (("own.txt", None), ("own", None), ("own.npz", "onnx")):
        with pytest.raises(UserError, match=r"format must be one of npz, parquet, faiss, hnswlib, torch, or path"):
            model.export(tmp_path / path, format)
    for module, install in {"pyarrow": "pyarrow", "faiss": "faiss-cpu", "hnswlib": "hnswlib"}.items():
        monkeypatch.setitem(sys.modules, module, None)
        name = {"pyarrow": "parquet"}.get(module, module)
        with pytest.raises(UserError, match=f"^format {name} needs {module}: pip install {install}$"):
            model.export(tmp_path / "own", name)
    with pytest.raises(UserError, match="export needs users with clicks, and this LightGCN has none"):
        models.LightGCN(BipartiteGraph([], [], 2, 2), emb_size=4).export(tmp_path / "own.npz")
    odd = Interactions.from_dataframe(pd.DataFrame({"user": [1.5, 2.5], "item": [1, 2]}))
    with pytest.raises(UserError, match="user ids in a file must be text or whole numbers, got"):
        models.LightGCN(odd, emb_size=4).export(tmp_path / "own.npz")
    assert not list(tmp_path.iterdir())
    assert {*SUFFIXES.values()} == {*FILES, *INDEXES}


@pytest.mark.parametrize("name", [name for name in models.MODULES if name not in NAMES])
def test_models_without_vectors_say_so(name: str, tmp_path: Path) -> None:
    model = models.by_name(name)(clicks())
    for ask in (
        model.embeddings,
        lambda: model.similar_items("ü1"),
        lambda: model.similar_users("user 1"),
        lambda: model.export(tmp_path / "own.npz"),
    ):
        with pytest.raises(UserError, match=f"^{name} has no vectors of users and items whose products are its"):
            ask()
