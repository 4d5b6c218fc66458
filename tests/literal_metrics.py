"""The metrics once more, one row and one item at a time, as rechorus's definitions read. Shares no code with ours."""

import math


def rank_of(scores):
    """Of scores[0] among all: 1 + how many others are not below it; None if it is NaN."""
    mine = scores[0]
    if math.isnan(mine):
        return None
    rank = 1
    for other in scores[1:]:
        if not other < mine:
            rank += 1
    return rank


def top_k(rows, k):
    sums = dict.fromkeys(("HR", "NDCG", "RECALL", "PRECISION", "F1", "MRR", "MAP"), 0.0)
    for scores in rows:
        rank = rank_of(scores)
        if rank is None or rank > k:
            continue
        precision, recall = 1 / k, 1.0
        sums["HR"] += 1
        sums["RECALL"] += recall
        sums["PRECISION"] += precision
        sums["F1"] += 2 * precision * recall / (precision + recall)
        sums["NDCG"] += 1 / math.log2(rank + 1)
        sums["MRR"] += 1 / rank
        sums["MAP"] += 1 / rank
    return {name: total / len(rows) for name, total in sums.items()}


def ranked_list(pos, neg):
    """Which places are hits: NaN positives come last and are none, NaN negatives first; stable, positives penalised."""
    entries = []
    for score in pos:
        broken = math.isnan(score)
        entries.append((-math.inf if broken else score - 1e-6, not broken))
    for score in neg:
        entries.append((math.inf if math.isnan(score) else score, False))
    ordered = []
    for score, hit in entries:  # insertion sort, behind everything that is not smaller
        at = len(ordered)
        while at > 0 and ordered[at - 1][0] < score:
            at -= 1
        ordered.insert(at, (score, hit))
    return [hit for _, hit in ordered]


def impression(lists, k):
    sums = dict.fromkeys(("HR", "NDCG", "RECALL", "PRECISION", "F1", "MRR", "MAP"), 0.0)
    for pos, neg in lists:
        hits = ranked_list(pos, neg)[:k]
        n_hits = sum(hits)
        dcg = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit)
        ideal = sum(1 / math.log2(place + 2) for place in range(min(len(pos), k)))
        precisions = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
        precision, recall = n_hits / k, n_hits / len(pos)
        sums["HR"] += 1 if n_hits else 0
        sums["NDCG"] += dcg / ideal
        sums["MAP"] += sum(precisions) / min(len(pos), k)
        sums["RECALL"] += recall
        sums["PRECISION"] += precision
        sums["F1"] += 2 * precision * recall / (precision + recall) if n_hits else 0
        sums["MRR"] += 1 / (hits.index(True) + 1) if n_hits else 0
    return {name: total / len(lists) for name, total in sums.items()}


def by_user(users, k):
    """users: (scores of all items, items that are no candidates, items to find), as LightGCN's code measures them."""
    sums = dict.fromkeys(("HR", "NDCG", "RECALL", "PRECISION", "F1", "MRR", "MAP"), 0.0)
    for scores, excluded, wanted in users:
        candidates = [item for item in range(len(scores)) if item not in excluded]
        broken = {item for item in wanted if item in candidates and not scores[item] > -math.inf}

        def key(item, scores=scores, wanted=wanted, broken=broken):  # what is not wanted comes first among equals
            value = math.inf if math.isnan(scores[item]) else scores[item]
            return (item in broken, -value, item in wanted)

        hits = [item in wanted and item not in broken for item in sorted(candidates, key=key)[:k]]
        n_hits, n_wanted = sum(hits), len(wanted)
        precisions = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
        sums["HR"] += 1 if n_hits else 0
        sums["RECALL"] += n_hits / n_wanted
        sums["PRECISION"] += n_hits / k
        sums["F1"] += 2 * n_hits / (n_wanted + k)
        sums["NDCG"] += sum(1 / math.log2(place + 2) for place, hit in enumerate(hits) if hit) / sum(
            1 / math.log2(place + 2) for place in range(min(n_wanted, k))
        )
        sums["MRR"] += 1 / (hits.index(True) + 1) if n_hits else 0
        sums["MAP"] += sum(precisions) / min(n_wanted, k)
    return {name: total / len(users) for name, total in sums.items()}


def click(predictions, labels):
    if any(math.isnan(p) for p in predictions):
        return dict.fromkeys(("AUC", "ACC", "F1_SCORE", "LOG_LOSS", "MSE", "RMSE"), math.nan)
    pairs = list(zip(predictions, labels, strict=True))
    pos, neg = [p for p, y in pairs if y == 1], [p for p, y in pairs if y == 0]
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in pos for b in neg)
    tp = sum(p > 0.5 and y == 1 for p, y in pairs)
    fp = sum(p > 0.5 and y == 0 for p, y in pairs)
    fn = sum(p <= 0.5 and y == 1 for p, y in pairs)
    log_loss = 0.0
    for p, y in pairs:
        p = min(max(p, 1e-7), 1 - 1e-7)
        log_loss -= math.log(p) if y == 1 else math.log(1 - p)
    mse = sum((p - y) ** 2 for p, y in pairs) / len(pairs)
    return {
        "AUC": wins / (len(pos) * len(neg)) if pos and neg else math.nan,
        "ACC": sum((p > 0.5) == (y == 1) for p, y in pairs) / len(pairs),
        "F1_SCORE": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        "LOG_LOSS": log_loss / len(pairs),
        "MSE": mse,
        "RMSE": math.sqrt(mse),
    }
