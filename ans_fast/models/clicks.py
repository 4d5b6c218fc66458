"""What models are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

from ans_fast.graph import BipartiteGraph

if TYPE_CHECKING:
    from ans_fast.data.ids import Ids
    from ans_fast.data.interactions import Interactions

Clicks: TypeAlias = Union[BipartiteGraph, "Interactions"]


def opened(clicks: Clicks) -> tuple[BipartiteGraph, Ids | None, Ids | None]:
    """The graph, and the ids of its users and items if it was made from a table of them."""
    if isinstance(clicks, BipartiteGraph):
        return clicks, None, None
    return clicks.graph, clicks.user_ids, clicks.item_ids
