"""The ANS terms transcribed formula by formula, one number at a time, from nothing but the formulas."""

from __future__ import annotations

import math
from types import SimpleNamespace

from torch import Tensor


def sigmoid(x: float) -> float:
    if x < 0:
        return math.exp(x) / (1 + math.exp(x)) if x > -700 else 0.0
    return 1 / (1 + math.exp(-x)) if x < 700 else 1.0


def norm(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values))


def terms(inputs: dict, noise: list) -> tuple:
    """The arguments of ans_terms, and noise[b][m][h], which is r, to the fields of its result."""
    a = SimpleNamespace(**{name: v.tolist() if isinstance(v, Tensor) else v for name, v in inputs.items()})
    pairs, hops, dim = len(a.users), len(a.user_hops[0]), range(len(a.margin_weight))
    bpr = sns = distance = orthogonality = 0.0
    selected, differences = [], []
    for b in range(pairs):
        count = len(a.neg_items[b]) if a.neg_count is None else a.neg_count[b]
        difference, winners = 0.0, []
        for h in range(hops):
            u, p = a.user_hops[a.users[b]][h], a.item_hops[a.pos_items[b]][h]
            best, total = None, 0.0
            for m in range(count):
                item = a.neg_items[b][m]
                n = a.item_hops[item][h]
                g = [sigmoid(a.item_gate[item][h][d] * a.user_gate[b][h][d]) for d in dim]
                hard, easy = [n[d] * g[d] for d in dim], [n[d] * (1 - g[d]) for d in dim]
                hard_p, easy_p = [p[d] * g[d] for d in dim], [p[d] * (1 - g[d]) for d in dim]
                distance += norm([hard[d] - hard_p[d] + 1e-6 for d in dim]) / (pairs * count * hops)
                orthogonality += norm([easy_p[d] * easy[d] for d in dim]) / (pairs * count)
                logit = sum(a.margin_weight[d] * hard[d] * hard_p[d] for d in dim) + a.margin_bias[0]
                margin = sigmoid(1 / logit) if logit != 0 else 1.0
                r = noise[b][m][h]
                length = norm(r)
                sign = [(n[d] < p[d]) - (n[d] > p[d]) if g[d] < 1 else 0 for d in dim]
                delta = [sign[d] * (r[d] / length if length else 0.0) * margin * a.noise_scale for d in dim]
                augmented = sum(u[d] * (n[d] + delta[d]) for d in dim)
                plain = sum(u[d] * n[d] for d in dim)
                score = augmented + a.eps * (augmented - plain)
                if best is None or score > best[0]:
                    best = (score, m, augmented)
                total += math.exp(sum(u[d] * easy[d] for d in dim) - sum(u[d] * hard[d] for d in dim))
            sns += math.log(1 + total) / (pairs * hops)
            difference += sum(u[d] * p[d] for d in dim) - best[2]
            winners.append(best[1])
        bpr += -math.log(1e-10 + sigmoid(difference)) / pairs
        selected.append(winners)
        differences.append(difference)
    return bpr, sns, distance, orthogonality, selected, differences
