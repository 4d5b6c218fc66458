"""A small data set on disk that tests may spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TOPK = {
    "train": "user_id\titem_id\ttime\n1\t1\t10\n1\t2\t20\n2\t3\t15\n3\t4\t16.5\n2\t5\t30\n",
    "dev": "user_id\titem_id\ttime\tneg_items\n1\t3\t40\t[4, 5]\n2\t4\t41\t[1, 2]\n",
    "test": "user_id\titem_id\ttime\tneg_items\n1\t4\t50\t[5, 3]\n2\t2\t51\t[1, 4]\n",
}
LABELLED = dict.fromkeys(
    ("train", "dev", "test"),
    "user_id\titem_id\ttime\tlabel\timpression_id\n"
    "1\t1\t10\t1\ta\n1\t2\t10\t0\ta\n1\t3\t10\t0\ta\n2\t3\t15\t1\tb\n2\t2\t16\t0\tb\n1\t4\t20\t0\tc\n",
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(**splits) writes a Top-k set named `small`, or one with labels; splits replaces files (None: no file)."""

    def write_set(labelled: bool = False, **splits: str | bytes | None) -> Path:
        folder = tmp_path / "small"
        folder.mkdir(exist_ok=True)
        for name, text in {**(LABELLED if labelled else TOPK), **splits}.items():
            if text is not None:
                (folder / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return write_set


@pytest.fixture(autouse=True)
def _no_user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
