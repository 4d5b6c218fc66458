"""States of models whose node tables several processes hold in columns: files hold whole tables, whoever wrote them.

Where this process holds all columns itself nothing is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ans_fast.nn.columns import Columns
from ans_fast.nn.node_table import NodeTable, keys_of_tables
from ans_fast.tensor_files import check_tensors

State = dict[str, Tensor]


def held_tables(model: nn.Module) -> list[NodeTable]:
    """The model's tables of which other processes hold columns too."""
    return [part for part in model.modules() if isinstance(part, NodeTable) and part.columns]


def n_parameters(model: nn.Module) -> int:
    """How many numbers all processes train together."""
    others = sum(table.weight.shape[0] * (table.columns.dim - table.columns.width) for table in held_tables(model))
    return others + sum(parameter.numel() for parameter in model.parameters())


def gather_state(model: nn.Module, state: State, folder: Path) -> State:
    """A state dict of the model with whole tables, on the leader's CPU; all processes call. They lie in files in
    `folder` that have no name."""
    columns = _columns_by_key(model)
    return {key: columns[key].gather(value, folder) if key in columns else value for key, value in state.items()}


def own_state(model: nn.Module, state: Any, path: str | Path, what: str) -> State:
    """What this process holds of `state`, the entry `what` of the file `path`, a state dict with whole tables. Raises
    UserError unless it is one of this model."""
    columns, expected = _columns_by_key(model), dict(model.state_dict())
    for key, held in columns.items():
        expected[key] = torch.empty(len(expected[key]), held.dim, dtype=expected[key].dtype, device="meta")
    check_tensors(state, expected, path, what)
    return {key: columns[key].part_of(value) if key in columns else value for key, value in state.items()}


def gather_optimizer(model: nn.Module, parameters: list[Tensor], state: dict[int, State], folder: Path) -> dict:
    """As gather_state, of an optimizer's state by the number of the parameter among `parameters`."""
    columns = _columns_by_number(model, parameters)
    return {
        number: {
            name: columns[number].gather(value, folder) if number in columns and value.dim() == 2 else value
            for name, value in kept.items()
        }
        for number, kept in state.items()
    }


def own_optimizer(model: nn.Module, parameters: list[Tensor], state: dict[int, State]) -> dict[int, State]:
    """What this process holds of an optimizer's state with whole tables; entries that are none of this model's are left
    as they are, for `load_optimizer` to refuse."""
    columns = _columns_by_number(model, parameters)

    def own(number: int, value: Any) -> Any:
        held = columns.get(number)
        whole = held and isinstance(value, Tensor) and value.dim() == 2 and value.shape[1] == held.dim
        return held.part_of(value) if whole else value

    return {
        number: {name: own(number, value) for name, value in kept.items()} if isinstance(kept, dict) else kept
        for number, kept in state.items()
    }


def _columns_by_key(model: nn.Module) -> dict[str, Columns]:
    """By the keys that tables have in the model's state dict."""
    return {key: table.columns for table, keys in keys_of_tables(model) if table.columns for key in keys}


def _columns_by_number(model: nn.Module, parameters: list[Tensor]) -> dict[int, Columns]:
    columns = {table.weight: table.columns for table in held_tables(model)}
    return {number: columns[parameter] for number, parameter in enumerate(parameters) if parameter in columns}
