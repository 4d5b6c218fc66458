"""Your own clicks, from a CSV file to an index: python examples/01_own_data.py own.csv (columns user, item, time)."""

import sys

import numpy as np
import torch

import ans_fast

clicks = ans_fast.Interactions.from_csv(sys.argv[1], user="user", item="item", time="time").k_core(5)
train, dev, test = clicks.split("time")
torch.manual_seed(0)
model = ans_fast.models.ANS(train, emb_size=32)
model.fit(epochs=20, lr=0.005, validation=dev)
print(clicks, model.evaluate(test, ["Recall@20", "NDCG@20"]))

users = clicks.user_ids[[0, 1, 2]]
items, _ = model.recommend(users, k=5)
print(*(f"{user} -> {' '.join(map(str, row))}" for user, row in zip(users, items, strict=True)), sep="\n")
print(items[0, 0], "is like", *model.similar_items(items[0, 0], k=5)[0][0])
model.save("own.pt")  # ans_fast.models.load reads it again, ids and all
model.export("own.npz")  # own.faiss, own.hnswlib, own.parquet, own.pt2: the same for other servers
index = np.load("own.npz")
best = index["item_ids"][(index["user_vectors"] @ index["item_vectors"].T).argmax(1)]
print("the index agrees:", (best == model.recommend(index["user_ids"], 1, exclude_seen=False)[0][:, 0]).mean())
