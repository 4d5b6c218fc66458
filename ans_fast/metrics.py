"""Ranking and click metrics of whole tensors, by ReChorus's definitions, in float64.

Each is given by rows or lists, whose mean it is; those of all rows together, such as AUC, as a tensor of shape [].
A score that is NaN never earns anything: as the positive's it is no hit, as another item's it counts against the
positive. k may exceed the number of candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ans_fast.flag_types import OptionType, positive_int

RANKING = ("HR", "NDCG", "RECALL", "PRECISION", "F1", "MRR", "MAP")
CLICK = ("AUC", "ACC", "F1_SCORE", "LOG_LOSS", "MSE", "RMSE")
SMALLER_IS_BETTER = ("LOG_LOSS", "MSE", "RMSE")
NEVER = 2**53  # the rank of what no cut-off reaches; exact in float64
TIE_PENALTY = 1e-6  # taken off the positives of an impression list
LOG_LOSS_CLIP = 1e-7


def larger_is_better(metric: str) -> bool:
    """Whether a larger value of a metric such as "HR@5" or "LOG_LOSS" is the better one."""
    return metric.split("@")[0] not in SMALLER_IS_BETTER


@dataclass(frozen=True)
class Metric(OptionType):
    """One of `choices`, with a cut-off if it is a ranking metric: NDCG@5, AUC."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        return f"one of {', '.join(f'{name}@5' if name in RANKING else name for name in self.choices)}"

    def read(self, text: str) -> str:
        name, at, k = text.partition("@")
        return f"{name.upper()}@{positive_int.read(k)}" if at else name.upper()

    def accepts(self, value: Any) -> bool:
        name, at, k = value.partition("@")
        return name in self.choices and (positive_int.accepts(int(k)) if at else name not in RANKING)


def positive_ranks(scores: Tensor, positive: Tensor) -> Tensor:
    """Ranks from 1 of positive [R, 1], one of the candidates scores [R, C]: int64 [R].

    Ties count against it; NaN gets NEVER.
    """
    return (~(scores < positive)).sum(1).masked_fill(positive[:, 0].isnan(), NEVER)


def means(values: Mapping[str, Tensor]) -> dict[str, float]:
    """The metrics by name."""
    return {name: of_rows.mean().item() for name, of_rows in values.items()}


def top_k_metrics(ranks: Tensor, metrics: Iterable[str], ks: Iterable[int]) -> dict[str, Tensor]:
    """ranks int64 [R] of the only positive of each row -> [R] by "METRIC@k"."""
    ranks = ranks.double()
    gains = {
        "HR": torch.ones_like(ranks),
        "RECALL": torch.ones_like(ranks),
        "NDCG": 1 / torch.log2(ranks + 1),
        "MRR": 1 / ranks,
        "MAP": 1 / ranks,
    }
    results = {}
    for k in ks:
        hit = ranks <= k
        for name in metrics:
            if name in ("PRECISION", "F1"):
                gain = torch.full_like(ranks, 1 / k if name == "PRECISION" else 2 / (k + 1))
            else:
                gain = gains[name]
            results[f"{name}@{k}"] = torch.where(hit, gain, 0.0)
    return results


def impression_metrics(
    scores: Tensor, n_pos: Tensor, n_neg: Tensor, metrics: Iterable[str], ks: Iterable[int]
) -> dict[str, Tensor]:
    """[L] by "METRIC@k".

    Args:
        scores: float [L, W]; row l holds n_pos[l] clicked items, then n_neg[l] others, then padding.
        n_pos, n_neg: int64 [L].
    """
    return list_metrics(_hits_in_order(scores, n_pos, n_neg), n_pos, metrics, ks)


def list_metrics(hits: Tensor, n_pos: Tensor, metrics: Iterable[str], ks: Iterable[int]) -> dict[str, Tensor]:
    """[L] by "METRIC@k".

    Args:
        hits: bool [L, W], whether a positive is at each place of the ranked lists, which are whole or at least as long
            as the largest k.
        n_pos: int64 [L], positives of each list, found or not; at least 1.
    """
    hits = hits.double()
    place = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
    discount = 1 / torch.log2(place + 1)
    precision = hits.cumsum(1) / place
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    first = torch.where(hits.any(1), hits.argmax(1) + 1, NEVER).double()
    results = {}
    for k in ks:
        top, capped = hits[:, :k], n_pos.clamp(max=min(k, hits.shape[1]))
        found = top.sum(1)
        values = {
            "HR": (found > 0).double(),
            "NDCG": (top * discount[:k]).sum(1) / ideal[capped],
            "RECALL": found / n_pos,
            "PRECISION": found / k,
            "F1": 2 * found / (n_pos + k),
            "MRR": torch.where(first <= k, 1 / first, 0.0),
            "MAP": (top * precision[:, :k]).sum(1) / n_pos.clamp(max=k),
        }
        results |= {f"{name}@{k}": values[name] for name in metrics}
    return results


def hits_among_all(scores: Tensor, at: tuple[Tensor, Tensor], k: int) -> Tensor:
    """bool [L, K], K = min(k, n): whether a positive is at each of the first K places of lists ranked by scores [L, n].

    At one score positives stand behind all else. NaN never ranks on top: a positive that has it is not found, and
    another item that has it stands before all positives.

    Args:
        scores: -inf for what is no candidate; written into. at: row and column of each positive, int64 [P], rows
            ascending.
    """
    lists, positives = at[0], scores[at]
    positives = positives.masked_fill(positives.isnan(), -torch.inf)
    set_never(scores, at)
    others = scores.topk(min(k, scores.shape[1]), dim=1).values  # NaN first
    best_first = positives.argsort(descending=True, stable=True)
    positives = positives[best_first[lists[best_first].argsort(stable=True)]]  # best first in each list
    n_lists, n_places = others.shape
    begins = torch.searchsorted(lists, torch.arange(n_lists, device=lists.device))
    better = torch.arange(len(lists), device=lists.device) - begins[lists]
    place = better + (~(others[lists] < positives[:, None])).sum(1)  # from 0
    place = place.masked_fill(positives == -torch.inf, n_places).clamp(max=n_places)
    hits = torch.zeros(n_lists, n_places + 1, dtype=torch.bool, device=lists.device)
    return hits.index_put_((lists, place), hits.new_ones(()))[:, :n_places]


def set_never(scores: Tensor, at: tuple[Tensor, Tensor]) -> None:
    """Sets scores [B, n] at rows and columns int64 [C] to -inf, by a number that lies where they do."""
    scores.index_put_(at, scores.new_full((), -torch.inf))


def _hits_in_order(scores: Tensor, n_pos: Tensor, n_neg: Tensor) -> Tensor:
    """Whether the item at each place of the ranked lists was clicked: bool [L, W]."""
    column = torch.arange(scores.shape[1], device=scores.device)
    positive, shown = column < n_pos[:, None], column < (n_pos + n_neg)[:, None]
    broken = scores.isnan()
    scores = scores.double() - TIE_PENALTY * positive.double()
    scores = scores.masked_fill(broken, torch.inf).masked_fill(broken & positive | ~shown, -torch.inf)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    return (positive & ~broken).gather(1, order)


def click_metrics(predictions: Tensor, labels: Tensor, metrics: Iterable[str]) -> dict[str, Tensor]:
    """predictions [R] in [0, 1], labels [R] of 0 and 1 -> metrics of all rows together, by name.

    All are NaN if any prediction is. AUC is NaN where only one label occurs; ties count half.
    """
    p, y = predictions.double(), labels.double()
    if p.isnan().any():
        return dict.fromkeys(metrics, p.new_full((), torch.nan))
    clicked = p > 0.5
    clipped = p.clamp(LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    mse = (p - y).square().mean()
    values = {
        "AUC": lambda: _auc(p, y),
        "ACC": lambda: (clicked == (y > 0.5)).double().mean(),
        "F1_SCORE": lambda: _f1(clicked, y > 0.5),
        "LOG_LOSS": lambda: -(y * clipped.log() + (1 - y) * (1 - clipped).log()).mean(),
        "MSE": lambda: mse,
        "RMSE": lambda: mse.sqrt(),
    }
    return {name: values[name]() for name in metrics}


def _auc(p: Tensor, y: Tensor) -> Tensor:
    """The chance that a clicked row is scored above another one, from mean ranks."""
    _, inverse, counts = p.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    mean_rank = (last - (counts - 1) / 2)[inverse]
    n_pos, n_neg = y.sum(), (1 - y).sum()
    return ((mean_rank * y).sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg)


def _f1(predicted: Tensor, actual: Tensor) -> Tensor:
    both = (predicted & actual).sum().double()
    either = predicted.sum() + actual.sum()
    return torch.where(either > 0, 2 * both / either.clamp(min=1), 0.0)


def format_metrics(results: dict[str, float]) -> str:
    """ "HR@5:0.2929,NDCG@5:0.1988,HR@10:…": k ascending, names alphabetical, four digits."""

    def key(name: str) -> tuple[int, str]:
        base, _, k = name.partition("@")
        return int(k or 0), base

    return ",".join(f"{name}:{results[name]:.4f}" for name in sorted(results, key=key))
