"""Charts as PNG files. matplotlib is imported where one is drawn: it is optional, and takes half a second."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ans_fast.packages import optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Raises UserError unless matplotlib is installed."""
    optional("matplotlib", "--plot")


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches, to draw on. Raises UserError without matplotlib."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """The content of the figure's file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()
