"""Models side by side on ReChorus's files: python examples/02_compare_models.py ../data Grocery_and_Gourmet_Food."""

import sys

import torch

import ans_fast
from ans_fast.data import Events, load

dataset = load(sys.argv[1], sys.argv[2])


def graph_of(events: Events) -> ans_fast.BipartiteGraph:
    return ans_fast.BipartiteGraph(events.users, events.items, dataset.n_users, dataset.n_items)


train, dev, test = graph_of(dataset.clicks), graph_of(dataset.dev), graph_of(dataset.test)
print(f"{'model':<10}{'Recall@20':>10}{'NDCG@20':>10}{'epochs':>8}")
for name in ("POP", "BPRMF", "LightGCN", "ANS"):
    torch.manual_seed(0)
    model = ans_fast.models.by_name(name)(train, first_item=1)  # item 0 is padding in these files
    losses = model.fit(epochs=100, batch_size=2048, lr=0.005, validation=dev)
    found = model.evaluate(test, ["Recall@20", "NDCG@20"])
    print(f"{name:<10}{found['Recall@20']:>10.4f}{found['NDCG@20']:>10.4f}{len(losses):>8}")
