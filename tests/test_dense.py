"""`cotan.linear` against torch's, where it goes another way and where not."""

import pytest
import torch
from torch.nn import functional

import cotan
from cotan.dense import add_linear, cross

MANY, FEW = 3000, 5  # rows: with 64 x 64 weights, 12 million products, and few


def inputs(rows, *, bias=True, in_dim=64, out_dim=64, dtype=torch.float32):
    torch.manual_seed(0)
    tensors = torch.randn(rows, in_dim), torch.randn(out_dim, in_dim), torch.randn(out_dim) if bias else None
    return [None if t is None else t.to(dtype).requires_grad_() for t in tensors]


def oracle(*tensors):
    """In float64."""
    return functional.linear(*(None if t is None else t.double() for t in tensors)).float()


@pytest.mark.parametrize("rows", [MANY, FEW, 0])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torch_s_with_first_and_second_derivatives(rows, bias):
    tensors = inputs(rows, bias=bias)
    leaves = [t for t in tensors if t is not None]
    cotangent = torch.randn(rows, 64)
    found = []
    for function in (cotan.linear, oracle):
        y = function(*tensors)
        first = torch.autograd.grad((y.square() * cotangent).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum() + first[1].square().sum() / MANY, leaves)
        found.append([y, *first, *second])
    for ours, exact in zip(*found, strict=True):
        size = float(exact.detach().abs().max()) if rows else 0
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5 * size)


def test_rows_in_any_arrangement():
    x, weight, bias = (t.detach() for t in inputs(MANY))
    expected = functional.linear(x, weight, bias)
    wide = torch.cat([x, x], 1)
    for there in (wide[:, :64], x.T.contiguous().T, x.view(100, 30, 64), x.view(100, 30, 64).transpose(0, 1)):
        y = cotan.linear(there, weight.T.contiguous().T, bias)
        assert y.shape == there.shape
        torch.testing.assert_close(y, functional.linear(there, weight, bias), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(cotan.linear(x[:, None], weight, bias)[:, 0], expected, rtol=1e-5, atol=1e-4)


def test_one_not_a_number_stays_in_its_row():
    x, weight, bias = (t.detach() for t in inputs(MANY))
    x[7, 3] = float("nan")
    y = cotan.linear(x, weight, bias)
    assert y[7].isnan().all()
    assert int(y.isnan().any(1).sum()) == 1


def test_other_ways_to_differentiate():
    x, weight, bias = inputs(MANY)
    tangent = torch.randn_like(x)
    _, change = torch.func.jvp(lambda x: cotan.linear(x, weight, bias), (x,), (tangent,))
    torch.testing.assert_close(change, functional.linear(tangent, weight), rtol=1e-5, atol=1e-4)
    many = torch.func.vmap(lambda w: cotan.linear(x, w, bias))(torch.stack([weight, 2 * weight]))
    torch.testing.assert_close(many[1], cotan.linear(x, 2 * weight, bias), rtol=1e-5, atol=1e-4)


def test_module_compiles_in_one_graph_and_keeps_torch_s_weights():
    module = cotan.Linear(64, 64)
    module.load_state_dict(torch.nn.Linear(64, 64).state_dict())
    x = torch.randn(MANY, 64, requires_grad=True)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    leaves = [x, *module.parameters()]
    for a, b in zip(*(torch.autograd.grad(f(x).sum(), leaves) for f in (module, compiled)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    tensors = inputs(MANY, dtype=dtype)
    assert torch.equal(cotan.linear(*tensors), functional.linear(*tensors))


def test_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cotan.linear(*inputs(MANY)).dtype == torch.bfloat16


def test_the_same_numbers_again():
    x, weight, bias = inputs(MANY)
    runs = [torch.autograd.grad(cotan.linear(x, weight, bias).sin().sum(), [x, weight, bias]) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_errors():
    for rows in (MANY, FEW):
        with pytest.raises(RuntimeError, match=f"shapes cannot be multiplied .{rows}x64 and 65x64"):
            cotan.linear(torch.ones(rows, 64), torch.ones(64, 65))


@pytest.mark.parametrize("columns", [(24, 16), (16, 24), (24, 3)])
@pytest.mark.parametrize("rows", [40_000, FEW, 0])
def test_cross_is_a_product_with_first_and_second_derivatives(rows, columns):
    torch.manual_seed(0)
    a, b = (torch.randn(rows, c).requires_grad_() for c in columns)
    found = []
    for function in (cross, lambda a, b: (a.double().T @ b.double()).float()):
        y = function(a, b)
        first = torch.autograd.grad(y.square().sum(), [a, b], create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [a, b])
        found.append([y, *first, *second])
    for ours, exact in zip(*found, strict=True):
        size = float(exact.detach().abs().max()) if exact.numel() else 0
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("rows", [40_000, FEW])
def test_add_linear_adds(rows):
    x, weight, bias = (t.detach() for t in inputs(rows))
    y = torch.randn(rows, 64)
    expected = y + functional.linear(x, weight, bias)
    add_linear(y, x, weight, bias)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-4)
