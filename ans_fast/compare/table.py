"""The runs' results as one table: Markdown, CSV and a chart."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ans_fast.charts import png
from ans_fast.compare.significance import Difference
from ans_fast.metrics import larger_is_better

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito's


@dataclass(frozen=True)
class Line:
    """A model on a data set: metrics' values seed by seed, median seconds of a training epoch, peak memory in bytes,
    and metrics' differences from a baseline, if there is one."""

    dataset: str
    model: str
    values: dict[str, list[float]]
    epoch_seconds: float | None
    peak_bytes: int
    differences: Mapping[str, Difference] = field(default_factory=dict)

    @classmethod
    def of_records(
        cls,
        dataset: str,
        model: str,
        records: Sequence[dict[str, Any]],
        metrics: Sequence[str],
        differences: Mapping[str, Difference],
    ) -> Line:
        """Of the runs' records (`Run.record`) on test; a metric that a run lacks is left out."""
        tests = [record["results"]["test"] for record in records]
        found = {name: [test[name] for test in tests if test.get(name) is not None] for name in metrics}
        seconds = [epoch["train_seconds"] for record in records for epoch in record["epochs"]]
        return cls(
            dataset,
            model,
            {name: values for name, values in found.items() if values},
            statistics.median(seconds) if seconds else None,
            max(record["peak_bytes"] for record in records),
            differences,
        )


def markdown(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """One table: mean ± standard deviation over seeds, each data set's best mean in bold."""
    header = ["data set", "model", "seeds", *metrics, "s / epoch", "peak MiB"]
    rows = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)]
    for line in lines:
        seeds = max((len(values) for values in line.values.values()), default=0)
        cells = [_cell(line, name, _best(lines, line.dataset, name)) for name in metrics]
        seconds = "–" if line.epoch_seconds is None else f"{line.epoch_seconds:.2f}"
        rows.append([line.dataset, line.model, str(seeds), *cells, seconds, f"{line.peak_bytes / 2**20:.0f}"])
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows) + "\n"


def _best(lines: Sequence[Line], dataset: str, name: str) -> float | None:
    means = [statistics.mean(line.values[name]) for line in lines if line.dataset == dataset and name in line.values]
    if not means:
        return None
    return max(means) if larger_is_better(name) else min(means)


def _cell(line: Line, name: str, best: float | None) -> str:
    values = line.values.get(name)
    return told(values, statistics.mean(values) == best, line.differences.get(name)) if values else "–"


def told(values: Sequence[float], is_best: bool, difference: Difference | None) -> str:
    """The mean of values ± their standard deviation, in bold if it is the best, and its difference from a baseline."""
    text = f"{statistics.mean(values):.4f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.4f}"
    text = f"**{text}**" if is_best else text
    return text if difference is None else f"{text} {difference.told}"


def comma_separated(lines: Sequence[Line], metrics: Sequence[str]) -> str:
    """CSV with a mean, a std and a p column for each metric; empty where there is nothing."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    names = [f"{name} {kind}" for name in metrics for kind in ("mean", "std", "p")]
    writer.writerow(["dataset", "model", "seeds", *names, "epoch_seconds", "peak_bytes"])
    for line in lines:
        cells: list[Any] = []
        for name in metrics:
            values, difference = line.values.get(name, []), line.differences.get(name)
            cells += [statistics.mean(values) if values else "", statistics.stdev(values) if len(values) > 1 else ""]
            cells.append("" if difference is None else difference.p)
        seeds = max((len(values) for values in line.values.values()), default=0)
        seconds = "" if line.epoch_seconds is None else line.epoch_seconds
        writer.writerow([line.dataset, line.model, seeds, *cells, seconds, line.peak_bytes])
    return output.getvalue()


def chart(lines: Sequence[Line], metrics: Sequence[str]) -> bytes | None:
    """Bars with their values, a star where they differ significantly, and error bars over seeds; a panel a data set.
    PNG; None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    panels: dict[str, list[Line]] = {}
    for line in lines:
        panels.setdefault(line.dataset, []).append(line)
    widths = [max(2.5, 0.5 * len(own) * len(metrics)) for own in panels.values()]
    figure = Figure(figsize=(sum(widths) + 1.5, 4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for axes, (dataset, own) in zip(all_axes, panels.items(), strict=True):
        for at, name in enumerate(metrics):
            bars = {i: line.values[name] for i, line in enumerate(own) if line.values.get(name)}
            places = [i + 0.8 * (at + 0.5) / len(metrics) - 0.4 for i in bars]
            means = [statistics.mean(values) for values in bars.values()]
            errors = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in bars.values()]
            drawn = axes.bar(
                places, means, 0.8 / len(metrics), yerr=errors, label=name, color=COLOURS[at % len(COLOURS)]
            )
            differences = [own[i].differences.get(name) for i in bars]
            stars = ["*" if difference and difference.mark else "" for difference in differences]
            labels = [f"{mean:.3f}{star}" for mean, star in zip(means, stars, strict=True)]
            axes.bar_label(drawn, labels, fontsize=7, rotation=90, padding=2)
        axes.set_xticks(range(len(own)), [line.model for line in own], rotation=45, ha="right")
        axes.set_title(dataset)
        axes.margins(y=0.18)  # room for the values
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return png(figure)
