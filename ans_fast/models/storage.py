"""Models in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ans_fast import data  # of which Ids need pandas: where there are some
from ans_fast.errors import UserError
from ans_fast.graph import BipartiteGraph
from ans_fast.models.registry import by_name
from ans_fast.nn.held_state import own_state
from ans_fast.tensor_files import load_tensors, save_tensors

CLICKS = ("users", "items", "times")  # the columns of clicks in a file

if TYPE_CHECKING:
    from ans_fast.models.base import Recommender


def save(model: Recommender, path: str | Path) -> None:
    """Writes weights, options and graph into one file, atomically; `load` reads it."""
    save_tensors(Path(path), model.content())


def content(model: Recommender, weights: dict[str, Tensor] | None = None) -> dict[str, Any]:
    """The content of the file that `save` writes. weights: another state dict than the present one."""
    weights = model.state_dict() if weights is None else weights
    graph, end = model.graph, model.graph.n_edges
    return {
        "model": model.name,
        "options": model.arguments(),
        "graph": {
            "n_users": graph.n_users,
            "n_items": graph.n_items,
            "degrees": graph.degrees[: graph.n_users].cpu(),
            "nodes": graph.indices[:end].cpu(),
        },
        "ids": {ids.who: _held(ids) for ids in (model.user_ids, model.item_ids) if ids is not None},
        **({} if model.clicks is None else {"clicks": _columns(model.clicks)}),
        "weights": {name: value.cpu() for name, value in weights.items()},
    }


def _columns(clicks: data.Events) -> dict[str, Tensor]:
    return {name: torch.tensor(getattr(clicks, name)) for name in CLICKS}


def _clicks(columns: dict[str, Tensor], graph: BipartiteGraph) -> data.Events:
    """Raises ValueError unless they are clicks of the graph's users and items."""
    users, items, times = (columns[name] for name in CLICKS)
    if not len(users) == len(items) == len(times) or not times.isfinite().all():
        raise ValueError("its clicks are damaged")
    BipartiteGraph(users, items, graph.n_users, graph.n_items)
    return data.Events(users.numpy(), items.numpy(), times.numpy())


def _held(ids: data.Ids) -> Tensor | list[str]:
    plain = ids.plain()
    return plain if isinstance(plain, list) else torch.from_numpy(plain)


def load(path: str | Path) -> Recommender:
    """The model in a file, on the CPU. Raises UserError."""
    found = load_tensors(Path(path))
    try:
        saved = found["graph"]
        users = torch.repeat_interleave(torch.arange(saved["n_users"]), saved["degrees"])
        graph = BipartiteGraph(users, saved["nodes"] - saved["n_users"], saved["n_users"], saved["n_items"])
        model = by_name(found["model"])(graph, **found["options"])
        for who, ids in found.get("ids", {}).items():  # files of graphs alone have none
            setattr(model, f"{who}_ids", data.Ids(who, ids if isinstance(ids, list) else ids.numpy()))
        if "clicks" in found:
            model.clicks = _clicks(found["clicks"], graph)
        model.load_weights(found["weights"], path)
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} does not hold a model that ans_fast saved ({error!r})") from None
    return model


def load_as(kind: type[Recommender], path: str | Path) -> Recommender:
    """The model that `save` wrote, on the CPU. Raises UserError: no such file, damaged, or another model's."""
    model = load(path)
    if not isinstance(model, kind):
        raise UserError(f"{path} holds a {model.name}, expected a {kind.name}")
    return model


def load_weights(model: Recommender, weights: dict[str, Tensor], path: str | Path) -> None:
    """Takes over a state dict read from `path`. Raises UserError where names, shapes or dtypes differ, and where a
    value is not finite."""
    model.load_state_dict(own_state(model, weights, path, "weights"))
