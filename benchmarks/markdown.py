"""The results as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results import Result, Table

WAITED_LIMIT = 0.1  # beyond it a case is marked as disturbed

EXPLANATION = """\
Medians in milliseconds; `(×n)`: n times as long as fused. MB: the most memory a call had beyond what was there before,
its results included. Every provider's results were compared before it was timed (relative error in norm ≤ 1e-3; of
bfloat16 ≤ 0.1).

- `fused`: ans_fast's kernels. `fused bf16`: these with hops and gate logits in bfloat16. `eager`: the same formulas in
  plain PyTorch (`ans_fast/reference.py`), drawing with torch.rand. `compile`: that under torch.compile, compiled before
  the clock starts. `reference`: the reference backend as it comes, with the kernels' reproducible random numbers
  computed in PyTorch.
- `torch COO`, `torch CSR`, `scipy`: products with a sparse matrix that was made before, where `eager` and `compile`
  make it in every call.
- `nn.GRU`: torch's own, over packed sequences, with the vectors gathered in every call.
- `candidate_scores`: eager gathers rows so that their gradient is one index_add, which the reference does not; forward
  and backward include a softmax's denominator.
- `ans_terms` includes the products of both gates and, backward, the gradients of all tables and weights.
"""


def render(table: Table, results: list[Result]) -> str:
    """The whole document."""
    about = results[0]
    parts = [
        "# CPU benchmarks",
        f"{about.device}; {about.threads} threads; {about.versions}. Made by `make bench`.",
        EXPLANATION.rstrip(),
    ]
    for op in table.ops():
        parts.append(f"## {op}")
        parts.append(_table(table, op, "time, ms", lambda case: _time(table, case)))
        parts.append(_table(table, op, "memory, MB", lambda case: "" if case.peak_mb is None else short(case.peak_mb)))
    disturbed = [r for r in results if r.waited > WAITED_LIMIT]
    if disturbed:
        parts.append(
            f"{len(disturbed)} of {len(results)} cases, marked *, were disturbed: their threads waited for a core more "
            f"than {WAITED_LIMIT:.0%} of the time."
        )
    return "\n\n".join(parts) + "\n"


def _table(table: Table, op: str, title: str, cell: Callable[[Result], str]) -> str:
    providers = table.providers(op)
    lines = [f"| {title} | {' | '.join(providers)} |", "|---|" + "---:|" * len(providers)]
    for config, mode in table.configs(op):
        cases = [table.get(op, config, mode, provider) for provider in providers]
        lines.append(f"| {config}, {mode} | {' | '.join(cell(case) if case else '' for case in cases)} |")
    return "\n".join(lines)


def _time(table: Table, case: Result) -> str:
    text = short(case.p50_ms) + ("*" if case.waited > WAITED_LIMIT else "")
    ratio = table.speed_up(case.op, case.config, case.mode, case.provider)
    return text if case.provider == "fused" or ratio is None else f"{text} (×{short(ratio)})"


def short(value: float) -> str:
    """Three significant digits, never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 else f"{value:.4f}"
