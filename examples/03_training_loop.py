"""The operators in a training loop of your own: python examples/03_training_loop.py own.csv (user,item)."""

import sys

import torch
from torch import nn

import ans_fast
from ans_fast import ops

train, _, test = ans_fast.Interactions.from_csv(sys.argv[1]).split("ratio")
graph, later = train.graph, test.graph
users, items = graph.clicks()
torch.manual_seed(0)
table = nn.Parameter(0.1 * torch.randn(graph.n_nodes, 32))
user_gate, item_gate, margin = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 1)
optimizer = torch.optim.Adam([table, *user_gate.parameters(), *item_gate.parameters(), *margin.parameters()], lr=0.01)
for epoch in range(1, 21):
    for batch in torch.randperm(len(users)).split(256):
        u, i = users[batch], items[batch]
        negatives = ops.sample_negatives(graph, u, n_negatives=8)
        user_hops, item_hops = ops.propagate(table, graph, n_layers=2).split([graph.n_users, graph.n_items])
        gates = user_gate(user_hops[u]), item_gate(item_hops)
        terms = ops.ans_terms(user_hops, item_hops, *gates, margin.weight[0], margin.bias, u, i, negatives)
        loss = terms.bpr + 0.01 * (terms.sns + terms.distance + terms.orthogonality)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 5 == 0:
        print(f"epoch {epoch}: bpr {terms.bpr.item():.4f}")

scores = (user_hops.flatten(1) @ item_hops.flatten(1).T).detach()  # the sum of products hop by hop
scores[users, items] = -torch.inf
users, items = later.clicks()
best = scores.topk(20).indices[users]
print(f"of {len(users)} later clicks {(best == items[:, None]).any(1).double().mean():.1%} are among a user's best 20")
