"""Dense products: torch's numbers, whichever library multiplies."""

import pytest
import torch
from torch.nn.functional import linear as by_torch

import cotan
from cotan import dense


@pytest.fixture(autouse=True)
def onednn(monkeypatch):
    """By oneDNN also where MKL is as wide, and where there is little to do."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("a torch without oneDNN")
    monkeypatch.setattr(dense, "wider", lambda: True)
    monkeypatch.setattr(dense, "in_halves", lambda: False)
    monkeypatch.setattr(dense, "WORTH", 1)


def gradients(function, *inputs, g):
    inputs = [t.clone().requires_grad_() for t in inputs]
    y = function(*inputs)
    return [y, *torch.autograd.grad(y, inputs, g)]


@pytest.mark.parametrize("rows", [1, 511, 640, 1000, 2**14 + 3])
@pytest.mark.parametrize(("a", "b"), [(64, 64), (48, 16), (3, 130)])
def test_values_and_gradients_are_those_of_torch(rows, a, b):
    x, weight, bias, g = torch.randn(rows, a), torch.randn(b, a), torch.randn(b), torch.randn(rows, b)
    ours, theirs = gradients(cotan.linear, x, weight, bias, g=g), gradients(by_torch, x, weight, bias, g=g)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * rows**0.5)


def test_rows_are_the_same_in_one_piece_and_in_parts(monkeypatch):
    x, weight, bias = torch.randn(1003, 300), torch.randn(7, 300), torch.randn(7)
    monkeypatch.setattr(dense, "_known", set())
    whole = dense.rows_times(x, weight, bias)
    assert dense._known == {1003}
    monkeypatch.setattr(dense, "_known", set(range(dense.KNOWN)))
    assert torch.equal(dense.rows_times(x, weight, bias), whole)
    assert len(dense._known) == dense.KNOWN


def test_parts_of_wider_matrices_and_expanded_gradients():
    wide, weight = torch.randn(600, 200), torch.randn(40, 200)
    for x, w in ((wide[:, 50:90], weight[:, 10:50]), (wide.T[:90].T, weight[:, :90])):
        g = torch.ones(1, 1).expand(600, 40)
        for mine, other in zip(gradients(cotan.linear, x, w, g=g), gradients(by_torch, x, w, g=g), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)
    a, b = wide[:, :30], wide[:, 100:]
    torch.testing.assert_close(dense.cross(a, b), a.T @ b, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(dense.cross(b, a), b.T @ a, rtol=1e-4, atol=1e-3)


def test_only_what_learns_gets_a_gradient_and_a_second_one():
    layer, x = cotan.Linear(8, 8), torch.randn(600, 8, requires_grad=True)
    layer.weight.requires_grad_(False)
    (first,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    y = layer(x)
    expected = 6 * (y * layer.weight.sum(1)) @ layer.weight  # of sum_i (d/dx_i) y^3 = 3 y^2 W
    torch.testing.assert_close(second, expected, rtol=1e-4, atol=1e-4)


def test_forward_mode_vmap_and_the_compiler_take_torchs():
    layer, x = cotan.Linear(8, 4), torch.randn(600, 8)
    _, tangent = torch.func.jvp(layer, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, layer.weight.sum(1).expand(600, 4))
    assert torch.func.vmap(layer)(torch.stack([x, x])).shape == (2, 600, 4)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))


def test_other_inputs_are_torchs_own():
    layer = cotan.Linear(8, 4)
    assert layer(torch.randn(2, 600, 8)).shape == (2, 600, 4)
    assert layer.double()(torch.randn(600, 8, dtype=torch.float64)).dtype == torch.float64
    assert layer(torch.zeros(0, 8, dtype=torch.float64)).shape == (0, 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        cotan.Linear(9, 4)(torch.randn(600, 8))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_autocast(dtype):
    x, weight = torch.randn(600, 8), torch.randn(4, 8)
    assert torch.equal(cotan.linear(x.to(dtype), weight.to(dtype)), by_torch(x.to(dtype), weight.to(dtype)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert cotan.linear(x, weight).dtype == torch.bfloat16


def test_one_not_a_number_stays_in_its_row():
    x = torch.randn(1000, 64)
    x[7, 3] = float("nan")
    y = cotan.linear(x, torch.randn(64, 64))
    assert y.isnan().any(1).nonzero().flatten().tolist() == [7]


def test_the_same_numbers_again():
    x, weight, bias, g = torch.randn(3000, 64), torch.randn(64, 64), torch.randn(64), torch.randn(3000, 64)
    runs = [gradients(cotan.linear, x, weight, bias, g=g) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("columns", [(24, 16), (16, 24), (24, 3), (200, 40), (64, 64)])
@pytest.mark.parametrize("rows", [2**14 + 5, 2104, 8 * 1021, 1000, 5, 0])  # 2104 = 8 * 263, no multiple of 64
@pytest.mark.parametrize("halves", [False, True])
def test_cross_is_a_product(rows, columns, halves, monkeypatch):
    monkeypatch.setattr(dense, "in_halves", lambda: halves)
    a, b = (torch.randn(rows, c) for c in columns)
    exact = (a.double().T @ b.double()).float()
    torch.testing.assert_close(dense.cross(a, b), exact, rtol=1e-4, atol=1e-5 * max(1, rows) ** 0.5)


def test_what_came_before_changes_nothing(monkeypatch):
    inputs, g = (torch.randn(2103, 64), torch.randn(64, 64), torch.randn(64)), torch.randn(2103, 64)
    runs = []
    for before in (set(), set(range(dense.KNOWN))):
        monkeypatch.setattr(dense, "_known", before)
        runs.append(gradients(cotan.linear, *inputs, g=g))
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_who_multiplies(monkeypatch):
    """oneDNN, but few rows or multiplications, and where it is not wider."""
    monkeypatch.setattr(dense, "by_onednn", None)
    layer = cotan.Linear(8, 4)
    with pytest.raises(TypeError):
        layer(torch.randn(dense.FEW, 8))
    layer(torch.randn(dense.FEW - 1, 8)).sum().backward()
    monkeypatch.setattr(dense, "WORTH", dense.FEW * 8 * 4 + 1)
    layer(torch.randn(dense.FEW, 8)).sum().backward()
    monkeypatch.setattr(dense, "WORTH", 1)
    monkeypatch.setattr(dense, "wider", lambda: False)
    layer(torch.randn(dense.FEW, 8)).sum().backward()


@pytest.mark.parametrize(
    ("text", "halves"),
    [
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17", True),
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 25", False),
        ("AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD", True),
        ("AMD64 Family 250 Model 97 Stepping 2, AuthenticAMD", False),
    ],
)
def test_who_has_512_bits_in_halves(text, halves, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(dense, "processor", lambda: text)
    dense.in_halves.cache_clear()
    assert dense.in_halves() == halves
    dense.in_halves.cache_clear()
