"""What a report comes to, as the table that README shows."""

from __future__ import annotations

from benchmarks.gpu import operators, steps
from benchmarks.gpu.report import Row
from benchmarks.markdown import short

HEAD = ("| | ans_fast, replayed | from Python | plain PyTorch | times | replayed | times |", "|---|" + "---:|" * 6)


def table(rows: dict[str, list[Row]], facts: dict[str, str]) -> list[str]:
    """Lines of Markdown: milliseconds of each training step and operator, beside those of plain PyTorch (of sparse
    matrices CSR), from Python and replayed as a CUDA graph.

    rows: of the report's sections, by their titles. [] where nothing of that was measured.
    """
    lines = []
    for case, found in _by_case(rows.get(steps.TITLE, [])).items():
        providers = (steps.CAPTURED, steps.EAGER, "PyTorch CSR", "PyTorch CSR, replayed")
        lines.append(_line(case, *(_value(found, provider, steps.MS) for provider in providers)))
    for case, found in _by_case(rows.get(operators.TITLE, [])).items():
        plain = "eager" if "eager" in found else "PyTorch CSR"
        if plain in found:
            ours = [_value(found, operators.OURS, name) for name in (operators.REPLAYED, operators.CALLED)]
            theirs = [_value(found, plain, name) for name in (operators.CALLED, operators.REPLAYED)]
            lines.append(_line(case, *ours, *theirs))
    if not lines:
        return []
    told = ", ".join(f"{name} {value}" if name != "card" else value for name, value in facts.items())
    return [f"Milliseconds; {told}.", "", *HEAD, *lines]


def _by_case(rows: list[Row]) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.case, {})[row.provider] = row
    return found


def _value(found: dict[str, Row], provider: str, quantity: str) -> float | None:
    return found[provider].get(quantity) if provider in found else None


def _line(
    case: str, replayed: float | None, called: float | None, plain: float | None, plain_replayed: float | None
) -> str:
    """PyTorch's times also as how many times ours they are: of what training does, which is to replay."""
    cells = [_cell(replayed), _cell(called)]
    for value in (plain, plain_replayed):
        cells += [_cell(value), _cell(value / replayed if value and replayed else None)]
    return f"| {case} | {' | '.join(cells)} |"


def _cell(value: float | None) -> str:
    return "" if value is None else short(value)
