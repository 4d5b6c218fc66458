"""The embeddings of all nodes as one parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.graph import BipartiteGraph


class NodeTable(nn.Module):
    """weight [N, D], users first: one gather and one gradient serve both sides."""

    def __init__(self, graph: BipartiteGraph, dim: int):
        super().__init__()
        self.n_users, self.n_items = graph.n_users, graph.n_items
        self.weight = nn.Parameter(torch.empty(graph.n_nodes, dim))

    def parts(self) -> tuple[Tensor, Tensor]:
        """The users' rows [n_users, D] and the items' [n_items, D], without gradients."""
        return self.weight.detach().split([self.n_users, self.n_items])

    def named_in_state(self, model: nn.Module, key: str, user_key: str, item_key: str) -> NodeTable:
        """Makes the model's state dicts hold, in place of its attribute `key`, two tables by the names of ReChorus's
        weight files: these can be read, and ours are read there. Returns self."""

        def split(_: nn.Module, state: dict[str, Any], *__: Any) -> None:
            state[user_key], state[item_key] = state.pop(f"{key}.weight").split([self.n_users, self.n_items])

        def join(_: nn.Module, state: dict[str, Any], *__: Any) -> None:
            if user_key in state and item_key in state:
                state[f"{key}.weight"] = torch.cat([state.pop(user_key), state.pop(item_key)])

        model.register_state_dict_post_hook(split)
        model.register_load_state_dict_pre_hook(join)
        return self
