"""Your own clicks, from a CSV file to recommendations: python examples/01_own_data.py own.csv (user,item,time)."""

import sys

import torch

import ans_fast

clicks = ans_fast.Interactions.from_csv(sys.argv[1], user="user", item="item", time="time").k_core(5)
train, dev, test = clicks.split("time")
print(clicks)

torch.manual_seed(0)
model = ans_fast.models.ANS(train, emb_size=32)
model.fit(epochs=20, lr=0.005, validation=dev)
print(model.evaluate(test, ["Recall@20", "NDCG@20"]))

users = clicks.user_ids[[0, 1, 2]]
items, _ = model.recommend(users, k=5)
for user, row in zip(users, items, strict=True):
    print(user, "->", *row)
alike, _ = model.similar_items(items[0, 0], k=5)
print(items[0, 0], "is like", *alike[0])
model.save("own.pt")  # ans_fast.models.load reads it again, ids and all
