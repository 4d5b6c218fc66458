"""ans_terms with both gate products: the fused operator, of hops in float32 and in bfloat16, the reference as it is,
and the reference compiled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

from ans_fast import ops, reference
from benchmarks.cases import AnsInputs
from benchmarks.plain import compiled, torch_random

NOISE_SCALE = 0.1
SHORT = "fused bf16"  # the provider that takes inputs.short()
Loss = Callable[..., Tensor]


def _loss_with(ans_terms: Callable[..., reference.AnsTerms]) -> Loss:
    """The loss over one batch, from inputs.parameters on. Gate logits are of the hops' dtype."""

    def loss(
        parameters: tuple[Tensor, ...],
        users: Tensor,
        pos_items: Tensor,
        neg_items: Tensor,
        seed: Tensor,
        noise_scale: float | Tensor,
    ) -> Tensor:
        hops, layers = parameters[:2], [parameter.to(parameters[0].dtype) for parameter in parameters[2:]]
        user_gate = linear(hops[0].index_select(0, users), *layers[:2])
        item_gate = linear(hops[1], *layers[2:4])
        tables, pairs = (*hops, user_gate, item_gate, *layers[4:]), (users, pos_items, neg_items)
        terms = ans_terms(*tables, *pairs, noise_scale=noise_scale, seed=seed)
        return terms.bpr + terms.sns + terms.distance + terms.orthogonality

    return loss


def _plain(loss: Loss) -> Loss:
    """`loss` with torch's random numbers; noise_scale is a tensor, so that one compiled graph serves any."""

    def call(*arguments: object) -> Tensor:
        *tensors, noise_scale = arguments
        with torch_random():
            return loss(*tensors, torch.tensor(noise_scale))

    return call


PROVIDERS: dict[str, Callable[[], Loss]] = {
    "fused": lambda: _loss_with(ops.ans_terms),
    SHORT: lambda: _loss_with(ops.ans_terms),
    "eager": lambda: _plain(_loss_with(reference.ans_terms)),
    "compile": lambda: _plain(compiled(_loss_with(reference.ans_terms))),
    "reference": lambda: _loss_with(reference.ans_terms),
}


def forward(loss: Loss, inputs: AnsInputs, noise_scale: float = NOISE_SCALE) -> list[Tensor]:
    with torch.no_grad():
        return [_call(loss, inputs, noise_scale)]


def forward_backward(loss: Loss, inputs: AnsInputs, noise_scale: float = NOISE_SCALE) -> list[Tensor]:
    value = _call(loss, inputs, noise_scale)
    return [value.detach(), *torch.autograd.grad(value, inputs.parameters)]


def _call(loss: Loss, inputs: AnsInputs, noise_scale: float) -> Tensor:
    return loss(inputs.parameters, inputs.users, inputs.pos_items, inputs.neg_items, inputs.seed, noise_scale)


MODES = {"forward": forward, "forward+backward": forward_backward}
