"""What is measured: sizes, and inputs made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ans_fast import BipartiteGraph

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2


def _listed(**sizes: int) -> str:
    return " ".join(f"{name}={size}" for name, size in sizes.items())


def _swept(base, **sweep: tuple[int, ...]) -> list:
    """`base`, then `base` with one size changed at a time."""
    changed = [replace(base, **{name: value}) for name, values in sweep.items() for value in values]
    return list(dict.fromkeys([base, *changed]))


# --- Graphs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GraphSize:
    users: int
    items: int
    edges: int

    def __str__(self) -> str:
        return _listed(users=self.users, items=self.items, edges=self.edges)


ML_100K = GraphSize(943, 1_682, 80_000)
ML_1M = GraphSize(6_040, 3_706, 1_000_000)
LARGE = GraphSize(60_000, 40_000, 3_000_000)
TINY = GraphSize(30, 40, 200)


def pairs(size: GraphSize) -> tuple[np.ndarray, np.ndarray]:
    """`size.edges` distinct (user, item), items and users of very unequal popularity, as in real data."""
    user_chances, item_chances = ((np.arange(n) + 10.0) ** -0.8 for n in (size.users, size.items))
    return distinct_pairs(np.random.default_rng(0), user_chances, item_chances, size.edges)


def distinct_pairs(
    rng: np.random.Generator, user_chances: np.ndarray, item_chances: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """n distinct (user, item), each drawn by its chances: users and items int64 [n]."""
    cumulated = [np.cumsum(c / c.sum()) for c in (user_chances, item_chances)]
    n_items = len(item_chances)
    keys = np.empty(0, np.int64)
    while len(keys) < n:
        users, items = (np.searchsorted(c, rng.random(n) * c[-1]) for c in cumulated)
        keys = np.union1d(keys, users * n_items + items)
    keys = rng.permutation(keys)[:n]
    return keys // n_items, keys % n_items


def graph(size: GraphSize) -> BipartiteGraph:
    """The graph of `pairs(size)`."""
    return BipartiteGraph(*pairs(size), size.users, size.items)


# --- ans_terms -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnsSize:
    """B pairs, M negatives a pair, H hops, D wide; users and items are the tables' rows (Grocery & Gourmet Food's)."""

    B: int = 2_048
    M: int = 16
    H: int = 4
    D: int = 64
    users: int = 14_682
    items: int = 8_714

    def __str__(self) -> str:
        return _listed(B=self.B, M=self.M, H=self.H, D=self.D, items=self.items)


ANS_SIZES = _swept(AnsSize(), M=(4, 64), D=(16, 128, 256), B=(512, 4_096), H=(1, 2), items=(40_000,))
ANS_QUICK = [AnsSize(B=5, M=3, H=2, D=7, users=9, items=11)]


@dataclass(frozen=True)
class AnsInputs:
    """`parameters` want gradients: user_hops, item_hops, weight and bias of both gates and of the margin."""

    parameters: tuple[Tensor, ...]
    users: Tensor
    pos_items: Tensor
    neg_items: Tensor
    seed: Tensor

    def short(self) -> AnsInputs:
        """The same with hops in bfloat16, as an encoder hands them on that stores them so."""
        hops = [rows.detach().bfloat16().requires_grad_() for rows in self.parameters[:2]]
        return replace(self, parameters=(*hops, *self.parameters[2:]))


def ans_inputs(size: AnsSize) -> AnsInputs:
    rng = torch.Generator().manual_seed(0)
    shapes = [(size.users, size.H, size.D), (size.items, size.H, size.D), *[(size.D, size.D), (size.D,)] * 2]
    shapes += [(size.D,), (1,)]
    return AnsInputs(
        tuple((torch.randn(shape, generator=rng) * 0.3).requires_grad_() for shape in shapes),
        torch.randint(size.users, (size.B,), generator=rng),
        torch.randint(size.items, (size.B,), generator=rng),
        torch.randint(size.items, (size.B, size.M), generator=rng),
        torch.tensor([7]),
    )


# --- hardest_negatives -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HardestSize:
    """B pairs, of M candidates one to choose for each hop of H, D wide; items are the table's rows."""

    B: int = 2_048
    M: int = 32
    H: int = 4
    D: int = 64
    items: int = 8_714

    def __str__(self) -> str:
        return _listed(B=self.B, M=self.M, H=self.H, D=self.D, items=self.items)


HARDEST_SIZES = _swept(HardestSize(), M=(8,), H=(1,), D=(256,))
HARDEST_QUICK = [HardestSize(B=5, M=3, H=2, D=7, items=11)]


def hardest_inputs(size: HardestSize, gated: bool) -> tuple[Tensor | None, ...]:
    """user_rows, item_hops, candidates, item_gate, pos_gate."""
    rng = torch.Generator().manual_seed(0)
    user_rows, item_hops, pos_gate, item_gate = (
        torch.randn(n, size.H, size.D, generator=rng) for n in (size.B, size.items, size.B, size.items)
    )
    candidates = torch.randint(size.items, (size.B, 1, size.M), generator=rng)
    return user_rows, item_hops, candidates, *((item_gate, pos_gate) if gated else (None, None))


# --- candidate_scores ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoresSize:
    """B pairs of M candidates each, rows of D values; items are the table's rows, as many as Gowalla has."""

    B: int = 2_048
    M: int = 256
    D: int = 64
    items: int = 40_981

    def __str__(self) -> str:
        return _listed(B=self.B, M=self.M, D=self.D, items=self.items)


SCORES_SIZES = _swept(ScoresSize(), M=(64,), D=(128,), items=(8_714,))
SCORES_QUICK = [ScoresSize(B=5, M=3, D=7, items=11)]


def scores_inputs(size: ScoresSize) -> tuple[Tensor, Tensor, Tensor]:
    """user_rows and item_rows, which want gradients, and candidates."""
    rng = torch.Generator().manual_seed(0)
    user_rows, item_rows = (torch.randn(n, size.D, generator=rng).requires_grad_() for n in (size.B, size.items))
    return user_rows, item_rows, torch.randint(size.items, (size.B, size.M), generator=rng)


# --- gru_states ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GruSize:
    """B sequences of 1 to L ids (8.8 in the mean), vectors of D values, a state of H; items are the table's rows."""

    B: int = 2_048
    L: int = 20
    D: int = 64
    H: int = 100
    items: int = 8_714

    def __str__(self) -> str:
        return _listed(B=self.B, L=self.L, D=self.D, H=self.H, items=self.items)


GRU_SIZES = _swept(GruSize(), B=(256,), H=(64, 256))
GRU_QUICK = [GruSize(B=5, L=4, D=7, H=3, items=11)]


@dataclass(frozen=True)
class GruInputs:
    """`table` and `weights` (weight_ih, weight_hh, bias_ih, bias_hh) want gradients; `grad` is that of the states."""

    table: Tensor
    ids: Tensor
    sizes: Tensor
    weights: tuple[Tensor, ...]
    grad: Tensor


def gru_inputs(size: GruSize) -> GruInputs:
    rng = torch.Generator().manual_seed(0)
    lengths = torch.empty(size.B).geometric_(0.1, generator=rng).clamp_(max=size.L).long()
    sizes = (lengths > torch.arange(int(lengths.max()))[:, None]).sum(1)
    unit = torch.nn.GRU(size.D, size.H)
    weights = tuple((torch.rand(p.shape, generator=rng) - 0.5).mul_(2 / size.H**0.5) for p in unit.parameters())
    return GruInputs(
        torch.randn(size.items, size.D, generator=rng).requires_grad_(),
        torch.randint(size.items, (int(sizes.sum()),), generator=rng),
        sizes,
        tuple(weight.requires_grad_() for weight in weights),
        torch.randn(size.B, size.H, generator=rng),
    )


# --- log_sum_exp -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SoftmaxSize:
    """B queries of D values and as many keys: the users and items of a batch's pairs, of ids below `items`."""

    B: int = 2_048
    D: int = 64
    items: int = 8_714

    def __str__(self) -> str:
        return _listed(B=self.B, D=self.D, items=self.items)


SOFTMAX_SIZES = _swept(SoftmaxSize(), B=(512, 8_192), D=(128, 256))
SOFTMAX_QUICK = [SoftmaxSize(B=5, D=7, items=3)]


def softmax_inputs(size: SoftmaxSize) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """queries and keys of length 1, which want gradients, and the ids of both."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(2, size.B, size.D, generator=rng), dim=2)
    ids = torch.randint(size.items, (size.B,), generator=rng)
    return rows[0].clone().requires_grad_(), rows[1].clone().requires_grad_(), ids, ids


# --- propagate, sample_negatives, ans_noise --------------------------------------------------------------------------


@dataclass(frozen=True)
class PropagateSize:
    graph: GraphSize = ML_1M
    D: int = 64
    layers: int = 1

    def __str__(self) -> str:
        return f"{self.graph} {_listed(D=self.D, layers=self.layers)}"


PROPAGATE_SIZES = _swept(PropagateSize(), graph=(ML_100K, LARGE), D=(16, 128, 256), layers=(3,))
PROPAGATE_QUICK = [PropagateSize(TINY, D=7, layers=2)]


@dataclass(frozen=True)
class SampleSize:
    graph: GraphSize = ML_1M
    B: int = 100_000
    M: int = 16

    def __str__(self) -> str:
        return f"{self.graph} {_listed(B=self.B, M=self.M)}"


SAMPLE_SIZES = _swept(SampleSize(), graph=(ML_100K, LARGE), B=(2_048,), M=(64,))
SAMPLE_QUICK = [SampleSize(TINY, B=5, M=3)]


@dataclass(frozen=True)
class NoiseSize:
    rows: int = 131_072
    D: int = 64

    def __str__(self) -> str:
        return _listed(rows=self.rows, D=self.D)


NOISE_SIZES = [NoiseSize()]
NOISE_QUICK = [NoiseSize(rows=5, D=7)]


# --- An epoch --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EpochSize:
    """An ANS epoch over 80% of MovieLens 100k, or over as many made pairs where it is not at hand."""

    graph: GraphSize = ML_100K
    B: int = 2_048
    M: int = 16
    layers: int = 3
    D: int = 64

    def __str__(self) -> str:
        return f"{self.graph} {_listed(B=self.B, M=self.M, layers=self.layers, D=self.D)}"


EPOCH_SIZES = [EpochSize()]
EPOCH_QUICK = [EpochSize(TINY, B=150, M=3, layers=1, D=7)]


def epoch_pairs(size: EpochSize) -> tuple[str, tuple[np.ndarray, np.ndarray]]:
    """Where the pairs come from, and users and items, each [size.graph.edges]."""
    file = Path(os.environ.get("ANS_FAST_DATA") or ROOT.parent / "shared/data") / "ml-100k/ml-100k.inter"
    if size.graph != ML_100K or not file.exists():
        return "synthetic", pairs(size.graph)
    rows = np.loadtxt(file, np.int64, delimiter="\t", skiprows=1, usecols=(0, 1)) - 1
    users, items = np.random.default_rng(0).permutation(rows)[: size.graph.edges].T
    return "ml-100k", (users, items)
