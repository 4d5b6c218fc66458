"""PNG charts of the results."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ans_fast.files import atomic_file
from benchmarks.results import Table

# Okabe and Ito's colours, told apart with any colour vision; markers tell lines apart in print.
STYLES = {
    "fused": ("#000000", "o"),
    "compile": ("#0072B2", "s"),
    "eager": ("#D55E00", "^"),
    "torch CSR": ("#009E73", "D"),
    "torch COO": ("#CC79A7", "v"),
    "scipy": ("#E69F00", "P"),
}
TITLES = {"ans_terms": "ANS terms", "propagate": "propagation", "sample_negatives": "negatives", "epoch": "ANS epoch"}
SIZES = {"M": "negatives a pair, M", "D": "embedding size, D"}
FULL = "forward+backward"


def draw(table: Table, folder: Path) -> None:
    """speedup.png, time_by_m.png, time_by_d.png and memory_by_m.png; a chart without data is left out."""
    style = {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False, "savefig.bbox": "tight"}
    with plt.rc_context(style):
        _speed_ups(table, folder / "speedup.png")
        _growth(table, folder / "time_by_m.png", "M", "p50_ms", "milliseconds, forward and backward")
        _growth(table, folder / "time_by_d.png", "D", "p50_ms", "milliseconds, forward and backward")
        _growth(table, folder / "memory_by_m.png", "M", "peak_mb", "extra peak memory, MB")


def _speed_ups(table: Table, file: Path) -> None:
    """A group of bars an op, at its first size: how many times as fast as each other provider the fused one is."""
    bars: list[tuple[str, float]] = []  # provider and ratio, from the top; an empty provider is a gap
    places, labels = [], []
    for op in (op for op in TITLES if op in table.ops()):
        config, mode = _fullest(table, op)
        ratios = {p: table.speed_up(op, config, mode, p) for p in STYLES if p != "fused"}
        group = [(provider, ratio) for provider, ratio in ratios.items() if ratio]
        places.append(len(bars) + (len(group) - 1) / 2)
        labels.append(f"{TITLES[op]}\n({mode})")
        bars += [*group, ("", 1.0)]
    if not bars:
        return
    figure, axes = plt.subplots(figsize=(7.5, 0.6 + 0.34 * len(bars)))
    for y, (provider, ratio) in enumerate(bars):
        if provider:
            axes.barh(y, ratio, color=STYLES[provider][0], label=provider)
            axes.annotate(f"{ratio:.3g}×", (ratio, y), (4, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(places, labels)
    axes.tick_params("y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel("times as fast as …")
    axes.set_xlim(1, 1.25 * max(ratio for _, ratio in bars))
    _log(axes.xaxis, axes)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [provider for provider in STYLES if provider in handles]
    axes.legend([handles[p] for p in order], order, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    _save(figure, file)


def _growth(table: Table, file: Path, size: str, value: str, value_label: str) -> None:
    """Lines over one size of ans_terms and, for D, of propagate; all other sizes are those of the first case."""
    ops = [op for op in ("ans_terms", "propagate") if op in table.ops() and len(_sweep(table, op, size)) > 1]
    if not ops:
        return
    figure, all_axes = plt.subplots(1, len(ops), figsize=(5.2 * len(ops), 4), squeeze=False)
    for axes, op in zip(all_axes[0], ops, strict=True):
        points = _sweep(table, op, size)
        for provider, (colour, marker) in STYLES.items():
            cases = {x: table.get(op, config, FULL, provider) for x, config in points.items()}
            line = {x: getattr(case, value) for x, case in cases.items() if case and getattr(case, value)}
            if len(line) > 1:
                axes.plot(list(line), list(line.values()), color=colour, marker=marker, label=provider)
        _log(axes.xaxis, axes)
        _log(axes.yaxis, axes)
        axes.set_xticks(list(points), [str(x) for x in points])
        axes.grid(color="#dddddd", linewidth=0.7)
        axes.set(xlabel=SIZES[size], title=TITLES[op])
        axes.legend(frameon=False)
    all_axes[0][0].set_ylabel(value_label)
    _save(figure, file)


def _fullest(table: Table, op: str) -> tuple[str, str]:
    """The op's first config, with its backward pass if it has one."""
    config = table.configs(op)[0][0]
    modes = [mode for c, mode in table.configs(op) if c == config]
    return config, FULL if FULL in modes else modes[0]


def _sweep(table: Table, op: str, size: str) -> dict[int, str]:
    """The configs that differ from the op's first one in `size` alone, by its value."""
    pattern = re.compile(rf"\b{size}=(\d+)")

    def rest(config: str) -> str:
        return pattern.sub("", config)

    configs = list(dict.fromkeys(config for config, _ in table.configs(op)))
    found = {int(m[1]): c for c in configs if (m := pattern.search(c)) and rest(c) == rest(configs[0])}
    return dict(sorted(found.items()))


def _log(axis, axes: Axes) -> None:
    """A log scale with plain numbers."""
    getattr(axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _save(figure: plt.Figure, file: Path) -> None:
    with atomic_file(file) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    plt.close(figure)
