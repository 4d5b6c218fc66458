"""Operators with odd arguments: the reference's result, or an exception; never a crash, a hang or a wrong number."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

import ans_fast
from ans_fast import ops, reference
from tests.attack.attack import REFUSED, Attack, Case, Fault, judge
from tests.attack.child import in_child
from tests.conftest import random_graph
from tests.ops.cases import ans_case, rounded

RAW = torch.ops.ans_fast
Arguments = dict[str, Any]
INTEGERS = (-(2**63), -(2**31), -1, 0, 1, 2, 3, 1000, 1001, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e-45, 1e30, 1e308)
IDS = (-(2**63), -(2**31), -1, 2**31 - 1, 2**31, 2**32, 2**63 - 1)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.bool)


class Change(NamedTuple):
    """What happens to one argument."""

    name: str
    kind: str
    where: float
    what: Any

    def apply(self, arguments: Arguments) -> None:
        """Changes the argument, if the kind means something for it."""
        value = arguments.get(self.name)
        if self.kind == "value":
            if not isinstance(value, Tensor):
                arguments[self.name] = self.what
        elif self.kind == "none":
            arguments[self.name] = None
        elif isinstance(value, Tensor) and value.layout == torch.strided:
            try:
                changed = _KINDS[self.kind](value, self.where, self.what)
            except RuntimeError:  # torch itself has no such tensor
                return
            if changed is not None:
                arguments[self.name] = changed


def _fill(tensor: Tensor, where: float, value: Any) -> Tensor | None:
    floating = tensor.is_floating_point()
    if tensor.is_meta or floating != isinstance(value, float) or tensor.dtype in (torch.bool, torch.int8):
        return None
    if not 0 < tensor.numel() < 1 << 20 or (tensor.dtype == torch.int32 and abs(value) > 2**31 - 1):
        return None
    tensor = tensor.detach().clone()
    tensor.view(-1)[int(where * tensor.numel())] = value
    return tensor


def _narrow(tensor: Tensor, where: float, size: int) -> Tensor | None:
    if not tensor.dim():
        return None
    dim = int(where * tensor.dim())
    return tensor.narrow(dim, 0, size).contiguous() if tensor.shape[dim] >= size and not tensor.is_meta else None


def _expand(tensor: Tensor, where: float, size: int) -> Tensor | None:
    """A dimension of `size` without memory, others of 0 where where says so."""
    if not tensor.dim() or not tensor.numel():
        return None
    dim = int(where * tensor.dim())
    return tensor.narrow(dim, 0, 1).expand(*(size if d == dim else n for d, n in enumerate(tensor.shape)))


def _hollow(tensor: Tensor, where: float, size: int) -> Tensor | None:
    """Contiguous, huge and empty: `size` along one dimension, 0 along another."""
    if tensor.dim() < 2:
        return None
    dim = int(where * tensor.dim())
    shape = list(tensor.shape)
    shape[dim], shape[(dim + 1) % tensor.dim()] = size, 0
    return tensor.new_empty(0).as_strided(shape, [1] * len(shape))


def _strided(tensor: Tensor, where: float, what: Any) -> Tensor | None:
    """The same values, not contiguous."""
    if not tensor.numel() or tensor.numel() > 1 << 20 or tensor.is_meta:
        return None
    spread = tensor.new_zeros((*tensor.shape, 3)) if tensor.dtype != torch.bool else None
    if spread is None:
        return None
    spread[..., 1] = tensor.detach()
    return spread[..., 1]


def _misaligned(tensor: Tensor, where: float, offset: int) -> Tensor | None:
    """The same values, at an address that is no multiple of their size."""
    if not 0 < tensor.numel() < 1 << 20 or tensor.is_meta or not tensor.is_contiguous():
        return None
    data = bytearray(offset) + bytes(tensor.detach().view(-1).view(torch.uint8).tolist())
    return torch.frombuffer(data, dtype=tensor.dtype, offset=offset, count=tensor.numel()).view(tensor.shape)


_KINDS: dict[str, Callable[[Tensor, float, Any], Tensor | None]] = {
    "fill": _fill,
    "narrow": _narrow,
    "expand": _expand,
    "hollow": _hollow,
    "strided": _strided,
    "misaligned": _misaligned,
    "dtype": lambda t, where, dtype: t.detach().to(dtype),
    "meta": lambda t, where, what: t.to("meta"),
    "transpose": lambda t, where, what: t.transpose(0, -1) if t.dim() > 1 else None,
    "order": lambda t, where, what: t.detach().transpose(0, -1).contiguous().transpose(0, -1) if t.dim() > 1 else None,
    "add dim": lambda t, where, what: t.unsqueeze(int(where * (t.dim() + 1))),
    "drop dim": lambda t, where, what: t.select(int(where * t.dim()), 0) if t.numel() and t.dim() else None,
    "sparse": lambda t, where, what: t.detach().to_sparse() if 0 < t.numel() < 1 << 20 and not t.is_meta else None,
    "negative view": lambda t, where, what: torch._neg_view(t) if t.is_floating_point() and not t.is_meta else None,
    "gradient": lambda t, where, what: t.detach().requires_grad_() if t.is_floating_point() else None,
}
_WHAT: dict[str, tuple] = {
    "fill": (*IDS, *FLOATS, float("nan")),
    "narrow": (0, 0, 1),
    "expand": (2**20, 2**31, 2**40, 2**62),
    "hollow": (2**31, 2**40, 2**62),
    "misaligned": (1, 2, 4, 8),
    "dtype": DTYPES,
}


class Operators(Attack):
    """The base is an operator, the seed of its sound arguments, and a number of threads."""

    name = "operators"

    def draw(self, rng: random.Random) -> Case:
        name, seed = rng.choice(list(OPERATORS)), rng.randrange(2**32)
        arguments = OPERATORS[name].make(random.Random(seed))
        changes = []
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            argument = rng.choice([name for name in arguments if name != "graph"])
            if isinstance(arguments[argument], Tensor):
                kind = rng.choice([*_KINDS, "fill", "fill", "none"])
                what = rng.choice(_WHAT.get(kind, (None,)))
            else:
                kind = "value"
                what = rng.choice(FLOATS if isinstance(arguments[argument], float) else INTEGERS)
            changes.append(Change(argument, kind, rng.random(), what))
        return Case((name, seed, rng.choice([1, 2])), tuple(changes))

    def carry_out(self, case: Case, folder: Path) -> str:
        name, seed, threads = case.base
        attempt = partial(_attempt, name, seed, case.changes)
        ended = in_child(attempt, folder, 60, partial(torch.set_num_threads, threads))
        outcome = judge(ended)
        if ended.out.startswith(REFUSED):
            outcome = REFUSED
            if not case.changes:
                raise Fault(f"sound arguments are refused: {ended.out}")
        return outcome


def _attempt(name: str, seed: int, changes: tuple[Change, ...]) -> int:
    operator = OPERATORS[name]
    arguments = operator.make(random.Random(seed))
    for change in changes:
        change.apply(arguments)
    try:
        result = operator.call(**arguments)
    except Exception as error:
        print(f"{REFUSED}: {type(error).__name__}: {error}")
        return 0
    tensors = [t for t in (result if isinstance(result, tuple | list) else (result,)) if isinstance(t, Tensor)]
    for tensor in tensors:
        if tensor.numel() < 1 << 22 and not tensor.is_meta:
            tensor.detach().clone()  # reads what was written
    if any(isinstance(value, Tensor) and value.is_meta for value in arguments.values()):
        assert all(tensor.is_meta for tensor in tensors), "numbers from arguments that have none"
    elif any(change.kind == "fill" and change.name in ("indptr", "indices") for change in changes):
        return 0  # the rows that were asked for are sound, the graph is none
    elif operator.check and _comparable(arguments):
        operator.check(_doubled(arguments), result)
    return 0


def _comparable(arguments: Arguments) -> bool:
    """Whether the reference may be asked: finite numbers, few of them, and a seed that is known."""
    if "seed" in arguments and arguments["seed"] is None:
        return False
    for value in arguments.values():
        if isinstance(value, Tensor):
            if value.numel() > 1 << 16 or (value.is_floating_point() and not value.abs().lt(1e6).all()):
                return False
        elif isinstance(value, int | float) and not abs(value) < 1e6:
            return False
    return True


def _doubled(arguments: Arguments) -> Arguments:
    return {
        name: value.detach().double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in arguments.items()
    }


def _close(expected: Tensor, got: Tensor, what: str = "the result") -> None:
    got, expected = got.double(), expected.double()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4, msg=lambda text: f"{what}: {text}")


# --- Sound arguments -------------------------------------------------------------------------------------------------


class Operator(NamedTuple):
    """make: sound arguments by name. call: the operator. check: compares a result with the reference's."""

    make: Callable[[random.Random], Arguments]
    call: Callable[..., Any]
    check: Callable[[Arguments, Any], None] | None = None


def _sizes(rng: random.Random) -> dict[str, int]:
    return {
        "users": rng.choice([2, 3, 9]), "items": rng.choice([2, 5, 17]), "pairs": rng.choice([0, 1, 6]),
        "hops": rng.choice([1, 2, 4]), "dim": rng.choice([1, 3, 8, 17, 64]), "negatives": rng.choice([1, 2, 5]),
    }  # fmt: skip


def _tensors(rng: random.Random) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """Random rows of one float type, and random ids."""
    generator = torch.Generator().manual_seed(rng.randrange(2**32))
    dtype = rng.choice([torch.float32, torch.float64])

    def rows(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    def ids(below: int, *shape: int) -> Tensor:
        return torch.randint(below, shape, generator=generator)

    return rows, ids


def _graph(rng: random.Random) -> ans_fast.BipartiteGraph:
    return random_graph(rng.choice([2, 5, 12]), rng.choice([3, 9, 20]), rng.choice([0, 5, 40]), rng.randrange(2**32))


def _make_propagate(rng: random.Random) -> Arguments:
    graph, (rows, ids) = _graph(rng), _tensors(rng)
    nodes = ids(graph.n_nodes, rng.choice([0, 1, 7])) if rng.random() < 0.5 else None
    return dict(x=rows(graph.n_nodes, _sizes(rng)["dim"]), graph=graph, n_layers=rng.randrange(4), nodes=nodes)


def _flat(arguments: Arguments) -> Arguments:
    """The graph as the raw operators take it, between the first argument and the others."""
    (first, rows), (_, graph), *rest = arguments.items()
    return {first: rows, "indptr": graph.indptr, "indices": graph.indices, "scale": graph.scale, **dict(rest)}


def _make_raw_propagate(rng: random.Random) -> Arguments:
    return _flat(_make_propagate(rng))


def _make_mean(rng: random.Random) -> Arguments:
    made = _make_propagate(rng)
    return {**made, "short_hops": made["x"].dtype == torch.float32 and rng.random() < 0.5}


def _make_raw_mean(rng: random.Random) -> Arguments:
    made = _flat(_make_mean(rng)) | {"transposed": rng.random() < 0.5}
    if made["transposed"] and made["nodes"] is not None:
        made["x"] = made["x"][:1].expand(len(made["nodes"]), -1).contiguous()
    return made


def _make_propagate_backward(rng: random.Random) -> Arguments:
    made = _make_raw_propagate(rng)
    rows = _tensors(rng)[0]
    n = len(made["x"] if made["nodes"] is None else made["nodes"])
    x, n_layers = made.pop("x"), made.pop("n_layers")
    return {"grad": rows(n, n_layers + 1, x.shape[1]), **made}


def _check_propagate(mean: bool, arguments: Arguments, result: Tensor) -> None:
    graph, nodes = arguments.get("graph"), arguments["nodes"]
    if arguments.get("transposed") or arguments.get("short_hops"):
        return  # of these there is no reference, or one to fewer digits
    if graph is None:
        graph = SimpleNamespace(n_nodes=len(arguments["scale"]), **arguments)
    expected = reference.propagate(arguments["x"], graph, arguments["n_layers"])
    expected = expected if nodes is None else expected[nodes]
    _close(expected.mean(1) if mean else expected, result)


def _make_distinct(rng: random.Random) -> Arguments:
    n = rng.choice([1, 5, 300])
    return dict(ids=_tensors(rng)[1](n, rng.choice([0, 1, 7, 700])), n=n)


def _check_distinct(arguments: Arguments, result: tuple[Tensor, ...]) -> None:
    for expected, found in zip(reference.distinct_ids(**arguments), result, strict=True):
        assert torch.equal(expected, found), "other ids than the reference's"


def _make_sampling(rng: random.Random) -> Arguments:
    graph, (_, ids) = _graph(rng), _tensors(rng)
    users = ids(graph.n_users, rng.choice([0, 1, 7]))
    return dict(graph=graph, users=users, n_negatives=rng.randrange(6), seed=_seed(rng), first_item=rng.randrange(2))


def _make_raw_sampling(rng: random.Random) -> Arguments:
    made = _make_sampling(rng)
    graph, first_item = made.pop("graph"), made.pop("first_item")
    sizes = dict(n_users=graph.n_users, n_items=graph.n_items)
    n_negatives, seed = made.pop("n_negatives"), made.pop("seed")
    return {
        "indptr": graph.indptr, "indices": graph.indices, **made, **sizes, "n_negatives": n_negatives, "seed": seed,
        "first_item": first_item,
    }  # fmt: skip


def _seed(rng: random.Random) -> Tensor:
    return torch.tensor([rng.randrange(-(2**63), 2**63)])


def _check_sampling(arguments: Arguments, result: Tensor) -> None:
    graph = arguments.get("graph") or SimpleNamespace(**arguments)
    names = ("users", "n_negatives", "seed", "first_item")
    expected = reference.sample_negatives(graph, *(arguments[name] for name in names))
    assert torch.equal(expected, result), "other items than the reference's"


def _make_noise(rng: random.Random) -> Arguments:
    return dict(seed=_seed(rng), n_rows=rng.randrange(5), dim=rng.randrange(9))


def _check_noise(arguments: Arguments, result: Tensor) -> None:
    assert torch.equal(reference.ans_noise(**arguments), result), "other noise than the reference's"


def _make_hardest(rng: random.Random) -> Arguments:
    s, (rows, ids) = _sizes(rng), _tensors(rng)
    gated = rng.random() < 0.5
    return dict(
        user_rows=rows(s["pairs"], s["hops"], s["dim"]),
        item_hops=rows(s["items"], s["hops"], s["dim"]),
        candidates=ids(s["items"], s["pairs"], rng.choice([0, 1, 3]), s["negatives"]),
        item_gate=rows(s["items"], s["hops"], s["dim"]) if gated else None,
        pos_gate=rows(s["pairs"], s["hops"], s["dim"]) if gated else None,
        rest=torch.tensor(rng.choice([0.0, 1.0, 0.5]), dtype=torch.float64) if gated else None,
    )


def _check_hardest(arguments: Arguments, result: Tensor) -> None:
    if arguments["item_gate"] is not None and arguments["rest"] < 1e-3:
        return  # scores are small, and near each other
    expected = reference.hardest_negatives(**arguments)
    assert expected.shape == result.shape
    wrong = int((expected != result).sum())
    assert wrong <= 0.02 * expected.numel(), f"{wrong} of {expected.numel()} choices differ"


def _make_scores(rng: random.Random) -> Arguments:
    s, (rows, ids) = _sizes(rng), _tensors(rng)
    return dict(
        user_rows=rows(s["pairs"], s["dim"]),
        item_rows=rows(s["items"], s["dim"]),
        candidates=ids(s["items"], s["pairs"], rng.choice([0, 1, 7, 17])),
    )


def _check_scores(arguments: Arguments, result: Tensor) -> None:
    _close(reference.candidate_scores(**arguments), result)


def _make_scores_backward(rng: random.Random) -> Arguments:
    made = _make_scores(rng)
    return {"grad": torch.ones_like(RAW.candidate_scores(*made.values())), **made, "deterministic": rng.random() < 0.5}


def _make_bpr(rng: random.Random) -> Arguments:
    dtype = rng.choice([torch.float32, torch.float64])
    scores = torch.randn(rng.choice([0, 1, 7, 300]), rng.choice([2, 3, 9])) * rng.choice([0.1, 3.0, 100.0])
    return {"scores": scores.to(dtype)}


def _check_bpr(arguments: Arguments, result: Tensor) -> None:
    if len(arguments["scores"]):
        _close(reference.top_k_bpr(**arguments), result)


def _make_bpr_backward(rng: random.Random) -> Arguments:
    made = _make_bpr(rng)
    return {"grad": torch.ones((), dtype=made["scores"].dtype), **made}


def _make_softmax(rng: random.Random) -> Arguments:
    s, (rows, ids) = _sizes(rng), _tensors(rng)
    some = rng.random() < 0.5
    return dict(
        queries=rows(s["pairs"], s["dim"]),
        keys=rows(s["items"], s["dim"]),
        query_ids=ids(4, s["pairs"]) if some else None,
        key_ids=ids(4, s["items"]) if some else None,
        key_bias=rows(s["items"]) if rng.random() < 0.5 else None,
        scale=rng.choice([0.0, 1.0, -2.0]),
    )


def _check_softmax(arguments: Arguments, result: Tensor) -> None:
    _close(reference.log_sum_exp(**arguments), result)


def _make_softmax_backward(rng: random.Random) -> Arguments:
    made = _make_softmax(rng)
    log_sums = RAW.log_sum_exp(*made.values())
    return {"grad": torch.ones_like(log_sums), "log_sums": log_sums, **made}


def _make_gru(rng: random.Random) -> Arguments:
    s, (rows, ids) = _sizes(rng), _tensors(rng)
    lengths = sorted((rng.randrange(4) for _ in range(s["pairs"])), reverse=True)
    sizes = [sum(length > step for length in lengths) for step in range(max(lengths, default=0))]
    size = rng.choice([1, 3, 16, 17])
    return dict(
        table=rows(s["items"], s["dim"]),
        ids=ids(s["items"], sum(sizes)),
        sizes=torch.tensor(sizes, dtype=torch.int64),
        n_sequences=s["pairs"],
        weight_ih=rows(3 * size, s["dim"]),
        weight_hh=rows(3 * size, size),
        bias_ih=rows(3 * size),
        bias_hh=rows(3 * size),
    )


def _check_gru(arguments: Arguments, result: Tensor | tuple[Tensor, ...]) -> None:
    made = {name: value for name, value in arguments.items() if name != "save"} | {"sizes": arguments["sizes"].tolist()}
    _close(reference.gru_states(**made), result if isinstance(result, Tensor) else result[0])


def _make_gru_backward(rng: random.Random) -> Arguments:
    made = _make_gru(rng)
    states, gates, after = RAW.gru_states(**made, save=True)
    names = ("table", "ids", "sizes", "weight_ih", "weight_hh")
    return {"grad": torch.ones_like(states), "gates": gates, "after": after, **{name: made[name] for name in names}}


def _make_terms(rng: random.Random) -> Arguments:
    s, dtype = _sizes(rng), rng.choice([torch.float32, torch.float64])
    shape = (s["pairs"], s["negatives"], s["hops"], s["dim"])
    sizes = dict(first_pair=rng.choice([0, 0, 3]), n_users=s["users"], n_items=s["items"], seed=rng.randrange(2**31))
    case = ans_case(*shape, rng.random() < 0.5, **sizes)
    scales = dict(eps=rng.choice([0.0, 0.1]), noise_scale=rng.choice([0.0, 0.1]))
    return rounded(case, dtype).inputs | scales | dict(seed=_seed(rng))


def _check_terms(arguments: Arguments, result: Any) -> None:
    with ops.backend("reference"):
        expected = ops.ans_terms(**arguments)
    got = result
    if not isinstance(got, reference.AnsTerms):
        terms, selected, _, differences = result
        got = reference.AnsTerms(*terms.unbind(), selected, differences)
    names = ["sns", "distance", "orthogonality"]
    chosen = [arguments["neg_items"].gather(1, terms.selected) for terms in (expected, got)]
    if torch.equal(*chosen):
        names += ["bpr", "differences"]
    else:  # scores that are equal but for rounding may choose differently, rarely
        assert (chosen[0] != chosen[1]).sum() == 1, "other negatives are selected"
    for name in names:
        _close(getattr(expected, name), getattr(got, name), name)


def _make_terms_backward(rng: random.Random) -> Arguments:
    made = _make_terms(rng)
    terms, selected, saved, differences = RAW.ans_terms_forward(*made.values())
    return made | {
        "grad_terms": torch.ones_like(terms), "grad_differences": rng.choice([None, torch.ones_like(differences)]),
        "selected": selected, "saved": saved, "deterministic": rng.random() < 0.5,
    }  # fmt: skip


def _raw(name: str) -> Callable[..., Any]:
    operator = getattr(RAW, name)
    return lambda **arguments: operator(*arguments.values())


OPERATORS = {
    "ops.propagate": Operator(_make_propagate, ops.propagate, partial(_check_propagate, False)),
    "ops.propagate_mean": Operator(_make_mean, ops.propagate_mean, partial(_check_propagate, True)),
    "ops.distinct_ids": Operator(_make_distinct, ops.distinct_ids, _check_distinct),
    "ops.sample_negatives": Operator(_make_sampling, ops.sample_negatives, _check_sampling),
    "ops.ans_noise": Operator(_make_noise, ops.ans_noise, _check_noise),
    "ops.hardest_negatives": Operator(_make_hardest, ops.hardest_negatives, _check_hardest),
    "ops.candidate_scores": Operator(_make_scores, ops.candidate_scores, _check_scores),
    "ops.top_k_bpr": Operator(_make_bpr, ops.top_k_bpr, _check_bpr),
    "ops.log_sum_exp": Operator(_make_softmax, ops.log_sum_exp, _check_softmax),
    "ops.gru_states": Operator(_make_gru, ops.gru_states, _check_gru),
    "ops.ans_terms": Operator(_make_terms, ops.ans_terms, _check_terms),
    "propagate": Operator(_make_raw_propagate, _raw("propagate"), partial(_check_propagate, False)),
    "propagate_mean": Operator(_make_raw_mean, _raw("propagate_mean"), partial(_check_propagate, True)),
    "propagate_backward": Operator(_make_propagate_backward, _raw("propagate_backward")),
    "distinct_ids": Operator(_make_distinct, _raw("distinct_ids"), _check_distinct),
    "sample_negatives": Operator(_make_raw_sampling, _raw("sample_negatives"), _check_sampling),
    "ans_noise": Operator(_make_noise, _raw("ans_noise"), _check_noise),
    "hardest_negatives": Operator(_make_hardest, _raw("hardest_negatives"), _check_hardest),
    "candidate_scores": Operator(_make_scores, _raw("candidate_scores"), _check_scores),
    "candidate_scores_backward": Operator(_make_scores_backward, _raw("candidate_scores_backward")),
    "top_k_bpr": Operator(_make_bpr, _raw("top_k_bpr"), _check_bpr),
    "top_k_bpr_backward": Operator(_make_bpr_backward, _raw("top_k_bpr_backward")),
    "log_sum_exp": Operator(_make_softmax, _raw("log_sum_exp"), _check_softmax),
    "log_sum_exp_backward": Operator(_make_softmax_backward, _raw("log_sum_exp_backward")),
    "gru_states": Operator(lambda rng: _make_gru(rng) | {"save": rng.random() < 0.5}, _raw("gru_states"), _check_gru),
    "gru_states_backward": Operator(_make_gru_backward, _raw("gru_states_backward")),
    "ans_terms_forward": Operator(_make_terms, _raw("ans_terms_forward"), _check_terms),
    "ans_terms_backward": Operator(_make_terms_backward, _raw("ans_terms_backward")),
}
