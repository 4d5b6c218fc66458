"""The SIMT harness as a place of the operators' cases: their CUDA kernels, called below the wrappers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.ops.cases import NOT_CUDA, SHORT, Case, Place, Result, cotangent
from tests.simt import kernels


class Harness(Place):
    """torch.ops.ans_fast_simt, forward and backward."""

    def __init__(self, name: str = "simt", deterministic: bool = False):
        dtypes = (torch.float32, *SHORT)
        super().__init__(name, dtypes=dtypes, deterministic=deterministic, lacks=NOT_CUDA, of_sums=1e-6)

    def run(self, case: Case, scale: float = 1.0) -> Result:
        value, choice, gradients = getattr(self, f"_{case.operator}")(dict(case.inputs), scale)
        return Result(value, choice, dict(zip(case.by, gradients, strict=True)))

    def _propagate(self, inputs: dict[str, Any], scale: float) -> tuple:
        graph, nodes = _parts(inputs["graph"]), inputs["nodes"]
        out = kernels.propagate(inputs["x"], *graph, inputs["n_layers"], nodes=nodes)
        return out, None, [kernels.propagate_backward(cotangent(out, scale), *graph, nodes=nodes)]

    def _propagate_mean(self, inputs: dict[str, Any], scale: float) -> tuple:
        graph, nodes, n_layers = _parts(inputs["graph"]), inputs["nodes"], inputs["n_layers"]
        out = kernels.propagate_mean(inputs["x"], *graph, n_layers, nodes=nodes)
        factors = cotangent(out, scale)
        return out, None, [kernels.propagate_mean(factors, *graph, n_layers, nodes=nodes, transposed=True)]

    def _log_sum_exp(self, inputs: dict[str, Any], scale: float) -> tuple:
        arguments = tuple(inputs.values())
        out = kernels.operators().log_sum_exp(*arguments)
        return out, None, kernels.operators().log_sum_exp_backward(cotangent(out, scale), out, *arguments)

    def _candidate_scores(self, inputs: dict[str, Any], scale: float) -> tuple:
        arguments = tuple(inputs.values())
        out = kernels.operators().candidate_scores(*arguments)
        backward = kernels.operators().candidate_scores_backward
        return out, None, backward(cotangent(out, scale), *arguments, self.deterministic)

    def _top_k_bpr(self, inputs: dict[str, Any], scale: float) -> tuple:
        out = kernels.operators().top_k_bpr(**inputs)
        return out, None, [kernels.operators().top_k_bpr_backward(cotangent(out, scale), **inputs)]

    def _hardest_negatives(self, inputs: dict[str, Any], scale: float) -> tuple:
        return kernels.hardest_negatives(**inputs), None, ()

    def _sample_negatives(self, inputs: dict[str, Any], scale: float) -> tuple:
        graph, users, n_negatives, seed, first_item = inputs.values()
        sizes = (graph.n_users, graph.n_items, n_negatives)
        return kernels.sample_negatives(graph.indptr, graph.indices, users, *sizes, seed, first_item), None, ()

    def _distinct_ids(self, inputs: dict[str, Any], scale: float) -> tuple:
        return torch.cat(kernels.distinct_ids(**inputs)), None, ()

    def _ans_noise(self, inputs: dict[str, Any], scale: float) -> tuple:
        return kernels.ans_noise(**inputs), None, ()

    def _ans_terms(self, inputs: dict[str, Any], scale: float) -> tuple:
        *tensors, eps, noise_scale, seed, first_pair = inputs.values()
        options = (eps, noise_scale, seed)
        terms, selected, saved, differences = kernels.ans_terms_forward(tensors, *options, first_pair)
        assert saved.isfinite().all()
        value = torch.cat([terms, differences])
        grad_terms, grad_differences = cotangent(value, scale).split([4, len(differences)])
        backward = (*options, selected, saved, self.deterministic, first_pair, grad_differences)
        return value, selected, kernels.ans_terms_backward(grad_terms, tensors, *backward)


def _parts(graph: Any) -> tuple[Tensor, Tensor, Tensor]:
    return graph.indptr, graph.indices, graph.scale
