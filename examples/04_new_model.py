"""A model of your own, LightGCN whose hops have learned weights: python examples/04_new_model.py own.csv."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

import ans_fast
from ans_fast import ops
from ans_fast.flag_types import layers, size
from ans_fast.models.dot_product import DotProduct
from ans_fast.nn.node_table import NodeTable
from ans_fast.options import Option


class WeightedHops(DotProduct):
    """Loss, training, evaluation and recommendations come with the base; it asks for the vectors of all nodes."""

    name = "WeightedHops"

    emb_size = Option(size, 32, "size of the embedding vectors")
    n_layers = Option(layers, 3, "graph convolution layers")

    def __init__(self, graph: ans_fast.Interactions, **options: Any):
        super().__init__(graph, **options)
        self.table = NodeTable(self.graph, self.emb_size)
        self.table.xavier_uniform()
        self.weights = nn.Parameter(torch.zeros(self.n_layers + 1))

    def nodes(self) -> Tensor:
        hops = ops.propagate(self.table.weight, self.graph, self.n_layers)  # [N, H, D]
        return (hops * self.weights.softmax(0)[:, None]).sum(1)


train, dev, test = ans_fast.Interactions.from_csv(sys.argv[1]).split("ratio")
torch.manual_seed(0)
model = WeightedHops(train, n_layers=2)
model.fit(epochs=50, lr=0.01, validation=dev)
print("weights of the hops:", *(f"{weight:.3f}" for weight in model.weights.softmax(0).tolist()))
print(model.evaluate(test, ["Recall@20", "NDCG@20"]))
