"""`make gpu-check`: builds the CUDA half, checks every operator on the GPU, times it, and writes one report.

Needs Python, a CUDA build of torch, nvcc, ninja and numpy, scipy for training steps; no network, no pytest. From the
source folder:

    python benchmarks/gpu_check.py            # everything; writes benchmarks/results/gpu-<name of the GPU>.md
    python benchmarks/gpu_check.py --checks   # the operators' checks alone (what compute-sanitizer runs)
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
GRADIENTS = ("user_hops", "item_hops", "user_gate", "item_gate", "margin_weight", "margin_bias")
BATCH = 2_048  # clicks a training step
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}


def build() -> None:
    """The extension, in place, for this GPU alone."""
    major, minor = torch.cuda.get_device_capability()
    environment = {**os.environ, "ANS_FAST_CUDA": "1", "TORCH_CUDA_ARCH_LIST": f"{major}.{minor}"}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=ROOT, env=environment, check=True)


def random_graph(n_users: int, n_items: int, n_edges: int) -> SimpleNamespace:
    """What the operators read of a BipartiteGraph, on the GPU; made without scipy. Popularity is very unequal."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, n_users, n_edges)
    items = (n_items * rng.random(n_edges) ** 2).astype(np.int64)
    users, items = np.unique(np.stack([users, items]), axis=1)
    n = n_users + n_items
    rows, columns = np.concatenate([users, items + n_users]), np.concatenate([items + n_users, users])
    order = np.lexsort((columns, rows))
    degrees = np.bincount(rows, minlength=n)
    fields = {
        "indptr": np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64),
        "indices": columns[order].astype(np.int32),
        "scale": np.where(degrees > 0, np.maximum(degrees, 1) ** -0.5, 0).astype(np.float32),
    }
    tensors = {name: torch.from_numpy(array).cuda() for name, array in fields.items()}
    return SimpleNamespace(n_users=n_users, n_items=n_items, n_nodes=n, device=tensors["indptr"].device, **tensors)


def random_inputs(
    pairs: int, negatives: int, hops: int, dim: int, n_users: int, n_items: int, dtype: torch.dtype, ragged: bool
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The differentiable arguments of ans_terms, and its ids."""
    shapes = [(n_users, hops, dim), (n_items, hops, dim), (pairs, hops, dim), (n_items, hops, dim), (dim,), (1,)]
    tables = [(torch.randn(shape, device="cuda") * dim**-0.25).to(dtype) for shape in shapes]
    ids = [torch.randint(n, shape, device="cuda") for n, shape in ((n_users, (pairs,)), (n_items, (pairs,)))]
    ids.append(torch.randint(n_items, (pairs, negatives), device="cuda"))
    return tables, [*ids, torch.randint(1, negatives + 1, (pairs,), device="cuda") if ragged else None]


def loss_and_gradients(ans_terms: Callable, tables: list[Tensor], ids: list, seed: Tensor) -> tuple:
    """Terms, selected, and the gradients of a weighted sum of the terms."""
    leaves = [table.detach().requires_grad_() for table in tables]
    terms = ans_terms(*leaves, *ids, eps=0.3, noise_scale=0.2, seed=seed)
    total = sum(weight * term for weight, term in zip((0.7, -1.3, 0.4, 0.9), terms[:4], strict=True))
    return torch.stack(terms[:4]).detach(), terms.selected, torch.autograd.grad(total, leaves)


def error_of(got: Tensor, want: Tensor) -> float:
    return float((got.double() - want).norm() / want.norm().clamp_min(1e-9)) if got.isfinite().all() else float("inf")


def check_ans_terms(case: tuple, dtype: torch.dtype) -> str:
    from ans_fast import ops, reference

    *sizes, ragged = case
    tables, ids = random_inputs(*sizes, 40, 90, dtype, ragged)
    seed = torch.tensor([123456789])
    want = loss_and_gradients(reference.ans_terms, [table.double() for table in tables], ids, seed.cuda())
    worst = 0.0
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        got = loss_and_gradients(ops.ans_terms, tables, ids, seed)
        again = loss_and_gradients(ops.ans_terms, tables, ids, seed.cuda())
        torch.use_deterministic_algorithms(False)
        assert torch.equal(got[1], want[1]), "selected differs from the reference"
        assert torch.equal(got[0], again[0]), "the terms' bits differ between two runs"
        if deterministic:
            assert all(map(torch.equal, got[2], again[2])), "the deterministic path gave other bits"
        errors = dict(zip(GRADIENTS, map(error_of, got[2], want[2]), strict=True)) | {
            "terms": error_of(got[0], want[0])
        }
        name, worst_here = max(errors.items(), key=lambda item: item[1])
        assert worst_here <= TOLERANCE[dtype], f"{name} is off by {worst_here:.1e}, deterministic={deterministic}"
        worst = max(worst, worst_here)
    return f"relative error {worst:.1e}"


def check_propagate(dim: int, dtype: torch.dtype) -> str:
    from ans_fast import ops, reference

    graph = random_graph(300, 200, 6_000)
    x = torch.randn(graph.n_nodes, dim, device="cuda").to(dtype)
    grad = torch.randn(graph.n_nodes, 4, dim, device="cuda").to(dtype)
    wide = x.double().requires_grad_()
    want = reference.propagate(wide, graph, 3)
    want.backward(grad.double())
    narrow = x.clone().requires_grad_()
    got = ops.propagate(narrow, graph, 3)
    got.backward(grad)
    assert torch.equal(got, ops.propagate(x, graph, 3)), "the bits differ between two runs"
    errors = error_of(got.detach(), want.detach()), error_of(narrow.grad, wide.grad)
    assert max(errors) <= 3 * TOLERANCE[dtype], f"relative errors {errors}"
    return f"relative error {max(errors):.1e}"


def hardest_inputs(pairs: int, candidates: int, hops: int, dim: int, n_items: int, dtype: torch.dtype) -> list[Tensor]:
    """user_rows, item_hops, candidates, item_gate, pos_gate; one negative to choose for each pair."""
    rows = [torch.randn(n, hops, dim, device="cuda").to(dtype) for n in (pairs, n_items, n_items, pairs)]
    return [*rows[:2], torch.randint(n_items, (pairs, 1, candidates), device="cuda"), *rows[2:]]


def check_hardest_negatives(case: tuple, dtype: torch.dtype) -> str:
    from ans_fast import ops, reference

    inputs = hardest_inputs(*case, 90, dtype)
    wide = [tensor.double() if tensor.is_floating_point() else tensor for tensor in inputs]
    (user_rows, item_hops, candidates, item_gate, pos_gate), hop = wide, torch.arange(case[2], device="cuda")
    differing = 0
    for n in (3, 5):  # without gates, and with them
        got, want = ops.hardest_negatives(*inputs[:n]), reference.hardest_negatives(*wide[:n])

        def score(chosen: Tensor, gated: bool = n == 5) -> Tensor:
            gate = (item_gate[chosen, hop] + pos_gate[:, None]).sigmoid() if gated else 0
            return (user_rows[:, None] * item_hops[chosen, hop] * (1 - gate)).sum(-1)

        worse = float((score(want) - score(got)).max())  # rounding may turn a near tie over
        assert worse <= 1e-4, f"a choice scores {worse:.1e} below the best of {n} arguments"
        differing += int((got != want).sum())
    equal_rows = inputs[1][:1].expand_as(inputs[1]).contiguous()
    first = ops.hardest_negatives(inputs[0], equal_rows, candidates)
    assert torch.equal(first, candidates[..., :1].expand_as(first)), "a tie does not go to the first"
    wrong = candidates.clone()
    wrong[-1, 0, -1] = 90
    assert (ops.hardest_negatives(*inputs[:2], wrong)[-1] == -1).all(), "there is a choice despite an id out of range"
    return f"{differing} of {2 * want.numel()} choices turned over by rounding"


def check_draws() -> str:
    from ans_fast import ops, reference

    graph, seed = random_graph(300, 200, 6_000), torch.tensor([-987654321])
    users = torch.arange(300, device="cuda")
    got = ops.sample_negatives(graph, users, 13, seed, 1)
    assert torch.equal(got, reference.sample_negatives(graph, users, 13, seed.cuda(), 1))
    assert torch.equal(ops.ans_noise(seed.cuda(), 50, 33).cpu(), ops.ans_noise(seed, 50, 33)), "GPU and CPU draw apart"
    return "equal to the reference and to the CPU's"


def check_cuda_graph() -> str:
    """A training step captured once and replayed with other seeds equals the steps run one by one."""
    from ans_fast import ops

    tables, ids = random_inputs(64, 8, 3, 64, 40, 90, torch.float32, False)
    seed = torch.tensor([1], device="cuda")
    given: list = []

    def step() -> None:
        given[:] = loss_and_gradients(ops.ans_terms, tables, ids, seed)

    replay = replayed(step)
    values, _, gradients = given
    for value in (5, 6):
        seed.fill_(value)
        replay()
        alone = loss_and_gradients(ops.ans_terms, tables, ids, torch.tensor([value]))
        assert torch.equal(values, alone[0]), "a replay gave another loss"
        assert error_of(gradients[1], alone[2][1].double()) < 1e-5
    return "replays with new seeds equal single steps"


STEPS = {  # models whose steps are captured, with options
    "LightGCN": ("LightGCN", {}),
    "ANS M 2": ("ANS", {"num_neg": 2}),
    **{f"LightGCN {name}": ("LightGCN", {"negative_sampling": name}) for name in ("DNS", "MixGCF", "DENS")},
}


def training(name: str, users: int, items: int, clicks: int) -> tuple[object, object]:
    """A model of STEPS on a made graph on the GPU, and its rows. Popularity is very unequal. Needs scipy."""
    from ans_fast import BipartiteGraph, models
    from ans_fast.training.batches import Rows

    rng = np.random.default_rng(0)
    pairs = rng.integers(0, users, clicks), (items * rng.random(clicks) ** 2).astype(np.int64)
    model, options = STEPS[name]
    torch.manual_seed(0)
    made = getattr(models, model)(BipartiteGraph(*pairs, users, items), **options).to_device("cuda")
    return made, Rows(*(torch.from_numpy(ids).cuda() for ids in pairs))


def epochs(model: object, rows: object, capture: bool, n: int) -> list[float]:
    """Trains on the rows: each epoch's loss, and after these the milliseconds that a step of the last epoch took."""
    from ans_fast.distributed import ALONE
    from ans_fast.training.choose import make_step
    from ans_fast.training.loop import train_epoch
    from ans_fast.training.optimizer import make_optimizer

    step = make_step(model, make_optimizer(model, "Adam", 1e-3, 1e-5), ALONE, capture)
    losses = []
    for _ in range(n):
        began = time.perf_counter()
        losses.append(train_epoch(step, rows, BATCH))
        seconds = time.perf_counter() - began
    return [*losses, 1e3 * seconds / -(-len(rows) // BATCH)]


def check_captured_steps(name: str) -> str:
    """Epochs of captured steps, the last one short, are those of eager ones: to rounding, since atomics add up in any
    order."""
    results = []
    for capture in (False, True):
        model, rows = training(name, 900, 700, 5 * BATCH + 300)
        *losses, _ = epochs(model, rows, capture, 3)
        results.append((losses, torch.cat([p.detach().flatten() for p in model.parameters()])))
    (eager, weights), (captured, weights_captured) = results
    assert np.allclose(eager, captured, rtol=1e-5), f"losses are {captured}, eager {eager}"
    error = error_of(weights_captured, weights.double())
    assert error <= 1e-3, f"weights are off by {error:.1e}"
    return f"relative error of weights {error:.1e} after 18 steps"


def step_times() -> list[str]:
    lines = ["| clicks of | step | ms eager | ms captured |", "|---|---|---|---|"]
    for data, sizes in (("Gowalla", (29_858, 40_981, 810_128)), ("Grocery", (14_682, 8_714, 121_892))):
        for name in STEPS:
            times = []
            for capture in (False, True):
                model, rows = training(name, *sizes)
                times.append(epochs(model, rows, capture, 3)[-1])
            lines.append(f"| {data}'s number | {name} | {times[0]:.3f} | {times[1]:.3f} |")
            print(lines[-1], flush=True)
    return lines


def all_checks() -> dict[str, Callable[[], str]]:
    cases = [(5, 7, 3, 64, False), (1, 1, 1, 1, False), (3, 5, 2, 7, True), (700, 16, 4, 32, True)]
    cases += [(6, 9, 2, 128, True), (3, 5, 2, 256, True), (20, 3, 2, 300, False), (4, 6, 2, 1000, True)]
    cases += [(2048, 16, 4, 64, False)]
    checks: dict[str, Callable[[], str]] = {"draws": check_draws, "cuda graph": check_cuda_graph}
    checks |= {f"captured steps {name}": lambda name=name: check_captured_steps(name) for name in STEPS}
    for dtype in TOLERANCE:
        name = str(dtype).removeprefix("torch.")
        for case in cases:
            checks["ans_terms B{} M{} H{} D{}".format(*case[:4]) + f" {name}"] = lambda case=case, dtype=dtype: (
                check_ans_terms(case, dtype)
            )
        for case in ((5, 7, 3, 7), (700, 32, 4, 64), (9, 5, 1, 100), (6, 9, 2, 128), (5, 4, 2, 256), (90, 5, 2, 1000)):
            checks["hardest_negatives B{} M{} H{} D{}".format(*case) + f" {name}"] = lambda case=case, dtype=dtype: (
                check_hardest_negatives(case, dtype)
            )
        for dim in (1, 7, 64, 100, 256, 300, 512):
            checks[f"propagate D{dim} {name}"] = lambda dim=dim, dtype=dtype: check_propagate(dim, dtype)
    return checks


def run_checks() -> tuple[list[str], bool]:
    lines, sound = [], True
    for name, check in all_checks().items():
        torch.manual_seed(0)
        try:
            said = check()
            torch.cuda.synchronize()
            lines.append(f"| {name} | passed | {said} |")
        except Exception as error:  # one broken operator must not hide the others
            sound = False
            lines.append(f"| {name} | **failed** | {type(error).__name__}: {str(error).splitlines()[0]} |")
        print(lines[-1], flush=True)
    return ["| check | result | |", "|---|---|---|", *lines], sound


def sanitize() -> tuple[list[str], bool]:
    """The checks under compute-sanitizer, where it is installed."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not Path(tool).exists():
        return ["compute-sanitizer is not installed."], True
    lines, sound = [], True
    for kind in ("memcheck", "racecheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable, __file__, "--checks"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        summary = re.findall(r"=+ (?:ERROR|RACECHECK) SUMMARY.*", done.stdout + done.stderr)
        sound = sound and done.returncode == 0
        lines.append(f"- {kind}: {'passed' if done.returncode == 0 else '**failed**'} ({'; '.join(summary)})")
    return lines, sound


def median_ms(function: Callable[[], object], repeats: int = 50) -> float:
    for _ in range(5):
        function()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def replayed(function: Callable[[], object]) -> Callable[[], object]:
    """`function` captured in a CUDA graph: the GPU's time without the launches' gaps."""
    from ans_fast.training.captured import CudaGraphs

    graphs = CudaGraphs(torch.device("cuda"))
    for _ in range(3):
        graphs.warm_up(function)
    return graphs.capture(function)


def benchmark() -> list[str]:
    from ans_fast import ops, reference

    copy = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    bandwidth = 2 * copy.numel() / median_ms(lambda: copy.clone(), 20) / 1e6  # GB/s, read and written
    lines = [f"Copying 1 GiB: {bandwidth:,.0f} GB/s.", "", "| operator | provider | median ms | times ours |"]
    lines.append("|---|---|---|---|")

    def report(name: str, functions: dict[str, Callable[[], object]]) -> float:
        times = {provider: median_ms(function) for provider, function in functions.items()}
        for provider, time in times.items():
            lines.append(f"| {name} | {provider} | {time:.3f} | {time / times['fused']:.1f} |")
            print(lines[-1], flush=True)
        return times.get("fused, replayed", times["fused"])

    for pairs, negatives, hops, dim in ((2048, 16, 4, 64), (2048, 64, 4, 64), (2048, 16, 4, 128), (16384, 16, 4, 64)):
        tables, ids = random_inputs(pairs, negatives, hops, dim, 6_040, 8_714, torch.float32, False)
        seed = torch.tensor([7], device="cuda")

        def step(ans_terms: Callable, tables: list = tables, ids: list = ids, seed: Tensor = seed) -> object:
            return loss_and_gradients(ans_terms, tables, ids, seed)

        def plain(*args: object, **kwargs: object) -> object:
            fast = lambda seed, rows, width, first_row: torch.rand(rows, width, device="cuda")  # noqa: E731
            with mock.patch.object(reference, "ans_noise", fast):
                return reference.ans_terms(*args, **kwargs)

        torch.compiler.reset()
        functions = {
            "fused": lambda: step(ops.ans_terms),
            "fused, replayed": replayed(lambda: step(ops.ans_terms)),
            "eager": lambda: step(plain),
        }
        compiled = torch.compile(plain, dynamic=False)
        try:
            step(compiled)
            functions["torch.compile"] = lambda compiled=compiled: step(compiled)
        except Exception as error:  # no Triton or no C compiler on this machine
            lines.append(f"| | torch.compile | {type(error).__name__} | |")
        name = f"ans_terms forward+backward B {pairs} M {negatives} H {hops} D {dim}"
        time = report(name, functions)
        # Forward reads n and its gate; backward reads them and adds to both gradients: six rows a (b, m, h).
        moved = pairs * negatives * hops * dim * 4 * 6 / 1e9
        lines.append(f"| | rows through L2 | {moved / time * 1e3:,.0f} GB/s | |")

    for gated in (False, True):
        inputs = hardest_inputs(2048, 32, 4, 64, 8_714, torch.float32)[: 5 if gated else 3]
        functions = {
            "fused": lambda inputs=inputs: ops.hardest_negatives(*inputs),
            "fused, replayed": replayed(lambda inputs=inputs: ops.hardest_negatives(*inputs)),
            "eager": lambda inputs=inputs: reference.hardest_negatives(*inputs),
        }
        time = report(f"hardest_negatives B 2048 M 32 H 4 D 64{', gated' if gated else ''}", functions)
        moved = 2048 * 32 * 4 * (64 * 4 * (2 if gated else 1) + 8) / 1e9
        lines.append(f"| | rows through L2 | {moved / time * 1e3:,.0f} GB/s | |")

    graph = random_graph(6_040, 3_706, 1_000_000)
    rows = torch.repeat_interleave(torch.arange(graph.n_nodes, device="cuda"), graph.indptr.diff())
    for dim in (64, 256):
        x = torch.randn(graph.n_nodes, dim, device="cuda")
        values = graph.scale[rows] * graph.scale[graph.indices.long()]
        coo = torch.sparse_coo_tensor(torch.stack([rows, graph.indices.long()]), values, (graph.n_nodes,) * 2)
        csr = torch.sparse_csr_tensor(graph.indptr, graph.indices.long(), values, (graph.n_nodes,) * 2)
        coo = coo.coalesce()
        functions = {"fused": lambda x=x: ops.propagate(x, graph, 1)}
        functions["fused, replayed"] = replayed(lambda x=x: ops.propagate(x, graph, 1))
        functions["COO"] = lambda x=x, coo=coo: torch.sparse.mm(coo, x)
        functions["CSR"] = lambda x=x, csr=csr: torch.sparse.mm(csr, x)
        time = report(f"propagate, one layer, D {dim}, {len(graph.indices):,} neighbours", functions)
        moved = len(graph.indices) * (4 * dim + 8) / 1e9
        lines.append(f"| | rows through L2 | {moved / time * 1e3:,.0f} GB/s | |")

    users = torch.randint(graph.n_users, (100_000,), device="cuda")
    time = report("sample_negatives B 100,000 M 16", {"fused": lambda: ops.sample_negatives(graph, users, 16, 3, 1)})
    lines.append(f"| | draws a second | {1.6e6 / time * 1e3:.2e} | |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", action="store_true", help="only check the operators; the extension must be built")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(f"error: gpu_check needs a GPU and a CUDA build of torch, got torch {torch.__version__}", file=sys.stderr)
        return 2
    if arguments.checks:
        return 0 if run_checks()[1] else 1
    build()
    import ans_fast
    from ans_fast.files import write_atomically

    name, info = torch.cuda.get_device_name(), ans_fast.build_info()
    checks, sound = run_checks()
    sanitizers, clean = sanitize()
    report = [
        f"# {name}",
        "",
        f"torch {torch.__version__}, Python {sys.version.split()[0]}, CUDA {info['cuda']}, "
        f"{torch.cuda.get_device_properties(0).multi_processor_count} multiprocessors.",
        *("", "## Checks", "", *checks, "", "## compute-sanitizer", "", *sanitizers),
    ]
    for title, times in (("Times", benchmark), ("Training steps", step_times)):
        try:
            report += ["", f"## {title}", "", *times()]
        except Exception as error:  # the other results are worth keeping
            sound = False
            report += ["", f"It failed: {type(error).__name__}: {error}"]
    target = ROOT / "benchmarks/results" / f"gpu-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-').lower()}.md"
    write_atomically(target, ("\n".join(report) + "\n").encode())
    print(f"wrote {target.relative_to(ROOT)}")
    return 0 if sound and clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
