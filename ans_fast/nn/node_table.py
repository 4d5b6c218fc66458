"""The embeddings of all nodes as one parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.graph import BipartiteGraph
from ans_fast.nn.columns import columns_of

AT_ONCE = 1 << 12  # rows; a multiple of 16


class NodeTable(nn.Module):
    """weight [N, D], users first: one gather and one gradient serve both sides.

    Args:
        graph: whose nodes. dim: D.
        names: what state dicts of a model that `name_tables` was called for have in its place, the users' and the
            items' table by the names of ReChorus's weight files: these can be read, and ours are read there.

    Attributes:
        columns: which columns this process holds of a table that was made `in_columns`, or None: weight is [N, D], or
            [N, d] of d columns.
    """

    def __init__(self, graph: BipartiteGraph, dim: int, names: tuple[str, str] | None = None):
        super().__init__()
        self.n_users, self.n_items, self.names = graph.n_users, graph.n_items, names
        self.columns = columns_of(dim)
        self.weight = nn.Parameter(torch.empty(graph.n_nodes, self.columns.width if self.columns else dim))

    def parts(self) -> tuple[Tensor, Tensor]:
        """The users' rows [n_users, D] and the items' [n_items, D], without gradients."""
        return self.weight.detach().split([self.n_users, self.n_items])

    def rows(self, own: Callable[[Tensor], Tensor], nodes: Tensor) -> Tensor:
        """own(nodes), what is made of the table for nodes int64 [R], with all of its columns: [R, …, D]."""
        return own(nodes) if self.columns is None else self.columns.rows(own, nodes)

    def normal(self, std: float) -> None:
        """Draws all values from a normal distribution."""
        self._fill(self.weight.detach(), lambda rows: rows.normal_(std=std))

    def xavier_uniform(self) -> None:
        """Draws the users' and the items' values as nn.init.xavier_uniform_ does."""
        for part in self.parts():
            dim = self.columns.dim if self.columns else part.shape[1]
            bound = math.sqrt(3.0) * math.sqrt(2.0 / (len(part) + dim))
            self._fill(part, lambda rows, bound=bound: rows.uniform_(-bound, bound))

    def _fill(self, part: Tensor, draw: Callable[[Tensor], object]) -> None:
        """Lets `draw` fill [n, D] rows; where columns are held, block by block: the values are the same, since torch
        draws them in order, normal ones sixteen at a time."""
        if self.columns is None:
            draw(part)
            return
        starts = [*range(0, max(len(part) - 15, 1), AT_ONCE), len(part)]
        for start, end in pairwise(starts):
            block = torch.empty(end - start, self.columns.dim)
            draw(block)
            part[start:end] = block[:, self.columns.own]


def name_tables(model: nn.Module) -> None:
    """Makes the model's state dicts, wherever it is part of another module, hold its node tables by their names."""
    model.register_state_dict_post_hook(_split_tables)
    model.register_load_state_dict_pre_hook(_join_tables)


def keys_of_tables(model: nn.Module) -> list[tuple[NodeTable, list[str]]]:
    """The model's own tables, with the keys that each has in the model's state dict."""
    named = {table: keys for table, _, keys in _named_tables(model, "")}
    tables = [(key, child) for key, child in model.named_children() if isinstance(child, NodeTable)]
    return [(table, named.get(table, [f"{key}.weight"])) for key, table in tables]


# Hooks are functions of the model that they are called with, so that models can be copied and pickled.


def _named_tables(model: nn.Module, prefix: str) -> list[tuple[NodeTable, str, list[str]]]:
    """Tables, with the keys of their weight and of its two parts in a state dict."""
    tables = ((key, child) for key, child in model.named_children() if isinstance(child, NodeTable) and child.names)
    return [(table, f"{prefix}{key}.weight", [prefix + name for name in table.names]) for key, table in tables]


def _split_tables(model: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for table, whole, parts in _named_tables(model, prefix):
        state |= zip(parts, state.pop(whole).split([table.n_users, table.n_items]), strict=True)


def _join_tables(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for _, whole, parts in _named_tables(model, prefix):
        if all(part in state for part in parts):
            state[whole] = torch.cat([state.pop(part) for part in parts])
