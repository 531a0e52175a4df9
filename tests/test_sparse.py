"""Sparse matrices against dense ones and scipy, their derivatives both ways, compiled, and their errors."""

import copy
import gc
import pickle
import sys
import warnings
import weakref
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch_geometric.data import Data

import cotan
from cotan import kernels
from cotan.errors import CotanError
from cotan.sparse import (
    Pattern,
    Sparse,
    adjacency,
    collect,
    multiply_each,
    multiply_sum,
    neighbour_max,
    neighbour_variance,
    numbered,
    replace_rows,
    sampled,
    segment_max,
    segment_mean,
    segment_min,
    segment_softmax,
    segment_sum,
    spread,
    symmetric_lu,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 5e-2}
CHANNELS, WEIGHTS = 3, 2
NEEDS_MKL = pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="torch has no MKL here")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return "cpu" if request.param == "cpu" else str(request.getfixturevalue("gpu"))


def random_matrix(
    rows: int = 6, cols: int = 5, entries: int = 16, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Sparse:
    """Duplicates are likely, and the last row and column are empty."""
    g = torch.Generator().manual_seed(seed)
    row, col = (torch.randint(0, max(size - 1, 1), (entries,), generator=g) for size in (rows, cols))
    return Sparse.from_coo(row, col, torch.randn(entries, generator=g, dtype=torch.float64).to(dtype), (rows, cols))


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    torch._dynamo.reset()
    call = torch.compile(function, fullgraph=True, backend="aot_eager")

    def quiet(*args: object) -> Tensor:
        with warnings.catch_warnings():  # torch's tracer instantiates a Function, and torch warns of that
            warnings.filterwarnings("ignore", message=".*should not be instantiated.*")
            return call(*args)

    return quiet


def test_blocks_are_joined_in_a_compiled_function() -> None:
    blocks, x = [random_matrix(), random_matrix(7, 4, 9, seed=1)], torch.randn(9, 3, dtype=torch.float64)
    found = compiled(lambda A, B, x: Sparse.block_diagonal([A, B]) @ x)(*blocks, x)
    torch.testing.assert_close(found, torch.block_diag(*(block.to_dense() for block in blocks)) @ x)


def test_a_triton_that_does_not_run_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles a launcher in C; where there is no compiler, torch's kernels do the sums."""

    def total(*_: object) -> Tensor:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setitem(sys.modules, "cotan.triton_kernels", SimpleNamespace(total=total))
    monkeypatch.delattr(cotan, "triton_kernels", raising=False)
    monkeypatch.setattr(kernels, "HAS_TRITON", True)
    monkeypatch.setattr(kernels, "INTERPRETED", True)
    kernels.triton_runs.cache_clear()
    try:
        A, x = random_matrix(), torch.randn(5, 3, dtype=torch.float64)
        with pytest.warns(RuntimeWarning, match=r"do not run here \(Failed to find C compiler\); torch's do the sums"):
            torch.testing.assert_close(A @ x, A.to_dense() @ x)
        A @ x  # without a second warning
    finally:
        kernels.triton_runs.cache_clear()


# --- against dense matrices and scipy ---------------------------------------------------------------------------------


@st.composite
def matrices(draw: st.DrawFn) -> Sparse:
    rows, cols = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    places = draw(st.lists(st.tuples(st.integers(0, rows - 1), st.integers(0, cols - 1)), max_size=20))
    row, col = (torch.tensor([p[i] for p in places], dtype=torch.long) for i in (0, 1))
    values = torch.tensor(draw(st.lists(st.integers(-9, 9), min_size=len(places), max_size=len(places))))
    return Sparse.from_coo(row, col, values.double().reshape(-1), (rows, cols))


@settings(max_examples=60, deadline=None)
@given(matrices(), st.integers(0, 3))
def test_agrees_with_the_dense_matrix(A: Sparse, channels: int) -> None:
    dense = torch.zeros(A.shape, dtype=torch.float64)
    for r, c, v in zip(A.row.tolist(), A.col.tolist(), A.values.tolist(), strict=True):
        dense[r, c] += v  # exact: the values are small whole numbers
    g = torch.Generator().manual_seed(1)
    x, y = (torch.randint(-9, 9, (n, channels), generator=g).double() for n in reversed(A.shape))
    assert torch.equal(A @ x, dense @ x)
    assert torch.equal(A.T @ y, dense.T @ y)
    assert torch.equal(A.T.T @ x, dense @ x)
    assert torch.equal((2 * A) @ x, 2 * (dense @ x))
    assert torch.equal(A.to_dense(), dense)
    assert torch.equal(A.sum_rows(), dense.sum(1))
    assert torch.equal(A.diagonal(), dense.diagonal())
    assert torch.equal(sampled(A.pattern, y, x), (y @ x.T)[A.row, A.col])
    key = A.row * A.shape[1] + A.col
    assert (key.diff() >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (64,), (2, 3), (0,)])
def test_signals_of_any_shape_and_dtype(dtype: torch.dtype, shape: tuple[int, ...], device: str) -> None:
    A = random_matrix(dtype=dtype).to(device)
    x = torch.randn(5, *shape, dtype=dtype, device=device)
    expected = torch.tensordot(A.to_dense().double(), x.double(), 1)
    torch.testing.assert_close((A @ x).double(), expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_wide_signals_and_long_rows(device: str) -> None:
    """More channels, and more entries of a row, than a kernel takes at once."""
    wide = random_matrix(3, 90, 150).to(device)
    x, y = (torch.randn(n, 131, dtype=torch.float64, device=device) for n in (90, 3))
    torch.testing.assert_close(wide @ x, wide.to_dense() @ x)
    torch.testing.assert_close(sampled(wide.pattern, y, x), (y @ x.T)[wide.row, wide.col])
    s = torch.randn(150, 2, dtype=torch.float64, device=device)
    expected = torch.cat([s[wide.row == row].softmax(0) for row in range(3)])
    torch.testing.assert_close(segment_softmax(s, wide.pattern), expected)


IN_PLACE = pytest.mark.parametrize("in_place", [False, pytest.param(True, marks=NEEDS_MKL)])


@IN_PLACE
@pytest.mark.parametrize("less", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [0, 1, 8, 33])
@pytest.mark.parametrize("shape", [(40, 30), (1, 5), (5, 0), (0, 5)])
def test_rows_in_the_place_of_others(
    shape: tuple[int, int], channels: int, dtype: torch.dtype, less: bool, in_place: bool, monkeypatch
) -> None:
    """Into some columns of a wider matrix, by MKL as on processors of Intel's, and by the other kernels."""
    monkeypatch.setattr(kernels, "writes_in_place", lambda: in_place)
    A = random_matrix(*shape, entries=200 * bool(shape[0] * shape[1]), dtype=dtype)
    x = torch.randn(2, channels, shape[1], dtype=dtype).mT[1]  # neither contiguous nor all of its memory
    wide = torch.randn(shape[0], channels + 3, dtype=dtype)
    expected = wide.clone()
    expected[:, 2 : 2 + channels] = A.to_dense() @ x - (wide[:, 2 : 2 + channels] if less else 0)
    if not less:
        wide[:, 2 : 2 + channels] = torch.nan
    for rows in [slice(0, 3), slice(3, 40)] if shape[0] == 40 else [slice(0, shape[0])]:
        replace_rows(wide[rows, 2 : 2 + channels], A, x, rows, less)
    assert torch.allclose(wide, expected, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@IN_PLACE
@pytest.mark.parametrize("layer", ["chebyshev", "gaussian", "gat"])
def test_layers_whose_sums_are_in_place(layer: str, in_place: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the same in float64."""
    monkeypatch.setattr(kernels, "writes_in_place", lambda: in_place)
    monkeypatch.setattr(kernels, "AT_ONCE", 0)  # each head by itself
    data = Data(edge_index=torch.randint(0, 300, (2, 900), generator=torch.Generator().manual_seed(0)), num_nodes=300)
    torch.manual_seed(0)
    module = cotan.create_layer(layer, 64, 64, **({"heads": 4} if layer == "gat" else {}))
    x, weights, found = torch.randn(300, 64), torch.randn(300, 64), []
    for dtype in (torch.float64, torch.float32):
        module, here = module.to(dtype), x.to(dtype).requires_grad_()
        y = module(here, **cotan.inputs(module, data))
        found.append([y.detach(), *torch.autograd.grad((y * weights.to(dtype)).sum(), [here, *module.parameters()])])
    for wide, narrow in zip(*found, strict=True):
        assert torch.allclose(narrow.double(), wide, atol=1e-5 * float(wide.abs().max()))


def test_noncontiguous_signals_and_gradients() -> None:
    A = random_matrix(dtype=torch.float32)
    x = torch.randn(CHANNELS, 5).T.requires_grad_()
    out = A @ x
    torch.testing.assert_close(out, A.to_dense() @ x)
    (gradient,) = torch.autograd.grad(out.sum(), x)  # an expanded gradient: strides of zero
    torch.testing.assert_close(gradient, A.to_dense().sum(0)[:, None].expand(5, CHANNELS))


def test_scipy_there_and_back() -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    matrix = scipy_sparse.random(40, 30, 0.1, random_state=0, format="coo")
    A = Sparse.from_scipy(matrix)
    assert abs(A.to_scipy() - matrix).max() == 0
    x = torch.randn(30, 4, dtype=torch.float64)
    torch.testing.assert_close(A @ x, torch.from_numpy(matrix.tocsr() @ x.numpy()))


def test_duplicates_stay_or_are_summed() -> None:
    row, col, values = torch.tensor([1, 0, 1, 1]), torch.tensor([2, 0, 2, 0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    kept = Sparse.from_coo(row, col, values, (2, 3))
    summed = Sparse.from_coo(row, col, values, (2, 3), sum_duplicates=True)
    assert kept.values.tolist() == [2, 4, 1, 3]
    assert summed.values.tolist() == [2, 4, 4]
    assert torch.equal(kept.to_dense(), summed.to_dense())


@pytest.mark.parametrize("shape", [(2, 9), (9, 2), (4, 1), (1, 4)])
def test_sums_of_duplicates_multiply(shape: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(0)
    row, col = (torch.randint(size, (20,), generator=g) for size in shape)
    values, x = torch.randn(20, generator=g), torch.randn(shape[1], 2, generator=g)
    kept, summed = (Sparse.from_coo(row, col, values, shape, sum_duplicates=s) for s in (False, True))
    torch.testing.assert_close(summed @ x, kept @ x)
    torch.testing.assert_close(summed.T @ (kept @ x), kept.T @ (kept @ x))
    assert len(summed.values) == len({*zip(row.tolist(), col.tolist())})


@pytest.mark.parametrize("sum_duplicates", [False, True])
def test_indices_of_32_bits_in_a_large_matrix(sum_duplicates: bool) -> None:
    """row * columns + column is no number of 32 bits there."""
    row, col = torch.tensor([[0, 49_999, 2], [1, 49_999, 3]], dtype=torch.int32)
    matrix = Sparse.from_coo(row, col, torch.tensor([1.0, 2.0, 3.0]), (50_000, 50_000), sum_duplicates=sum_duplicates)
    assert matrix.row.tolist() == [0, 2, 49_999]
    assert (matrix @ torch.ones(50_000)).nonzero().flatten().tolist() == [0, 2, 49_999]
    assert (matrix.T @ torch.ones(50_000))[[1, 3, 49_999]].tolist() == [1, 3, 2]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0), (3, 4)])
def test_no_entries(shape: tuple[int, int]) -> None:
    none = torch.zeros(0, dtype=torch.long)
    A = Sparse.from_coo(none, none, torch.zeros(0), shape)
    x = torch.randn(shape[1], CHANNELS, requires_grad=True)
    out = A @ x
    assert out.shape == (shape[0], CHANNELS)
    assert not out.any()
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.shape == x.shape
    assert not gradient.any()
    assert sampled(A.pattern, torch.ones(shape[0], 2), torch.ones(shape[1], 2)).shape == (0,)
    for reduce in (segment_sum, segment_mean, segment_max, segment_min):
        assert reduce(torch.zeros(0, 2), A.pattern).tolist() == [[0.0, 0.0]] * shape[0]
    assert segment_softmax(torch.zeros(0, 2), A.pattern).shape == (0, 2)
    assert A.T.shape == shape[::-1]


# --- derivatives ------------------------------------------------------------------------------------------------------


def tensor(*shape: int) -> Tensor:
    g = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=g, dtype=torch.float64).requires_grad_()


A = random_matrix()
E = len(A.values)
DIFFERENTIABLE: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "A x": (lambda x: A @ x, (tensor(5, CHANNELS),)),
    "A(v) x": (lambda v, x: A.with_values(v) @ x, (tensor(E), tensor(5, CHANNELS))),
    "A(v)^T x": (lambda v, x: A.with_values(v).T @ x, (tensor(E), tensor(6, CHANNELS))),
    "2 A(v) x": (lambda v, x: (2 * A.with_values(v)) @ x, (tensor(E), tensor(5))),
    "A_j(v) x": (lambda v, x: A.with_values(v) @ x, (tensor(E, WEIGHTS), tensor(5, CHANNELS))),
    "sum_j A_j(v) x_j": (
        lambda v, x: multiply_sum(A.with_values(v), x),
        (tensor(E, WEIGHTS), tensor(5, WEIGHTS, CHANNELS)),
    ),
    "A_j(v) x_j": (
        lambda v, x: multiply_each(A.with_values(v), x),
        (tensor(E, WEIGHTS), tensor(5, WEIGHTS, CHANNELS)),
    ),
    "sampled, a_j and b_j": (
        lambda a, b: sampled(A.pattern, a, b),
        (tensor(6, WEIGHTS, CHANNELS), tensor(5, WEIGHTS, CHANNELS)),
    ),
    "sampled": (lambda a, b: sampled(A.pattern, a, b), (tensor(6, CHANNELS), tensor(5, CHANNELS))),
    "softmax": (lambda s: segment_softmax(s, A.pattern), (tensor(E, WEIGHTS),)),
    "softmax, one head": (lambda s: segment_softmax(s, A.pattern), (tensor(E),)),
    "max": (lambda s: segment_max(s, A.pattern), (tensor(E, WEIGHTS),)),
    "min": (lambda s: segment_min(s, A.pattern), (tensor(E),)),
    "mean": (lambda s: segment_mean(s, A.pattern), (tensor(E, WEIGHTS),)),
    "largest of the neighbours": (lambda x: neighbour_max(x, A.pattern), (tensor(5, kernels.VECTOR),)),
    "variance of the neighbours": (lambda x: neighbour_variance(x, A.pattern), (tensor(5, kernels.VECTOR),)),
    "spread": (lambda x: spread(A.pattern, x), (tensor(6, CHANNELS),)),
    "spread of columns": (lambda x: spread(A.pattern, x, columns=True), (tensor(5, CHANNELS),)),
    "collect in columns": (lambda s: collect(A.pattern, s, columns=True), (tensor(E, CHANNELS),)),
    "diagonal, sum of rows": (lambda v: A.with_values(v).diagonal() @ A.with_values(v).sum_rows()[:5], (tensor(E),)),
}
each = pytest.mark.parametrize(("function", "at"), DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())


@each
def test_first_and_second_derivatives(function: Callable[..., Tensor], at: tuple[Tensor, ...]) -> None:
    assert gradcheck(function, at, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(function, at)


@each
def test_forward_mode_is_the_transpose_of_reverse_mode(function: Callable[..., Tensor], at: tuple[Tensor, ...]) -> None:
    tangents = tuple(torch.randn_like(x) for x in at)
    out, push = torch.func.jvp(function, at, tangents)
    cotangent = torch.randn_like(out)
    pull = torch.autograd.grad(function(*at), at, cotangent)
    torch.testing.assert_close((push * cotangent).sum(), sum((g * t).sum() for g, t in zip(pull, tangents)))
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(x.detach(), t) for x, t in zip(at, tangents)]
        dual = torch.autograd.forward_ad.unpack_dual(function(*duals)).tangent
    torch.testing.assert_close(dual, push)


@each
def test_jacobians_by_vmap(function: Callable[..., Tensor], at: tuple[Tensor, ...]) -> None:
    numbers = tuple(range(len(at)))
    at = tuple(x.detach() for x in at)
    forward, reverse = (f(function, numbers)(*at) for f in (torch.func.jacfwd, torch.func.jacrev))
    torch.testing.assert_close(forward, reverse)


@each
def test_forward_mode_of_any_mode(function: Callable[..., Tensor], at: tuple[Tensor, ...]) -> None:
    """Of forward mode too, whose outer tangents torch 2.13 loses by itself."""
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    energy = lambda t: function(*(a.detach() * t for a in at)).sin().sum()  # noqa: E731
    expected = [energy(x)]
    for _ in range(3):
        expected += torch.autograd.grad(expected[-1], x, create_graph=True)
    for first in (torch.func.jacfwd, torch.func.jacrev):
        second = torch.func.jacfwd(first(energy))
        torch.testing.assert_close(second(x.detach()), expected[2])
        torch.testing.assert_close(torch.func.jacfwd(second)(x.detach()), expected[3])


def test_a_pattern_that_is_made_inside_torch_func() -> None:
    """What is first asked of it inside the inner transforms serves the outer ones, and later."""
    patterns, fixed = [], tensor(5, CHANNELS).detach()

    def energy(t: Tensor) -> Tensor:
        made = Sparse.from_coo(A.pattern.row, A.col, A.values, A.shape)
        patterns.append(made.pattern)
        x = fixed * t
        return sampled(made.pattern, made @ x, x).sin().sum()

    grad, one = torch.func.grad, torch.ones((), dtype=torch.float64)
    second = torch.func.hessian(energy)
    torch.testing.assert_close(grad(grad(grad(energy)))(one), torch.func.jacfwd(second)(one))
    kept = [part for pattern in patterns for part in (*pattern.transposed.parts, pattern.index("row"))]
    assert not any(map(torch._C._functorch.is_functorch_wrapped_tensor, kept))


def test_a_matrix_that_torch_func_has_met_stays_as_it_was() -> None:
    met = random_matrix()
    torch.func.grad(lambda x: (met @ x).sum())(tensor(5, CHANNELS).detach())
    assert not cotan.autodiff.is_live(met.T.values)
    assert met.T.values.data_ptr()


def test_compile_in_one_graph() -> None:
    functions, inputs = zip(*DIFFERENTIABLE.values())

    def together(*inputs: tuple[Tensor, ...]) -> list[Tensor]:
        return [function(*at) for function, at in zip(functions, inputs)]

    for name, at, got, expected in zip(DIFFERENTIABLE, inputs, compiled(together)(*inputs), together(*inputs)):
        pulled = [torch.autograd.grad(y, at, torch.ones_like(y).cumsum(0), retain_graph=True) for y in (got, expected)]
        for found, wanted in ((got, expected), pulled):
            torch.testing.assert_close(found, wanted, msg=lambda said, name=name: f"{name}: {said}")


class Everything(nn.Module):
    """A layer that uses each operation of a matrix that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(CHANNELS, 4)

    def forward(self, x: Tensor, matrix: Sparse) -> Tensor:
        scores = sampled(matrix.pattern, x, x).tanh()
        attention = matrix.with_values(segment_softmax(scores, matrix.pattern))
        x = self.weight(attention @ x) + self.weight((2 * matrix).T @ x)
        return x * matrix.sum_rows()[:, None] + matrix.diagonal()[:, None] + matrix.T.sum_rows()[:, None]


def test_a_module_with_a_matrix_as_input_compiles() -> None:
    module = Everything()
    for size in (5, 8):  # the second size is traced anew, or dynamically
        matrix = random_matrix(size, size, 3 * size, torch.float32)
        x = torch.randn(size, CHANNELS, requires_grad=True)
        expected, got = module(x, matrix), compiled(module)(x, matrix)
        torch.testing.assert_close(got, expected)
        parameters = (x, *module.parameters())
        for a, b in zip(*(torch.autograd.grad(y.square().sum(), parameters) for y in (got, expected))):
            torch.testing.assert_close(a, b)


def test_a_matrix_first_used_in_inference_mode_can_be_trained_on() -> None:
    matrix = random_matrix(dtype=torch.float32)
    x = torch.randn(5, CHANNELS, requires_grad=True)
    with torch.inference_mode():
        matrix @ x
        matrix.T @ torch.randn(6, CHANNELS)
        spread(matrix.pattern, torch.randn(6, 2))
    values = matrix.values.clone().requires_grad_()
    (matrix.with_values(values) @ x).square().sum().backward()
    (matrix @ x).square().sum().backward()
    assert x.grad is not None
    assert values.grad is not None


def test_the_transpose_kept_for_the_backward_follows_the_values() -> None:
    values = torch.ones(E, dtype=torch.float64)
    x = torch.randn(5, CHANNELS, dtype=torch.float64, requires_grad=True)
    constant, learned = A.with_values(values), A.with_values(values.clone().requires_grad_())
    for factor in (1.0, 3.0):
        gradients = [torch.autograd.grad((factor * m @ x).square().sum(), x)[0] for m in (constant, learned)]
        torch.testing.assert_close(*gradients)


# --- several weights, reductions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [0, kernels.AT_ONCE], ids=["one by one", "at once"])
@pytest.mark.parametrize("weights", [0, 1, 4])
def test_several_weights_on_one_pattern(
    weights: int, at_once: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "AT_ONCE", at_once)
    values = torch.randn(E, weights, device=device)
    matrix = A.to(device).with_values(values)
    x = torch.randn(5, weights, CHANNELS, device=device)
    one_by_one = [matrix.with_values(values[:, j]) for j in range(weights)]
    assert matrix.diagonal().shape == (5, weights)
    assert all(torch.equal(matrix.diagonal()[:, j], B.diagonal()) for j, B in enumerate(one_by_one))
    together = matrix @ x[:, 0] if weights else matrix @ torch.randn(5, CHANNELS, device=device)
    assert together.shape == (6, weights, CHANNELS)
    for j, B in enumerate(one_by_one):
        torch.testing.assert_close(together[:, j], B @ x[:, 0])
    expected = sum((B @ x[:, j] for j, B in enumerate(one_by_one)), torch.zeros(6, CHANNELS, device=device))
    torch.testing.assert_close(multiply_sum(matrix, x), expected)
    torch.testing.assert_close(multiply_each(matrix, x).sum(1), expected)
    for j, B in enumerate(one_by_one):
        torch.testing.assert_close(multiply_each(matrix, x)[:, j], B @ x[:, j])
    y = torch.randn(6, weights, CHANNELS, device=device)
    inner = sampled(matrix.pattern, y, x)
    assert inner.shape == (E, weights)
    for j, B in enumerate(one_by_one):
        torch.testing.assert_close(multiply_each(matrix.T, y)[:, j], B.T @ y[:, j])
        torch.testing.assert_close(inner[:, j], (y[:, j] @ x[:, j].T)[matrix.row, matrix.col])


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_reductions_over_rows(name: str, shape: tuple[int, ...], device: str) -> None:
    reduce = {"sum": segment_sum, "mean": segment_mean, "max": segment_max, "min": segment_min}[name]
    s = torch.randn(E, *shape, device=device)
    got = reduce(s, A.pattern.to(device))
    for row in range(6):
        entries = s[(A.row == row).to(device)]
        expected = getattr(torch, {"max": "amax", "min": "amin"}.get(name, name))(entries, 0) if len(entries) else 0
        torch.testing.assert_close(got[row], torch.as_tensor(expected, device=device).expand(shape), check_dtype=False)


def test_ties_share_the_gradient_as_in_scatter_reduce() -> None:
    s = torch.tensor([1.0, 1.0, 0.0, 2.0, 2.0, 2.0], requires_grad=True)
    row = torch.tensor([0, 0, 0, 1, 1, 1])
    pattern = Sparse.from_coo(row, torch.arange(6), torch.ones(6), (2, 6)).pattern
    ours = torch.autograd.grad(segment_max(s, pattern).sum(), s)
    theirs = torch.autograd.grad(torch.zeros(2).scatter_reduce(0, row, s, "amax", include_self=False).sum(), s)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_neighbours_are_their_messages(dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some rows at a time; of one's own or another number of rows; with ties and numbers that are none."""
    monkeypatch.setattr("cotan.blocks.NUMBERS", 2**10)
    matrix = random_matrix(700, 300, 3000, dtype)
    x = torch.randint(-2, 3, (300, 9)).to(dtype).requires_grad_()
    pattern, messages = matrix.pattern, lambda: spread(matrix.pattern, x, columns=True)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for ours, theirs in (
            (neighbour_max(x, pattern), segment_max(messages(), pattern)),
            (
                neighbour_variance(x, pattern),
                segment_mean(messages().square(), pattern) - (segment_mean(messages(), pattern)).square(),
            ),
        ):
            g = torch.randint(-2, 3, ours.shape).to(dtype)
            tolerance = {"rtol": TOLERANCE[dtype], "atol": 10 * TOLERANCE[dtype]}
            torch.testing.assert_close(ours, theirs, **tolerance)
            torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in (ours, theirs)), **tolerance)
        odd = x.detach().clone()
        odd[3, 0], odd[4, 1], odd[5, 2] = torch.tensor([float("nan"), float("inf"), -float("inf")])
        expected = segment_max(spread(pattern, odd, columns=True), pattern)
        torch.testing.assert_close(neighbour_max(odd, pattern), expected, equal_nan=True)
    finally:
        torch.set_num_threads(before)


def test_variance_far_from_zero() -> None:
    x = torch.randn(5, 8)
    torch.testing.assert_close(
        neighbour_variance(x + 4096, A.pattern), neighbour_variance(x, A.pattern), rtol=1e-2, atol=1e-3
    )


def test_softmax_is_a_distribution_that_a_shift_leaves() -> None:
    s = 100 * torch.randn(E, WEIGHTS)
    p = segment_softmax(s, A.pattern)
    filled = (A.pattern.counts > 0).float()[:, None].expand(6, WEIGHTS)
    torch.testing.assert_close(segment_sum(p, A.pattern), filled)
    shift = spread(A.pattern, 1000 * torch.randn(6, WEIGHTS))
    torch.testing.assert_close(segment_softmax(s + shift, A.pattern), p, atol=1e-3, rtol=1e-3)


def test_the_same_numbers_again(device: str) -> None:
    matrix = random_matrix(200, 200, 5000, torch.float32).to(device)
    x = torch.randn(200, 16, device=device, requires_grad=True)
    values = matrix.values.clone().requires_grad_()

    def once() -> list[Tensor]:
        out = matrix.with_values(values) @ x
        return [out, *torch.autograd.grad(out.square().sum(), (values, x))]

    first = once()
    assert all(torch.equal(a, b) for _ in range(5) for a, b in zip(first, once()))


# --- construction -----------------------------------------------------------------------------------------------------


def test_adjacency_sums_over_incoming_edges_as_pyg_does() -> None:
    utils = pytest.importorskip("torch_geometric.utils")
    g = torch.Generator().manual_seed(3)
    edge_index, attributes = torch.randint(0, 9, (2, 40), generator=g), torch.randn(40, generator=g)
    x = torch.randn(10, CHANNELS, generator=g)
    matrix, order = adjacency(edge_index, 10, attributes)
    expected = utils.scatter(attributes[:, None] * x[edge_index[0]], edge_index[1], 0, 10, "sum")
    torch.testing.assert_close(matrix @ x, expected)
    assert torch.equal(matrix.col, edge_index[0][order])
    assert torch.equal(matrix.row, edge_index[1][order])
    torch.testing.assert_close(adjacency(edge_index, 10)[0].with_values(attributes[order]) @ x, expected)


def test_block_diagonal_is_each_block_alone() -> None:
    blocks = [random_matrix(n, n + 1, 4 * n, seed=n) for n in (3, 1, 7)]
    whole = Sparse.block_diagonal(blocks)
    assert torch.equal(whole.to_dense(), torch.block_diag(*(b.to_dense() for b in blocks)))
    fresh = Pattern(whole.pattern.rowptr, whole.pattern.col, whole.shape[1])
    for name in ("t_rowptr", "t_col", "t_perm", "row"):
        assert torch.equal(getattr(whole.pattern, name), getattr(fresh, name)), name
    assert Sparse.block_diagonal(blocks[:1]) is blocks[0]
    x = torch.randn(whole.shape[1], CHANNELS, dtype=torch.float64)
    alone = [b @ part for b, part in zip(blocks, x.split([b.shape[1] for b in blocks]))]
    torch.testing.assert_close(whole @ x, torch.cat(alone))


def test_to_takes_what_a_tensor_does() -> None:
    A = random_matrix(dtype=torch.float32)
    for where in ((torch.float64,), ("cpu", torch.float64), (torch.ones(1).double(),)):
        assert torch.equal(A.to(*where).values, A.values.double())
        assert A.to(*where).pattern is A.pattern


def test_the_transpose_of_the_transpose_when_the_first_is_gone() -> None:
    T = random_matrix(seed=4).pattern.transposed  # only the transpose is kept
    assert torch.equal(T.transposed.t_perm, random_matrix(seed=4).pattern.t_perm)
    assert T.to("cpu") is T
    assert not T._kept  # what only second derivatives need is not made for it
    assert torch.equal(Pattern(T.rowptr, T.col, T.shape[1]).t_perm, T.t_perm)
    assert torch.equal(Pattern(T.rowptr, T.col, T.shape[1]).row, T.row)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_and_pytrees(copied: Callable[[Sparse], Sparse]) -> None:
    matrix = random_matrix()
    x = torch.randn(5, CHANNELS, dtype=torch.float64, requires_grad=True)
    (matrix @ x).sum().backward()  # fills what is kept
    y = torch.randn(6, dtype=torch.float64)
    for other in (copied(matrix), copied(matrix.T).T, torch.utils._pytree.tree_map(lambda t: t.clone(), matrix)):
        assert torch.equal(other @ x, matrix @ x)
        assert torch.equal(other.T @ y, matrix.T @ y)


def test_autocast_promotes() -> None:
    matrix = random_matrix(dtype=torch.float32)
    x = torch.randn(5, 2).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = matrix @ x
        assert y.dtype == torch.float32
        assert (matrix.to(dtype=torch.bfloat16) @ x.detach().float()).dtype == torch.float32
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, matrix.to_dense().sum(0)[:, None].expand(5, 2).bfloat16())


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: A @ torch.randn(4, 2).double(), r"\(6, 5\) times a signal of 4 rows"),
        (lambda: A @ torch.randn(5, 2), "float64 times a signal of torch.float32"),
        (lambda: A @ torch.ones(5, dtype=torch.long), "torch.int64.*floating-point"),
        (lambda: A @ torch.ones(5, 2, dtype=torch.float64, device="meta"), "values on cpu.*signal on meta"),
        (lambda: A.with_values(torch.ones(3)), "3 values for a pattern of 16 entries"),
        (lambda: multiply_sum(A, torch.ones(5, 2, 2).double()), r"got \(16,\) and \(5, 2, 2\)"),
        (lambda: multiply_each(A, torch.ones(5, 2).double()), r"multiply_each.*got \(16,\) and \(5, 2\)"),
        (lambda: sampled(A.pattern, torch.ones(6, 2, 3), torch.ones(5, 4, 3)), r"got \(6, 2, 3\), \(5, 4, 3\)"),
        (lambda: sampled(A.pattern, torch.ones(6, 2), torch.ones(5, 3)), r"got \(6, 2\), \(5, 3\)"),
        (lambda: sampled(A.pattern, torch.ones(6, 2), torch.ones(5, 2).double()), "b torch.float64"),
        (lambda: segment_softmax(torch.ones(3), A.pattern), r"each of 16 entries, got shape \(3,\)"),
        (lambda: segment_sum(torch.ones(16, dtype=torch.long), A.pattern), "torch.int64"),
        (lambda: segment_sum(torch.ones(16, device="meta"), A.pattern), "values are on meta, the pattern on cpu"),
        (lambda: spread(A.pattern, torch.ones(5)), "expected 6 rows on cpu, got 5"),
        (lambda: adjacency(torch.tensor([[0, 1], [1, 7]]), 5), "0 to 7, expected 0 to 4"),
        (lambda: adjacency(torch.tensor([0, 1]), 5), r"edge_index: expected shape \(2, E\)"),
        (lambda: adjacency(torch.zeros(2, 3).long(), 5, torch.ones(2)), "each of 3 edges, got 2"),
        (
            lambda: Sparse.from_coo(torch.tensor([-1]), torch.tensor([0]), torch.ones(1), (2, 2)),
            "row out of range: indices -1 to -1, expected 0 to 1",
        ),
        (lambda: A @ A, "expected a Sparse times a Tensor, got a Sparse and a Sparse"),
        (lambda: A @ np.ones((5, 2)), "got a Sparse and a ndarray"),
        (lambda: A * torch.ones(16), r"\* a tensor of shape \(16,\): expected a number"),
        (lambda: Sparse.from_coo(A.row, A.col, torch.ones(17), A.shape), "16 rows, 16 columns and 17 values"),
        (
            lambda: Sparse.from_coo(A.row, A.col.double(), A.values, A.shape),
            "column holds torch.float64, expected indices",
        ),
        (lambda: adjacency(torch.zeros(2, 3), 5), "edge_index holds torch.float32, expected vertex numbers"),
        (lambda: Sparse.block_diagonal([]), "no blocks"),
        (lambda: Sparse.block_diagonal([A, A.to(dtype=torch.float32)]), "one dtype"),
    ],
)
def test_bad_input_is_one_clear_error(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(CotanError, match=words):
        wrong()


# --- copies of one matrix ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [0, 1, 8, 9, (2, 3), ()])
def test_copies_of_one_matrix_are_each_alone(channels, device: str) -> None:
    """With few channels the copies stand beside them, with many they follow each other."""
    A = random_matrix().to(device)
    copies = Sparse.block_diagonal([A] * 3)
    assert torch.equal(copies.to_dense(), torch.block_diag(*[A.to_dense()] * 3))
    tail = (channels,) if isinstance(channels, int) else channels
    x = torch.randn(15, *tail, dtype=torch.float64, device=device, requires_grad=True)
    alone = torch.cat([A @ part for part in x.split(5)])
    assert (copies @ x).shape == alone.shape == (18, *tail)
    assert torch.allclose(copies @ x, alone)
    u = torch.randn_like(alone)
    here, there = (torch.autograd.grad(y, x, u)[0] for y in (copies @ x, alone))
    assert torch.allclose(here, there)
    assert gradcheck(lambda x: copies @ x, (x,), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(lambda x: copies @ x, (x,), fast_mode=True)


def test_copies_are_made_once_and_kept_for_two_batch_sizes() -> None:
    A = random_matrix()
    three = Sparse.block_diagonal([A] * 3)
    assert Sparse.block_diagonal([A] * 3) is three
    two = Sparse.block_diagonal([A] * 2)
    assert Sparse.block_diagonal([A] * 3) is three
    assert Sparse.block_diagonal([A] * 4) is not two
    assert Sparse.block_diagonal([A] * 3) is not three
    other = random_matrix()
    assert torch.equal(Sparse.block_diagonal([A, other]).to_dense(), torch.block_diag(A.to_dense(), other.to_dense()))


def test_copies_of_values_that_learn_are_made_anew() -> None:
    A = random_matrix()
    A = A.with_values(A.values.clone().requires_grad_())
    x = torch.randn(10, 1, dtype=torch.float64)
    for _ in range(2):  # a kept one would have no second backward
        (Sparse.block_diagonal([A, A]) @ x).sum().backward()
    assert A.values.grad is not None


def test_copies_made_in_inference_mode_can_be_trained_with() -> None:
    A = random_matrix()
    x = torch.randn(10, 1, dtype=torch.float64, requires_grad=True)
    with torch.inference_mode():
        expected = Sparse.block_diagonal([A, A]) @ x
    y = Sparse.block_diagonal([A, A]) @ x
    y.sum().backward()
    assert torch.equal(y, expected)


@pytest.mark.cuda
def test_sampled_in_bfloat16_on_cuda(gpu: torch.device) -> None:
    """Torch's own kernel is not for it there."""
    pattern = random_matrix().pattern
    a, b = torch.randn(6, CHANNELS).bfloat16(), torch.randn(5, CHANNELS).bfloat16()
    found = sampled(pattern.to(gpu), a.to(gpu), b.to(gpu))
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float().cpu(), sampled(pattern, a.float(), b.float()), atol=5e-2)


@pytest.mark.cuda
def test_a_pattern_that_is_there_stays_itself(gpu: torch.device) -> None:
    pattern = random_matrix().pattern.to(gpu)
    assert pattern.to("cuda") is pattern.to(gpu) is pattern
    assert pattern.to("cpu") is not pattern


def test_copies_compile() -> None:
    copies = Sparse.block_diagonal([random_matrix()] * 2)
    x = torch.randn(10, 1, dtype=torch.float64)
    assert torch.allclose(compiled(lambda x: copies @ x)(x), copies @ x)


def test_copies_are_let_go() -> None:
    A = random_matrix()
    copies = Sparse.block_diagonal([A, A])
    copies @ torch.randn(10, 1, dtype=torch.float64)
    gc.disable()
    try:
        gone = weakref.ref(A.values), weakref.ref(copies.pattern.col)
        del A, copies
        assert [r() for r in gone] == [None, None]  # no cycle
    finally:
        gc.enable()


@pytest.mark.parametrize("reduce", [segment_max, segment_softmax])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_reductions_of_many_at_once_are_those_of_each(reduce, dim):
    row, col = torch.tensor([[0, 0, 1, 3, 3, 3], [0, 1, 1, 0, 1, 2]])
    pattern = Sparse.from_coo(row, col, torch.ones(6), (4, 3)).pattern
    s = torch.randn(5, 6, 2).movedim(0, dim)
    each = torch.stack([reduce(one.contiguous(), pattern) for one in s.unbind(dim)])
    assert torch.equal(torch.vmap(lambda one: reduce(one, pattern), in_dims=dim)(s), each)


@pytest.mark.parametrize("rows", [0, 1, 60])
def test_numbers_of_rows_are_those_of_unique(rows: int) -> None:
    x = torch.randint(-1, 2, (rows, 3)) * torch.tensor([1.0, -1.0, 0.5])  # some zeros are negative
    assert torch.equal(numbered(x), torch.unique(x, dim=0, return_inverse=True)[1])


def test_many_columns_are_numbered():
    rows = torch.arange(300)[:, None].repeat(1, 9).flip(0)  # 300^9 is beyond 64 bits
    rows[0] = rows[1]
    assert numbered(rows).tolist() == [298, *range(298, -1, -1)]


@pytest.mark.parametrize("columns", [(), (2,)])
@pytest.mark.parametrize("phase", [0, 1j])
def test_symmetric_and_hermitian_systems_are_solved(phase, columns):
    """A random graph whose edges turn by a phase; the solution by dense elimination."""
    g = np.random.default_rng(0)
    around = sparse.coo_array(np.where(g.uniform(size=(40, 40)) < 0.1, 1, 0)).astype(type(phase))
    around.data = np.exp(phase * g.uniform(0, 6, around.nnz))
    A = around + around.conj().T + sparse.diags_array(g.uniform(10, 30, 40))
    b = g.standard_normal((40, *columns)).astype(A.dtype)
    np.testing.assert_allclose(symmetric_lu(A).solve(b), np.linalg.solve(A.toarray(), b), atol=1e-13)


def test_a_matrix_is_not_changed_in_place():
    A = Sparse.from_coo(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([1.0, 2.0]), (2, 2))
    transposed = A.T.to_dense()
    for name in ("values", "pattern"):
        with pytest.raises(CotanError, match=rf"a Sparse keeps its {name}: A\.with_values\(values\) is another"):
            setattr(A, name, getattr(A, name))
    assert torch.equal(A.with_values(torch.tensor([5.0, 6.0])).T.to_dense(), torch.tensor([[0.0, 6.0], [5.0, 0.0]]))
    assert torch.equal(A.T.to_dense(), transposed)
