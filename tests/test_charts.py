"""Charts are PNG files where matplotlib is installed, and one line elsewhere."""

from __future__ import annotations

import sys

import pytest

from ans_fast.charts import new_figure, png, require_matplotlib
from ans_fast.errors import UserError


def test_png_has_the_size_of_its_figure() -> None:
    pytest.importorskip("matplotlib")
    content = png(new_figure(3, 2))
    assert content.startswith(b"\x89PNG")
    assert [int.from_bytes(content[at : at + 4], "big") for at in (16, 20)] == [3 * 120, 2 * 120]


@pytest.mark.parametrize("use", [require_matplotlib, lambda: new_figure(3, 2)])
def test_without_matplotlib(use, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="--plot needs matplotlib: pip install matplotlib"):
        use()
