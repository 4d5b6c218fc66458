"""Every operator in plain PyTorch: the readable truth that the kernels are tested against.

Follows "Augmented Negative Sampling for Collaborative Filtering" (Zhao et al., RecSys 2023, arXiv 2308.05972) and, for
propagation, "LightGCN" (He et al., SIGIR 2020). Works in float32 and float64 on any device, of rows of 16 bits in
float32. Letters in shapes: B pairs, M negatives a pair, H hops (layers + 1), D embedding size, N nodes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ans_fast.errors import NoNegatives
from ans_fast.nn.gather import widened
from ans_fast.sparse import by_pairs

if TYPE_CHECKING:
    from ans_fast.graph import BipartiteGraph

MARGIN_LOGIT_LIMIT = 80.0  # sigmoid(80) is 1 to the last bit, and its slope vanishes even times 80²
LEAST_CHANCE = 1e-8  # of a click, in BPR: whatever is less likely costs no more
NOISE_STREAM, SAMPLING_STREAM = 0, 1


class AnsTerms(NamedTuple):
    """The result of `ans_terms`: four scalars, the hardest negative of each (pair, hop), and by how much a pair's own
    score is above that of its hardest negatives."""

    bpr: Tensor
    sns: Tensor
    distance: Tensor
    orthogonality: Tensor
    selected: Tensor  # int64 [B, H]
    differences: Tensor  # [B]


# --- Propagation -----------------------------------------------------------------------------------------------------


def propagate(x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None = None) -> Tensor:
    """x [N, D] -> [N, n_layers + 1, D]: the rows themselves, then each D^-1/2 A D^-1/2 of the hop before.

    With `nodes` [R] of these the rows [R, n_layers + 1, D].
    """
    n = graph.n_nodes
    rows = torch.repeat_interleave(torch.arange(n, device=x.device), graph.indptr.diff())
    hops = [widened(x)]
    columns, scale = graph.indices.long(), graph.scale.to(hops[0].dtype)
    adjacency = by_pairs(rows, columns, scale[rows] * scale[columns], n)
    for _ in range(n_layers):
        hops.append(torch.sparse.mm(adjacency, hops[-1]))
    out = torch.stack(hops, dim=1).to(x.dtype)
    return out if nodes is None else out.index_select(0, nodes)


def propagate_mean(
    x: Tensor, graph: BipartiteGraph, n_layers: int, nodes: Tensor | None = None, short_hops: bool = False
) -> Tensor:
    """The mean of `propagate` over the hops: [N, D] or [R, D]. Kernels may store hops shorter; here they are x's."""
    return propagate(widened(x), graph, n_layers, nodes).mean(1).to(x.dtype)


# --- Random numbers --------------------------------------------------------------------------------------------------


def philox(seed: Tensor, rows: Tensor, n_words: int, stream: int) -> Tensor:
    """The first `n_words` 32-bit words of each row (int64 [R]) as int64 [R, n_words]: Philox4x32-10 (SC 2011)."""
    mask = 0xFFFFFFFF
    blocks = torch.arange((n_words + 3) // 4, device=rows.device)
    rows, blocks = torch.broadcast_tensors(rows[:, None], blocks)
    c0, c1, c2, c3 = rows & mask, rows >> 32 & mask, blocks, torch.full_like(blocks, stream)
    k0, k1 = seed & mask, seed >> 32 & mask
    for _ in range(10):
        high0, low0 = _multiply(c0, 0xD2511F53)
        high1, low1 = _multiply(c2, 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + 0x9E3779B9 & mask, k1 + 0xBB67AE85 & mask
    return torch.stack([c0, c1, c2, c3], dim=-1).flatten(1)[:, :n_words]


def _multiply(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32-bit product, without leaving signed 64-bit integers."""
    low_part, high_part = a * (b & 0xFFFF), a * (b >> 16)
    high = (low_part >> 16) + high_part >> 16
    low = low_part + (high_part << 16) & 0xFFFFFFFF
    return high, low


def ans_noise(seed: Tensor, n_rows: int, dim: int, first_row: int = 0) -> Tensor:
    """Uniform draws on [0, 1) with 24 bits: float32 [n_rows, dim], the rows from first_row on."""
    rows = torch.arange(first_row, first_row + n_rows, device=seed.device)
    words = philox(seed, rows, dim, NOISE_STREAM)
    return (words >> 8).float() * 2.0**-24


def sample_negatives(
    graph: BipartiteGraph, users: Tensor, n_negatives: int, seed: Tensor, first_item: int = 0
) -> Tensor:
    """int64 [B, n_negatives]: uniform over the items from `first_item` on that each user has not clicked.

    Of a user's sorted positives p_0 < p_1 < …, the items below p_j that may be drawn number p_j − j (counted from
    first_item). So the r-th one is r + (how many positives have p_j − j ≤ r), one search over all users at once.
    """
    end = graph.indptr[graph.n_users]
    items = graph.indices[:end].long() - graph.n_users - first_item
    owner = torch.repeat_interleave(
        torch.arange(graph.n_users, device=users.device), graph.indptr[: graph.n_users + 1].diff()
    )
    items, owner = items[items >= 0], owner[items >= 0]
    n_clicked = torch.bincount(owner, minlength=graph.n_users)
    start = n_clicked.cumsum(0) - n_clicked
    n_below = items - (torch.arange(len(items), device=users.device) - start[owner])

    n_allowed = graph.n_items - first_item - n_clicked[users]
    if (n_allowed <= 0).any():
        raise NoNegatives(int(users[n_allowed <= 0][0]), first_item)
    words = philox(seed, torch.arange(len(users), device=users.device), n_negatives, SAMPLING_STREAM)
    rank = words * n_allowed[:, None] >> 32
    position = torch.searchsorted(owner * graph.n_items + n_below, users[:, None] * graph.n_items + rank, right=True)
    return first_item + rank + position - start[users][:, None]


# --- Hard negatives --------------------------------------------------------------------------------------------------


def hardest_of(scores: Tensor, dim: int) -> Tensor:
    """Where along `dim` the highest score is: the first of equal ones, NaN never (the first if all are)."""
    return scores.masked_fill(scores.isnan(), -torch.inf).argmax(dim)


def distinct_ids(ids: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids int64 [R] -> those that occur [min(R, n)], ascending and then the first again; where each of n ids is among
    them, or -1; how many they are [1]."""
    found = ids.unique()
    place = ids.new_full((n,), -1)
    place[found] = torch.arange(len(found), device=ids.device)
    repeats = found[:1].expand(min(len(ids), n) - len(found))
    return torch.cat([found, repeats]), place, ids.new_full((1,), len(found))


def hardest_negatives(
    user_rows: Tensor,
    item_hops: Tensor,
    candidates: Tensor,
    item_gate: Tensor | None = None,
    pos_gate: Tensor | None = None,
    rest: float | Tensor = 1.0,
) -> Tensor:
    """int64 [B, K, H], the hardest of candidates [B, K, M]; shapes as in `ans_fast.ops.hardest_negatives`."""
    u, n = widened(user_rows)[:, None, None], widened(item_hops)[candidates]  # [B, 1, 1, H, D], [B, K, M, H, D]
    if item_gate is not None:
        n = rest * n - n * torch.sigmoid(widened(item_gate)[candidates] + widened(pos_gate)[:, None, None])
    return candidates.gather(2, hardest_of((u * n).sum(-1), dim=2))


# --- Recurrence ------------------------------------------------------------------------------------------------------


def gru_states(
    table: Tensor,
    ids: Tensor,
    sizes: list[int],
    n_sequences: int,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
) -> Tensor:
    """[B, H], the last states of a gated recurrent unit; arguments as in `ans_fast.ops.gru_states`."""
    size = weight_hh.shape[1]
    state = table.new_zeros(n_sequences, size)
    for at in ids.split(sizes):
        before, rest = state.split([len(at), n_sequences - len(at)])
        of_vector, of_state = F.linear(table[at], weight_ih, bias_ih), F.linear(before, weight_hh, bias_hh)
        r, z = torch.sigmoid(of_vector + of_state)[:, : 2 * size].split(size, 1)
        n = torch.tanh(of_vector[:, 2 * size :] + r * of_state[:, 2 * size :])
        state = torch.cat([n + z * (before - n), rest])
    return state


# --- Scores of negatives, and losses over them -----------------------------------------------------------------------


def top_k_bpr(scores: Tensor) -> Tensor:
    """The mean loss of scores; shapes as in `ans_fast.ops.top_k_bpr`."""
    clicked, negatives = scores.split([1, scores.shape[1] - 1], 1)
    if negatives.shape[1] == 1:  # the same of one negative, in fewer steps
        return F.softplus(negatives - clicked).clamp(max=-math.log(LEAST_CHANCE)).mean()
    chance = ((clicked - negatives).sigmoid() * negatives.softmax(1)).sum(1)
    return -chance.clamp(LEAST_CHANCE, 1 - LEAST_CHANCE).log().mean()


def candidate_scores(user_rows: Tensor, item_rows: Tensor, candidates: Tensor) -> Tensor:
    """Products of each user's row with those of its candidates; shapes as in `ans_fast.ops.candidate_scores`."""
    return (widened(user_rows)[:, None] * widened(item_rows)[candidates]).sum(2)


def log_sum_exp(
    queries: Tensor,
    keys: Tensor,
    query_ids: Tensor | None = None,
    key_ids: Tensor | None = None,
    key_bias: Tensor | None = None,
    scale: float = 1.0,
) -> Tensor:
    """log Σ exp of each query's scores with the keys of other ids; shapes as in `ans_fast.ops.log_sum_exp`."""
    scores = scale * (widened(queries) @ widened(keys).T)
    if key_bias is not None:
        scores = scores + key_bias
    if query_ids is not None:
        scores = scores.masked_fill(query_ids[:, None] == key_ids, -torch.inf)
    return scores.masked_fill(scores == -torch.inf, -torch.inf).logsumexp(1)  # which have no gradient, not even NaN


# --- Augmented negative sampling -------------------------------------------------------------------------------------


def ans_terms(
    user_hops: Tensor,
    item_hops: Tensor,
    user_gate: Tensor,
    item_gate: Tensor,
    margin_weight: Tensor,
    margin_bias: Tensor,
    users: Tensor,
    pos_items: Tensor,
    neg_items: Tensor,
    neg_count: Tensor | None = None,
    eps: float = 0.1,
    noise_scale: float = 0.1,
    seed: Tensor | None = None,
    first_pair: int = 0,
) -> AnsTerms:
    """The four terms of the ANS loss; shapes as in `ans_fast.ops.ans_terms`."""
    user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias = map(
        widened, (user_hops, item_hops, user_gate, item_gate, margin_weight, margin_bias)
    )
    (n_pairs, n_negatives), (n_hops, dim) = neg_items.shape, user_hops.shape[1:]
    counts = torch.full_like(users, n_negatives) if neg_count is None else neg_count
    present = torch.arange(n_negatives, device=users.device) < counts[:, None]  # [B, M]
    neg_items = neg_items.masked_fill(~present, 0)
    u = user_hops[users][:, None]  # [B, 1, H, D]
    p = item_hops[pos_items][:, None]
    n = item_hops[neg_items]  # [B, M, H, D]

    # Disentangle: the gate's share of a factor makes a negative hard, the easy share is what remains.
    gate = torch.sigmoid(item_gate[neg_items] * user_gate[:, None])
    easy_share = 1 - gate
    hard, easy = n * gate, n * easy_share
    hard_positive, easy_positive = p * gate, p * easy_share

    # Augment: noise on the easy factors, towards the positive, within a learned margin.
    rows = n_negatives * n_hops  # of a pair
    r = ans_noise(seed, n_pairs * rows, dim, first_pair * rows).to(n.dtype).view_as(n)
    length = torch.linalg.vector_norm(r, dim=-1, keepdim=True)
    towards = torch.sign((p - n) * easy_share).detach()  # of easy_positive - easy, in a form that cannot round to ±1
    direction = towards * r / length.where(length > 0, 1.0)
    margin = _margin((margin_weight * (hard * hard_positive)).sum(-1, keepdim=True) + margin_bias)
    noise = direction * margin * noise_scale

    # Select: per pair and hop, the augmented negative with the largest score plus eps times its gain.
    score = ((u * n).sum(-1) + (1 + eps) * (u * noise).sum(-1)).detach()
    selected = hardest_of(score.masked_fill(~present[:, :, None], -torch.inf), dim=1)  # [B, H]
    index = selected[:, None, :, None].expand(-1, 1, -1, dim)
    augmented = (n + noise).gather(1, index)  # [B, 1, H, D]

    # The terms. Every pair weighs the same, however many negatives it has.
    pairs = max(n_pairs, 1)
    each = present.to(u.dtype) / (counts[:, None] * pairs)  # [B, M]: mean over a pair's own negatives, then over pairs
    differences = (u * p).sum((1, 2, 3)) - (u * augmented).sum((1, 2, 3))
    bpr = -torch.log(1e-10 + torch.sigmoid(differences)).sum() / pairs
    contrast = ((u * easy).sum(-1) - (u * hard).sum(-1)).masked_fill(~present[:, :, None], -torch.inf)
    sns = torch.logsumexp(torch.cat([torch.zeros_like(contrast[:, :1]), contrast], 1), 1).sum() / (pairs * n_hops)
    distance = torch.linalg.vector_norm(hard - hard_positive + 1e-6, dim=-1)  # [B, M, H]
    orthogonality = torch.linalg.vector_norm(easy_positive * easy, dim=-1)
    means = (each * distance.mean(-1)).sum(), (each * orthogonality.sum(-1)).sum()
    return AnsTerms(bpr, sns, *means, selected, differences)


def _margin(x: Tensor) -> Tensor:
    """sigmoid(1 / x), with its limits and a zero gradient where 1 / x is too large to matter."""
    saturated = x.abs() < 1 / MARGIN_LOGIT_LIMIT
    limit = torch.where(x < 0, -MARGIN_LOGIT_LIMIT, MARGIN_LOGIT_LIMIT).to(x.dtype)
    return torch.sigmoid(torch.where(saturated, limit, 1 / torch.where(saturated, 1.0, x)))
