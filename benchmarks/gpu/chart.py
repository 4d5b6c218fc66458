"""A chart of the report: training steps beside PyTorch's, and how time and memory grow with the clicks."""

from __future__ import annotations

from ans_fast.files import atomic_file
from benchmarks.gpu import scaling, steps
from benchmarks.gpu.report import Report, Row, Section

TITLE = "Chart"
# Okabe and Ito's colours, told apart with any colour vision.
BARS = {steps.CAPTURED: "#000000", steps.EAGER: "#56B4E9", "PyTorch CSR, replayed": "#009E73", "PyTorch CSR": "#D55E00"}


def run(section: Section, report: Report) -> None:
    """Draws what the report holds by now, where matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        section.note("matplotlib is not installed: no chart.")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    rows, file = report.rows, report.file.with_suffix(".png")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    _bars(left, rows.get(steps.TITLE, []))
    _growth(right, rows.get(scaling.TITLE, []))
    with atomic_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    plt.close(figure)
    section.note(f"![steps, and growth]({file.name})")


def _bars(axes, rows: list[Row]) -> None:
    cases = list(dict.fromkeys(row.case for row in rows))
    for place, (provider, colour) in enumerate(BARS.items()):
        found = [(cases.index(row.case), row.get(steps.MS)) for row in rows if row.provider == provider]
        ys = [y + 0.2 * (place - 1.5) for y, _ in found]
        axes.barh(ys, [ms for _, ms in found], height=0.2, color=colour, label=provider)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.set_xlabel(steps.MS)
    if rows:
        axes.legend(fontsize=8)


def _growth(axes, rows: list[Row]) -> None:
    other = axes.twinx()
    for on, quantity, style in ((axes, scaling.STEP, "o-"), (other, scaling.PEAK, "s--")):
        found = [(row.case, row.get(quantity)) for row in rows if row.provider == steps.CAPTURED]
        points = [(float(case.split()[0]), value) for case, value in found if value is not None]
        if points:
            on.loglog(*zip(*points, strict=True), style, color="#000000" if on is axes else "#0072B2")
        on.set_ylabel(f"{quantity} ({'solid' if on is axes else 'dashed'})")
    axes.set_xlabel("million clicks")
