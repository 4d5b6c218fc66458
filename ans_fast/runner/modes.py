"""What a mode is to the command line."""

from __future__ import annotations

from dataclasses import dataclass

from ans_fast.models import modes
from ans_fast.runner.metrics import CLICK, RANKING


@dataclass(frozen=True)
class RunMode:
    """rows: what models make of it. metrics: what --metric may be; usual_metrics: its default; always_shown: what is
    reported whatever it says. cut_offs: metrics look at the first k."""

    rows: modes.Mode
    metrics: tuple[str, ...] = RANKING
    usual_metrics: str = "NDCG,HR"
    always_shown: tuple[str, ...] = ()
    cut_offs: bool = True

    @property
    def name(self) -> str:
        return self.rows.name


RUN_MODES = {
    mode.name: mode
    for mode in (
        RunMode(modes.TOP_K),
        RunMode(modes.IMPRESSION, always_shown=("NDCG", "MAP", "HR")),
        RunMode(modes.CLICKS, CLICK, "AUC,ACC,F1_SCORE,LOG_LOSS", cut_offs=False),
    )
}
