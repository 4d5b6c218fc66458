"""What a mode is to the command line: its flags and its metrics."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ans_fast.data.loading import PROTOCOLS
from ans_fast.flag_types import Choice, List, Name, positive_int, text
from ans_fast.metrics import CLICK, RANKING, Metric
from ans_fast.models import modes
from ans_fast.options import Option, Options


class ListData(Options):
    """How rows become lists."""

    impression_idkey = Option(text, "time", "column whose equal values make one list of a user")
    train_max_pos_item = Option(positive_int, 20, "clicked items of a train list to keep")
    train_max_neg_item = Option(positive_int, 20, "other items of a train list to keep")
    test_max_pos_item = Option(positive_int, 20, "clicked items of a test list to keep")
    test_max_neg_item = Option(positive_int, 20, "other items of a test list to keep")


class ListedClicks(Options):
    """How clicks that come in another tool's files are read."""

    protocol = Option(
        Choice(PROTOCOLS),
        None,
        "lightgcn: LightGCN's train.txt and test.txt, as they are; a tenth of each user's train clicks, drawn, is dev",
    )


class ClickRanking(Options):
    """What is ranked where rows are clicks."""

    rank_by = Option(
        Choice(("auto", "user", "row")),
        "auto",
        "user: each user's items of dev or test together among all items but earlier clicks; row: each row "
        "by itself, as ReChorus does; auto: by the data set's description, and row with neg_items or --test_all 1",
    )


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

    def data_flags(self) -> Mapping[str, Option[Any]]:
        """The flags that say how rows are read."""
        if self.rows.listed:
            return ListData.options()
        return {} if self.rows.labelled else ListedClicks.options()

    def metric_flags(self) -> dict[str, Option[Any]]:
        """The flags that say what is measured."""
        ks = Option(List(positive_int), "5,10,20,50", "cut-offs of the metrics")
        return {
            "metric": Option(List(Name(self.metrics)), self.usual_metrics, f"of {', '.join(self.metrics)}"),
            "topk": ks if self.cut_offs else Option(text, "", argparse.SUPPRESS),
            "main_metric": Option(
                Metric(self.metrics), None, "what decides on dev; default the first metric at the first cut-off"
            ),
        }

    def row_flags(self, losses: tuple[str, ...]) -> Mapping[str, Option[Any]]:
        """The flags that say what is ranked, or learned by which of the losses that a model has."""
        flags = {} if self.rows.labelled else dict(ClickRanking.options())
        if len(losses) > 1:
            flags["loss_n"] = Option(Choice(losses), losses[0], f"of {', '.join(losses)}", metavar="LOSS")
        return flags

    def data_options(self, flags: Mapping[str, Any]) -> dict[str, Any]:
        """See `Settings.data_options`."""
        options = {name: flags[name] for name in ("sep", *self.data_flags())}
        if self.rows.listed:
            options["impression_key"] = options.pop("impression_idkey")
        return {"mode": self.name, **options}

    def measured(self, flags: Mapping[str, Any]) -> dict[str, Any]:
        """metrics and ks to measure, main_metric with its cut-off main_k."""
        main, names = flags["main_metric"], flags["metric"]
        if main is None:
            main = f"{names[0]}@{flags['topk'][0]}" if self.cut_offs else names[0]
        base, _, k = main.partition("@")
        return {
            "metrics": tuple(dict.fromkeys([*names, base, *self.always_shown])),
            "ks": tuple(sorted(set(flags["topk"]))) if self.cut_offs else (),
            "main_metric": main,
            "main_k": int(k) if k else None,
        }


RUN_MODES = {
    mode.name: mode
    for mode in (
        RunMode(modes.TOP_K),
        RunMode(modes.IMPRESSION, always_shown=("NDCG", "MAP", "HR")),
        RunMode(modes.CLICKS, CLICK, "AUC,ACC,F1_SCORE,LOG_LOSS", cut_offs=False),
    )
}
