"""gpu-check runs to its end, whatever fails on the way; the CPU stands in for the GPU here."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import pytest
import torch

from ans_fast import graph, models, ops
from benchmarks.cases import ScoresSize, SoftmaxSize
from benchmarks.gpu import chart, checks, data, operators, parts, sanitizers, scaling, steps, summary
from benchmarks.gpu.device import Gpu, Work
from benchmarks.gpu.inputs import AnsSize
from benchmarks.gpu.plain_models import PlainStep
from benchmarks.gpu.report import Report, Row, Section
from tests.conftest import ROOT
from tests.ops import cases

FACTS = {"card": "Stand-in, 0 GiB", "driver": "none", "torch": torch.__version__, "CUDA": "none", "date": "today"}
TINY = data.DataSize("Tiny", 90, 20, 30, (1, 2, 3, 5, 6, 7, 8, 9, 10), (1, 1, 2, 3, 4, 5, 6, 7, 8))


class Again:
    """Graphs of the CPU, that do again what was recorded."""

    def warm_up(self, function: Work) -> None:
        function()

    def capture(self, function: Work) -> Work:
        return function


class StandIn(Gpu):
    """The CPU, which is always at work."""

    device = torch.device("cpu")

    def synchronize(self) -> None:
        pass

    def graphs(self, device: torch.device) -> Again:
        return Again()

    def median_ms(self, work: Work) -> float:
        return 1e3 * self.seconds(work)

    def busy_seconds(self, work: Work) -> float:
        return self.seconds(work)

    def peak_bytes(self, work: Work) -> int:
        work()
        return 2**30

    def forget(self) -> None:
        pass


@pytest.fixture
def gpu() -> StandIn:
    return StandIn()


@pytest.fixture
def section() -> Section:
    return Section("Test", 60.0)


def built_as_on_a_gpu(users: np.ndarray, items: np.ndarray, *sizes: int) -> tuple[torch.Tensor, torch.Tensor]:
    return graph._neighbours_on_device(torch.from_numpy(users), torch.from_numpy(items), *sizes)


CASES = (steps.Case(TINY, "LightGCN"), steps.Case(TINY, "ANS", 2), steps.Case(TINY, "LightGCN", sampling="DNS"))
SIZES = operators.Sizes(
    ans=(AnsSize(3, 2, 2, 4), AnsSize(2, 3, 1, 5)),
    n_users=5,
    n_items=6,
    hardest=AnsSize(3, 2, 2, 4),
    scores=ScoresSize(3, 4, 5, 6),
    softmax=SoftmaxSize(7, 5, 3),
    widths=(4,),
    graph=(9, 8, 30),
    draws=7,
    copied=1024,
    dtypes=(torch.float32, torch.bfloat16),
)
FEW = [cases.ans_case(3, 2, 2, 4, True), cases.hardest_case(3, 1, 4, 2, 5, True)]


def places_of(gpu: Gpu) -> tuple[cases.Place, ...]:
    """As on a GPU: one, and one with deterministic algorithms."""
    dtypes, device = (torch.float32, torch.bfloat16), str(gpu.device)
    return tuple(cases.Place(name, device, dtypes=dtypes, deterministic=name != "here") for name in ("here", "there"))


SMALL_PARTS = {
    checks.TITLE: lambda section, gpu, report: checks.run(section, gpu, places_of(gpu), FEW),
    operators.TITLE: lambda section, gpu, report: operators.run(section, gpu, SIZES),
    steps.TITLE: lambda section, gpu, report: steps.run(section, gpu, CASES, batch=40, dim=4),
    scaling.TITLE: lambda section, gpu, report: scaling.run(section, gpu, [30_000, 60_000], batch=50, dim=4),
    chart.TITLE: parts.PARTS[chart.TITLE],
    sanitizers.TITLE: lambda section, gpu, report: sanitizers.run(section, Path("/nowhere")),
}


@pytest.mark.parametrize("gpu", [StandIn(), pytest.param(Gpu(), marks=pytest.mark.gpu)], ids=["stand-in", "gpu"])
def test_whole_run(gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.plain.COMPILER", "aot_eager")
    monkeypatch.setattr(graph, "_neighbours", built_as_on_a_gpu)
    monkeypatch.setattr(steps, "PLAIN_STEPS", 2)
    assert list(SMALL_PARTS) == list(parts.PARTS) == list(parts.LIMITS)
    assert parts.everything(gpu, tmp_path / "gpu-x", FACTS, SMALL_PARTS) == 0
    text = (tmp_path / "gpu-x.md").read_text()
    assert "failed" not in text
    assert re.findall("^## (.*)", text, re.M) == list(SMALL_PARTS)
    assert text.startswith(f"# Stand-in, 0 GiB\n\ndriver none, torch {torch.__version__}, CUDA none, date today.")
    assert (tmp_path / "gpu-x.png").stat().st_size > 0
    with (tmp_path / "gpu-x.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(row["card"] == "Stand-in, 0 GiB" and row["date"] == "today" for row in rows)
    assert {row["section"] for row in rows} == {checks.TITLE, operators.TITLE, steps.TITLE, scaling.TITLE}
    ways = ["COO", "COO, symmetric", "COO, replayed", "CSR", "CSR, symmetric", "CSR, replayed"]
    ours = [steps.CAPTURED, steps.EAGER]
    found = {(row["case"], row["provider"]): float(row["value"]) for row in rows if row["quantity"] == steps.EPOCH}
    assert list(found) == [
        *(
            (case, way)
            for case in ("Tiny LightGCN", "Tiny ANS M 2")
            for way in (*ours, *(f"PyTorch {w}" for w in ways))
        ),
        *(("Tiny LightGCN DNS", way) for way in ours),
    ]
    assert all(value > 0 for value in found.values())
    providers = {row["provider"] for row in rows if row["section"] == operators.TITLE and "ans_terms" in row["case"]}
    layers = [row["provider"] for row in rows if row["quantity"] == scaling.LAYER]
    assert layers == ["propagate float32", "propagate bfloat16", "PyTorch CSR"] * 2
    assert providers == {"ans_fast", "ans_fast bfloat16", "eager", "torch.compile"}
    assert "The largest graph that was trained on: 0.06 million clicks." in text


def test_runs_on_a_bare_machine() -> None:
    """Nothing but torch and numpy is imported."""
    missing = "pytest scipy scipy.sparse matplotlib pandas pytest_benchmark hypothesis"
    code = f"import sys; sys.modules |= dict.fromkeys({missing.split()}); import benchmarks.gpu.parts"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_says_that_it_needs_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True)
    expected = f"error: gpu-check needs a GPU and a CUDA build of torch, got torch {torch.__version__}\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_no_chart_without_matplotlib(section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    chart.run(section, Report(tmp_path / "x", FACTS, summary.table))
    assert (section.notes, section.failed) == (["matplotlib is not installed: no chart."], 0)


def test_checks_alone(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SMALL_PLACES", places_of(gpu)[:1])
    monkeypatch.setattr(checks, "small_cases", lambda: FEW)
    assert parts.only_checks(gpu, small=True) == 0
    monkeypatch.setattr(ops, "hardest_negatives", lambda **inputs: inputs["candidates"][..., :1].expand(-1, -1, 2) * 0)
    assert parts.only_checks(gpu, small=True) == 1


# --- What breaks off -------------------------------------------------------------------------------------------------


def test_a_part_that_fails_is_told_and_the_next_goes_on(gpu: StandIn, tmp_path: Path) -> None:
    def fails(section: Section, gpu: Gpu, report: Report) -> None:
        section.add("one", "x", {"ms": 1.5})
        with section.attempt("two"):
            raise ValueError("of the case\nin two lines")
        section.add("three", "x", {"ms": 2.5})
        raise RuntimeError("of the part")

    def reads(section: Section, gpu: Gpu, report: Report) -> None:
        text = (tmp_path / "r.md").read_text()
        assert "| three | x | 2.5 |" in text
        assert "- **failed**: two: ValueError: of the case in two lines\n" in text
        assert f"- **failed**: {checks.TITLE}: RuntimeError: of the part\n" in text
        section.add("four", "", {"result": "read"})

    def is_interrupted(section: Section, gpu: Gpu, report: Report) -> None:
        section.add("five", "", {"ms": 3.5})
        raise KeyboardInterrupt

    assert parts.everything(gpu, tmp_path / "r", FACTS, {checks.TITLE: fails, operators.TITLE: reads}) == 1
    assert "| four |  | read |" in (tmp_path / "r.md").read_text()
    with pytest.raises(KeyboardInterrupt):
        parts.everything(gpu, tmp_path / "r", FACTS, {checks.TITLE: is_interrupted})
    assert "| five |  | 3.5 |" in (tmp_path / "r.md").read_text()


def test_cases_for_which_there_is_no_time_are_told(gpu: StandIn) -> None:
    section = Section("Test", 0.0)
    steps.run(section, gpu, CASES)
    assert section.rows == []
    assert section.notes[-1] == (
        "3 left out, for the section's 0 s were over: Tiny LightGCN, Tiny ANS M 2, Tiny LightGCN DNS"
    )
    section = Section("Test", 60.0)
    waiting = section.in_time("abc")
    assert next(waiting) == "a"
    section.limit = 0.0
    assert list(waiting) == []
    assert section.notes == ["2 left out, for the section's 0 s were over: b, c"]


def test_the_graph_that_does_not_fit_is_the_last(
    section: Section, gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of = scaling._steps

    def full(gpu: Gpu, graph, rows, captured: bool, dim: int) -> dict:
        if graph.n_items > 200:
            raise RuntimeError("of a capture") from torch.OutOfMemoryError("CUDA out of memory")
        return steps_of(gpu, graph, rows, captured, dim)

    monkeypatch.setattr(scaling, "_steps", full)
    scaling.run(section, gpu, [30_000, 60_000, 90_000], batch=50, dim=4)
    assert section.notes[1:] == [
        "0.06 million clicks do not fit into the GPU's memory.",
        "The largest graph that was trained on: 0.03 million clicks.",
    ]


TOOL = """#!/bin/sh
echo "$@" > {folder}/arguments
{commands}
"""
SANITIZED = {  # what the tool does: result, whether that is a failure, note
    "echo '========= ERROR SUMMARY: 0 errors'": ("passed", 0, "ERROR SUMMARY: 0 errors", []),
    "echo '========= Invalid __global__ read'; exit 9": ("**failed**", 1, "status 9", ["Invalid __global__ read"]),
    "exit 1": ("**failed**", 1, "status 1", []),
    "sleep 60 & echo $! > {folder}/child; wait": ("unfinished", 0, "time over after 0.5 s", []),
    "echo '========= Error: Race reported'; sleep 60": (
        "**failed**",
        1,
        "time over after 0.5 s",
        ["Error: Race reported"],
    ),
}


@pytest.mark.parametrize("commands", SANITIZED)
def test_sanitizers(section: Section, tmp_path: Path, commands: str) -> None:
    result, failed, told, notes = SANITIZED[commands]
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(TOOL.format(folder=tmp_path, commands=commands.format(folder=tmp_path)))
    tool.chmod(0o755)
    began = perf_counter()
    section.limit = 1.0 if "sleep" in commands else 60.0
    sanitizers.run(section, tool, {"racecheck": ("small", 0.5)})
    assert perf_counter() - began < 20
    assert section.rows == [Row("racecheck, small checks", "", {"result": result, "told": told})]
    assert (section.failed, section.notes) == (failed, notes)
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments == [
        *"--tool racecheck --error-exitcode 9".split(),
        sys.executable,
        *"-m benchmarks.gpu --checks small".split(),
    ]
    if (tmp_path / "child").exists():
        stat = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/stat")
        until = perf_counter() + 10  # that it was killed is not yet that it is gone
        while (alive := _lives(stat)) and perf_counter() < until:
            sleep(0.02)
        assert not alive


def _lives(stat: Path) -> bool:
    try:
        return stat.read_text().split()[2] != "Z"
    except OSError:
        return False


# --- What is checked and timed ---------------------------------------------------------------------------------------


def test_a_broken_operator_is_told(section: Section, gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def every_other(*args, **options) -> torch.Tensor:
        """Wrong bits in every second call, and a wrong choice in none."""
        calls.append(args)
        return propagate(*args, **options) * (1 + 1e-3 * (len(calls) % 2))

    propagate, calls = ops.propagate, []
    monkeypatch.setattr(ops, "propagate", every_other)
    monkeypatch.setattr(checks, "STEP_CASES", ())
    few = [cases.propagate_case("propagate", "random", dim, 1) for dim in (3, 4)]
    checks.run(section, gpu, places_of(gpu)[:1], few)
    rows = {(row.case, row.provider): row.values for row in section.rows}
    assert rows["propagate", "here, float32"] == {"result": "**failed**", "found": "0 of 2 cases"}
    assert rows["propagate", "here, bfloat16"] == {"result": "passed", "found": "2 of 2 cases"}
    assert section.failed == len(section.notes) == 4
    assert "propagate random D3 1 layers on here, here, float32: AssertionError: propagate" in section.notes[0]
    assert section.notes[2] == (
        "**failed**: the same bits twice: propagate random D3 1 layers on here: AssertionError: values differ"
    )


def test_captured_steps_that_differ_are_told(gpu: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_another_rate(*args) -> steps.Step:
        step = trainer(*args)
        step.optimizer.param_groups[0]["lr"] *= 1.01 if args[3] else 1
        return step

    trainer = checks.trainer
    monkeypatch.setattr(checks, "trainer", with_another_rate)
    with pytest.raises(AssertionError, match=r"losses are .*, eager|weights are off by"):
        checks.check_captured_steps(gpu, steps.Case(TINY, "ANS", 2))


def test_cases_for_the_sanitizers_are_small_and_of_all_kernels() -> None:
    found = checks.small_cases()
    assert {case.operator for case in found} == {
        "ans_terms",
        "hardest_negatives",
        "candidate_scores",
        "top_k_bpr",
        "propagate",
        "propagate_mean",
        "log_sum_exp",
        "distinct_ids",
    }


@pytest.mark.parametrize("case", CASES[:2], ids=str)
@pytest.mark.parametrize("layout", ["COO", "CSR"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_plain_steps_compute_what_the_library_does(case: steps.Case, layout: str, symmetric: bool) -> None:
    made = data.made(TINY, torch.device("cpu"))
    ans = case.model == "ANS"
    model = models.by_name(case.model)(made.graph, emb_size=8, **case.options, **({"noise_scale": 0.0} if ans else {}))
    plain = PlainStep(made, 90, layout, symmetric, case.n_negatives, ans, dim=8)
    batch = model.draw(made.rows, [torch.tensor([1])] * 2)
    with torch.no_grad():
        plain.table.copy_(model.table.weight)
        if ans:
            plain.loss.load_state_dict({n: v for n, v in model.state_dict().items() if n in plain.loss.state_dict()})
            plain.loss.noise_scale = 0.0
    expected, _ = model.loss(batch, [torch.tensor([1])] * 2)
    found = plain.loss(plain.hops(), made.graph.n_users, batch.users, batch.items, batch.neg_items)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad(loss, table)[0] for loss, table in ((found, plain.table), (expected, model.table.weight))
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("size", [data.GROCERY, data.ML_100K], ids=str)
def test_made_data_have_the_degrees_of_the_real_ones(size: data.DataSize) -> None:
    users, items = size.pairs()
    assert len(set(zip(users.tolist(), items.tolist(), strict=True))) == len(users) == size.clicks
    for ids, n, degrees in ((users, size.n_users, size.user_degrees), (items, size.n_items, size.item_degrees)):
        found = np.quantile(np.bincount(ids, minlength=n), data.QUANTILES)
        assert len(found) == len(degrees)
        np.testing.assert_allclose(found[2:-1], degrees[2:-1], rtol=0.35, atol=3)


def test_summary_is_of_what_was_measured() -> None:
    rows = {
        steps.TITLE: [
            Row("Gowalla LightGCN", steps.CAPTURED, {steps.MS: 0.5}),
            Row("Gowalla LightGCN", steps.EAGER, {steps.MS: 1.25}),
            Row("Gowalla LightGCN", "PyTorch CSR", {steps.MS: 5.0}),
            Row("Gowalla LightGCN", "PyTorch CSR, replayed", {steps.MS: 2.0}),
            Row("Grocery LightGCN DNS", steps.EAGER, {steps.MS: 1.5}),
        ],
        operators.TITLE: [
            Row("copy", "", {operators.CALLED: 1.0}),
            Row("ans_terms", operators.OURS, {operators.CALLED: 1.0, operators.REPLAYED: 0.1}),
            Row("ans_terms", "eager", {operators.CALLED: 5.0}),
        ],
    }
    assert summary.table(rows, FACTS) == [
        f"Milliseconds; Stand-in, 0 GiB, driver none, torch {torch.__version__}, CUDA none, date today.",
        "",
        *summary.HEAD,
        "| Gowalla LightGCN | 0.5 | 1.25 | 5 | 10 | 2 | 4 |",
        "| Grocery LightGCN DNS |  | 1.5 |  |  |  |  |",
        "| ans_terms | 0.1 | 1 | 5 | 50 |  |  |",
    ]
    assert summary.table({}, FACTS) == []
