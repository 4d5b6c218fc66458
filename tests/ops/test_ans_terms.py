"""ans_terms: reference against the formulas, fused against the reference, and both against bad input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ans_fast import ops, reference
from tests.conftest import run_at_simd_level
from tests.ops import literal_ans

SHAPES = [
    (5, 3, 2, 7),
    (1, 1, 1, 1),
    (3, 2, 4, 1),
    (33, 16, 4, 64),
    (17, 5, 3, 100),
    (9, 4, 1, 256),
    (2, 70, 2, 33),
]
WEIGHTS = (1.0, 0.7, 0.3, 0.2)


class Case:
    """Random arguments of ans_terms; few users and items, so that ids repeat and a negative can be the positive."""

    def __init__(self, pairs, negatives, hops, dim, ragged=False, dtype=torch.float64, seed=0, scale=0.5, items=11):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        def ids(n, *shape):
            return torch.randint(n, shape, generator=generator)

        self.floats = [
            normal(7, hops, dim) * scale,
            normal(items, hops, dim) * scale,
            normal(pairs, hops, dim),
            normal(items, hops, dim),
            normal(dim),
            normal(1),
        ]
        self.ids = [ids(7, pairs), ids(items, pairs), ids(items, pairs, negatives)]
        self.count = ids(negatives, pairs) + 1 if ragged else None

    def run(self, backend="fused", weights=WEIGHTS, **options):
        """Terms, and gradients of a weighted sum of them and of the differences."""
        floats = [tensor.detach().clone().requires_grad_() for tensor in self.floats]
        with ops.backend(backend):
            terms = ops.ans_terms(*floats, *self.ids, self.count, **{"seed": 5, **options})
        total = sum(weight * term for weight, term in zip(weights, terms[:4], strict=True))
        (total + torch.linspace(-0.2, 0.3, len(terms.differences)).to(total) @ terms.differences).backward()
        return terms, [tensor.grad for tensor in floats]


def values(terms: reference.AnsTerms) -> list[torch.Tensor]:
    """All but what is selected."""
    return [*terms[:4], terms.differences]


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).norm() / want.norm().clamp_min(1e-12))


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES[:4], (2, 5, 3, 100)])
def test_reference_is_the_formulas(shape, ragged):
    case = Case(*shape, ragged=ragged)
    pairs, negatives, hops, dim = shape
    noise = ops.ans_noise(5, pairs * negatives * hops, dim).double().view(pairs, negatives, hops, dim)
    count = [negatives] * pairs if case.count is None else case.count.tolist()
    plain = [tensor.tolist() for tensor in (*case.floats, *case.ids)]
    want = literal_ans.terms(*plain[:5], plain[5][0], *plain[6:], count, 0.3, 0.2, noise.tolist())
    got, _ = case.run("reference", eps=0.3, noise_scale=0.2)
    assert [float(term.detach()) for term in got[:4]] == pytest.approx(list(want[:4]), rel=1e-12, abs=1e-14)
    assert got.selected.tolist() == want[4]
    assert got.differences.tolist() == pytest.approx(want[5], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("shape", [(3, 2, 2, 3), (2, 3, 1, 5), (1, 1, 1, 1)])
def test_gradients_are_finite_differences(shape, backend):
    case = Case(*shape, ragged=True, items=23)
    floats = [tensor.requires_grad_() for tensor in case.floats]

    def terms(*floats):
        found = ops.ans_terms(*floats, *case.ids, case.count, seed=3)
        return (*found[:4], found.differences)

    with ops.backend(backend):
        assert torch.autograd.gradcheck(terms, floats, eps=1e-7, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_fused_is_the_reference(shape, ragged):
    case = Case(*shape, ragged=ragged)
    want, want_gradients = case.run("reference")
    got, gradients = case.run()
    assert torch.equal(got.selected, want.selected)
    for a, b in zip([*values(got), *gradients], [*values(want), *want_gradients], strict=True):
        assert error(a, b) < 1e-12

    case.floats = [tensor.float() for tensor in case.floats]
    single, single_gradients = case.run()
    if not torch.equal(single.selected, want.selected):
        # Rounding may turn a near tie over; compare with a reference that selects from the same rounded rows.
        case.floats = [tensor.double() for tensor in case.floats]
        want, want_gradients = case.run("reference")
    assert torch.equal(single.selected, want.selected)
    for a, b in zip([*values(single), *single_gradients], [*values(want), *want_gradients], strict=True):
        assert a.dtype == torch.float32
        assert error(a, b) < 1e-5


# From D = 2 on: in one dimension all noise has one length, and rounding would decide between an item and itself.
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 6), st.integers(1, 9), st.integers(1, 5), st.integers(2, 40), st.booleans(), st.integers(0, 2**31)
)
def test_any_shape(pairs, negatives, hops, dim, ragged, seed):
    case = Case(pairs, negatives, hops, dim, ragged, seed=seed)
    want, want_gradients = case.run("reference")
    got, gradients = case.run()
    assert torch.equal(got.selected, want.selected)
    for a, b in zip([*values(got), *gradients], [*values(want), *want_gradients], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_empty_batch_gives_zeros():
    terms, gradients = Case(0, 4, 2, 8).run()
    assert [float(term.detach()) for term in terms[:4]] == [0, 0, 0, 0]
    assert terms.selected.shape == (0, 2)
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_extremes_stay_finite(backend, dtype):
    """Zero rows (zero norms and margin logits), saturated gates, scores that would overflow an exponential."""
    case = Case(6, 4, 2, 16, dtype=dtype)
    for index, scale in [(0, 30.0), (1, 30.0), (2, 100.0), (3, 100.0)]:
        case.floats[index].mul_(scale)
    case.floats[1][:4] = 0
    case.floats[4].zero_()
    case.floats[5].zero_()
    terms, gradients = case.run(backend)
    assert all(torch.isfinite(value).all() for value in [*terms[:4], *gradients])
    zeros = Case(3, 2, 2, 5, dtype=dtype)
    zeros.floats = [torch.zeros_like(tensor) for tensor in zeros.floats]
    terms, gradients = zeros.run(backend)
    assert all(torch.isfinite(value).all() for value in [*terms[:4], *gradients])


@pytest.mark.parametrize("logit", [1e-30, -1e-30, 1e-3, -1e-3, 0.0124, 0.0126, 1e30])
def test_margin_logit_near_zero(logit):
    case = Case(4, 3, 1, 5)
    case.floats[4].zero_()
    case.floats[5].fill_(logit)
    want, want_gradients = case.run("reference")
    got, gradients = case.run()
    for a, b in zip([*values(got), *gradients], [*values(want), *want_gradients], strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)


def test_nan_stays_nan():
    case = Case(4, 3, 2, 16, dtype=torch.float32)
    case.floats[0][int(case.ids[0][0])] = float("nan")
    terms, _ = case.run()
    assert torch.isnan(terms.bpr)


def test_ties_go_to_the_lowest_and_padding_is_not_read():
    case = Case(2, 5, 2, 8)
    case.ids[2][:] = 3  # the same item, and noise off: all scores tie
    terms, _ = case.run(noise_scale=0.0)
    assert not terms.selected.any()
    case = Case(3, 5, 2, 8, ragged=True)
    want, want_gradients = case.run()
    padding = torch.arange(5) >= case.count[:, None]
    case.ids[2][padding] = 10**12
    for backend in ("fused", "reference"):
        got, gradients = case.run(backend)
        assert torch.equal(got.selected, want.selected)
        for a, b in zip(gradients, want_gradients, strict=True):
            torch.testing.assert_close(a, b)


def test_same_bits_at_any_thread_count():
    case = Case(300, 9, 4, 64, ragged=True, dtype=torch.float32)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        terms, gradients = case.run()
        results.append([*terms, *gradients])
    torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512"])
def test_every_simd_level(level):
    code = (
        "from tests.ops import test_ans_terms as t\n"
        "for shape in t.SHAPES:\n"
        "    t.test_fused_is_the_reference(shape, True)\n"
    )
    run_at_simd_level(level, code)


@pytest.mark.parametrize("name", ["fused", "reference"])
def test_parts_of_a_batch_have_its_noise(name):
    """Negatives and terms are those of the whole batch, gradients too."""
    case = Case(7, 4, 3, 10, ragged=True)
    floats = [tensor.requires_grad_() for tensor in case.floats]

    def terms_of(begin: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        user_hops, item_hops, user_gate, *others = floats
        ids, counts = [tensor[begin:end] for tensor in case.ids], case.count[begin:end]
        inputs = (user_hops, item_hops, user_gate[begin:end], *others, *ids, counts)
        *terms, selected, _ = ops.ans_terms(*inputs, noise_scale=2.0, seed=5, first_pair=begin)
        return torch.stack(terms), selected

    with ops.backend(name):
        whole, selected = terms_of(0, 7)
        parts = [terms_of(0, 3), terms_of(3, 7)]
        together = (3 * parts[0][0] + 4 * parts[1][0]) / 7
        gradients = [torch.autograd.grad(terms.sum(), floats) for terms in (whole, together)]
    assert torch.equal(torch.cat([part[1] for part in parts]), selected)
    assert torch.allclose(together, whole)
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


def test_opcheck_and_compile():
    case = Case(6, 3, 2, 8, ragged=True, dtype=torch.float32)
    floats = [tensor.requires_grad_() for tensor in case.floats]
    seed = torch.tensor([7])
    forward = torch.ops.ans_fast.ans_terms_forward
    torch.library.opcheck(forward, (*floats, *case.ids, case.count, 0.1, 0.1, seed, 2))
    detached = [tensor.detach() for tensor in floats]
    _, selected, saved, _ = forward(*detached, *case.ids, case.count, 0.1, 0.1, seed, 2)
    inputs = (*detached, *case.ids, case.count, 0.1, 0.1, seed, 2, torch.ones(4), torch.ones(6), selected, saved, False)
    torch.library.opcheck(torch.ops.ans_fast.ans_terms_backward, inputs)

    def loss(*floats):
        return sum(ops.ans_terms(*floats, *case.ids, case.count, seed=seed)[:4])

    torch.testing.assert_close(torch.compile(loss, fullgraph=True)(*floats), loss(*floats))


def test_non_contiguous():
    case = Case(6, 4, 2, 8)
    want, want_gradients = case.run()
    case.floats = [
        tensor.transpose(0, -1).contiguous().transpose(0, -1) if tensor.dim() > 1 else tensor for tensor in case.floats
    ]
    case.ids[2] = case.ids[2].t().contiguous().t()
    got, gradients = case.run()
    assert all(torch.equal(a, b) for a, b in zip([*got, *gradients], [*want, *want_gradients], strict=True))


BAD = {
    "user_hops must be [n_users, H, D], got [7, 16]": lambda f, i: f.__setitem__(0, f[0].flatten(1)),
    "neg_items must be [B, M], got [24]": lambda f, i: i.__setitem__(2, i[2].flatten()),
    "user_gate must be [B = 6, H = 2, D = 8], got [5, 2, 8]": lambda f, i: f.__setitem__(2, f[2][:5]),
    "pos_items must be int64, got int32": lambda f, i: i.__setitem__(1, i[1].int()),
    "item_hops must be float64, got float32": lambda f, i: f.__setitem__(1, f[1].float()),
    "users must be in [0, 7), got 7 at position 2": lambda f, i: i[0].__setitem__(2, 7),
    "pos_items must be in [0, 11), got -1 at position 0": lambda f, i: i[1].__setitem__(0, -1),
    "neg_items must be in [0, 11), got 99 at position 5": lambda f, i: i[2].view(-1).__setitem__(5, 99),
    "margin_bias must be [1], got [2]": lambda f, i: f.__setitem__(5, f[5].repeat(2)),
}


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("message", BAD)
def test_errors_name_the_argument(message, backend):
    case = Case(6, 4, 2, 8)
    BAD[message](case.floats, case.ids)
    with pytest.raises((ValueError, TypeError)) as raised:
        case.run(backend)
    assert message in str(raised.value)


@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_a_seed_on_another_device_is_an_error(backend):
    with pytest.raises(ValueError, match="seed must be on the CPU, got meta"):
        Case(6, 4, 2, 8).run(backend, seed=torch.ones(1, dtype=torch.int64, device="meta"))


@pytest.mark.parametrize("backend", ["reference", "fused"])
@pytest.mark.parametrize("count", [0, 5, -1])
def test_count_out_of_range(count, backend):
    case = Case(6, 4, 2, 8)
    case.count = torch.full((6,), 4)
    case.count[3] = count
    with pytest.raises(ValueError, match=r"neg_count must be in \[1, 4\], got"):
        case.run(backend)
