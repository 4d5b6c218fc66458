"""Vectors for a server that knows no ans_fast, and new users: python examples/05_serving.py own.csv (user,item)."""

import sys

import numpy as np
import torch

import ans_fast

clicks = ans_fast.Interactions.from_csv(sys.argv[1])
torch.manual_seed(0)
model = ans_fast.models.LightGCN(clicks, emb_size=32)
model.fit(epochs=20, lr=0.01)
model.export("vectors.npz")

# --- The server: NumPy alone. An index of item_vectors by inner product does the same for millions -------------------
vectors = np.load("vectors.npz")
places = {user: place for place, user in enumerate(vectors["user_ids"].tolist())}


def serve(user: str, k: int, seen: list[str]) -> list[str]:
    scores = vectors["item_vectors"] @ vectors["user_vectors"][places[user]]
    scores[np.isin(vectors["item_ids"], seen)] = -np.inf
    return vectors["item_ids"][np.argsort(-scores)[:k]].tolist()


# --- It answers as the model does ------------------------------------------------------------------------------------
table = clicks.to_dataframe()
user = table.user[0]
seen = table.item[table.user == user].tolist()
items, _ = model.recommend([user], k=5)
print(user, "->", *serve(user, 5, seen), "| the model:", *items[0])

# --- Somebody new, by what she clicked: nothing is trained -----------------------------------------------------------
items, _ = model.recommend_new([seen[:4]], k=5)
print("who clicked", *seen[:4], "->", *items[0])
