import math

import numpy as np
import pytest
import torch
from scipy.sparse import diags_array
from scipy.sparse.linalg import spsolve

import cotan
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.operators.shifted_solve import Factorised, iterated

TIMES = torch.tensor([0.0, 1e-3, 0.1, 50.0], dtype=torch.float64)


def matrices(pos, face):
    return cotan_laplacian(pos, face), barycentric_mass(pos, face)


def signal(size, channels=4):
    return torch.randn(size, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_each_column_is_scipys(bumpy):
    L, m = matrices(*bumpy(2))
    b = signal(len(m))
    y = cotan.shifted_solve(L, m, TIMES, b)
    for c, t in enumerate(TIMES.tolist()):
        there = spsolve((diags_array(m.numpy()) + t * L.to_scipy()).tocsc(), b[:, c].numpy())
        np.testing.assert_allclose(y[:, c], there, rtol=1e-7, atol=1e-7 * np.abs(there).max())


def test_a_batch_is_its_shapes(bumpy):
    shapes = [matrices(*bumpy(level)) for level in (0, 2, 1)]
    b = [signal(len(m)) for _, m in shapes]
    together = cotan.shifted_solve(
        cotan.Sparse.block_diagonal([L for L, _ in shapes]), torch.cat([m for _, m in shapes]), TIMES, torch.cat(b)
    )
    alone = torch.cat([cotan.shifted_solve(L, m, TIMES, right) for (L, m), right in zip(shapes, b)])
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-8)


def test_conjugate_gradients_agree_with_the_factorisation(bumpy):
    L, m = matrices(*bumpy(2))
    b, t = signal(len(m)), torch.full((4,), 0.1, dtype=torch.float64)
    torch.testing.assert_close(iterated(L, m, t, b), Factorised()(L, m, t, b), rtol=1e-7, atol=1e-7)


def test_float32_is_close_to_float64(bumpy):
    L, m = matrices(*bumpy(2))
    b = m[:, None] * signal(len(m))
    near = cotan.shifted_solve(L.to(dtype=torch.float32), m.float(), TIMES.float(), b.float())
    assert near.dtype == torch.float32
    torch.testing.assert_close(near.double(), cotan.shifted_solve(L, m, TIMES, b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-4, 1, 1e4])
def test_what_is_left_of_each_column_in_any_unit(bumpy, unit):
    """Of the largest |M^-1 b| of that column, however long the edges are and whatever the unit of b is."""
    pos, face = bumpy(2)
    L, m = (part.to(dtype=torch.float32) for part in matrices(unit * pos, face))
    b = unit * m[:, None] * signal(len(m)).float() * torch.tensor([1.0, 1.0, 1e-4, 1e-4])
    t = unit**2 * TIMES.clamp(max=0.1).float()
    y = cotan.shifted_solve(L, m, t, b)
    left = ((b - m[:, None] * y - t * (L @ y)) / m[:, None]).abs().amax(0)
    assert (left <= 2e-6 * (b / m[:, None]).abs().amax(0)).all()


@pytest.mark.parametrize("times", [torch.tensor(0.3, dtype=torch.float64), TIMES[1:]], ids=["one", "each"])
def test_derivatives(bumpy, times):
    L, m = matrices(*bumpy(0))

    def solve(values, mass, time, right):
        symmetric = L.with_values((values + L.with_values(values).T.values) / 2)
        return cotan.shifted_solve(symmetric, mass, time, right)

    inputs = [t.clone().requires_grad_() for t in (L.values, m, times, signal(len(m), 3))]
    assert torch.autograd.gradcheck(solve, inputs, check_forward_ad=True, fast_mode=True)
    if times.ndim:
        assert torch.autograd.gradgradcheck(solve, inputs, fast_mode=True)
    for place in range(4):
        along = torch.randn_like(inputs[place])

        def moved(x, place=place):
            return solve(*(x if i == place else t.detach() for i, t in enumerate(inputs)))

        value, change = torch.func.jvp(moved, (inputs[place].detach(),), (along,))
        torch.testing.assert_close(value, solve(*inputs).detach())
        by_reverse = torch.autograd.grad(moved(inputs[place]), inputs[place], torch.ones_like(value))[0]  # it alone
        torch.testing.assert_close(change.sum(), (by_reverse * along).sum())


@pytest.mark.parametrize("time", [0.1, TIMES], ids=["one", "each"])
def test_vmap_is_one_solution_each(bumpy, time):
    L, m = matrices(*bumpy(1))
    several = torch.stack([signal(len(m)), signal(len(m)).cos()], 1)

    def solve(right, mass):
        return cotan.shifted_solve(L, mass, time, right)

    found = torch.func.vmap(solve, in_dims=(1, None))(several, m)
    torch.testing.assert_close(found, torch.stack([solve(several[:, i], m) for i in range(2)]))
    masses = torch.stack([m, 2 * m])
    found = torch.func.vmap(solve, in_dims=(1, 0))(several, masses)
    torch.testing.assert_close(found, torch.stack([solve(several[:, i], masses[i]) for i in range(2)]))


def test_the_derivatives_of_torch_func_are_autograds(bumpy):
    L, m = matrices(*bumpy(0))
    b = signal(len(m), 1)

    def solve(mass):
        return cotan.shifted_solve(L, mass, 0.3, b).square().sum(1)

    expected = torch.autograd.functional.jacobian(solve, m)
    torch.testing.assert_close(torch.func.jacrev(solve)(m), expected)
    torch.testing.assert_close(torch.func.jacfwd(solve)(m), expected)


def test_what_is_not_finite_stays_in_its_column(bumpy):
    L, m = matrices(*bumpy(1))
    b = signal(len(m))
    expected = cotan.shifted_solve(L, m, TIMES, b)
    b[3, 1] = torch.nan
    y = cotan.shifted_solve(L, m, TIMES, b)
    assert y[:, 1].isnan().any()
    torch.testing.assert_close(y[:, [0, 2, 3]], expected[:, [0, 2, 3]], rtol=1e-8, atol=1e-8)


def test_shapes_are_checked(bumpy):
    L, m = matrices(*bumpy(0))
    with pytest.raises(
        cotan.CotanError, match=r"time \(3,\) and right \(\d+, 4\), expected \(\) or \(C,\) and \(V, C\)"
    ):
        cotan.shifted_solve(L, m, TIMES[:3], signal(len(m)))
    with pytest.raises(
        cotan.CotanError, match=r"for a mass \(12,\) \(V,\), of a floating-point dtype, got torch.int64"
    ):
        cotan.shifted_solve(L, m, 0.5, torch.ones(12, 2, dtype=torch.long))  # t would be 0
    with pytest.raises(cotan.CotanError, match=r"right \(12, 4\), .* for a mass \(11,\)"):
        cotan.shifted_solve(L, m[1:], 0.5, signal(12))
    for time in (-1.0, math.nan, math.inf):
        with pytest.raises(cotan.CotanError, match=f"time={time}, expected a number of at least 0"):
            cotan.shifted_solve(L, m, time, signal(12))


@pytest.mark.cuda
def test_cuda(bumpy, gpu):
    L, m = matrices(*bumpy(2))
    b = signal(len(m))
    there = cotan.shifted_solve(L.to("cuda"), m.cuda(), TIMES.cuda(), b.cuda())
    torch.testing.assert_close(there.cpu(), cotan.shifted_solve(L, m, TIMES, b), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("time", [TIMES, 0.1], ids=["each column", "one"])
def test_few_digits(bumpy, time):
    """bfloat16 in and out, solved in float32."""
    L, m = matrices(*bumpy(1))
    b = signal(len(m))
    narrow = cotan.shifted_solve(L.to(dtype=torch.bfloat16), m.bfloat16(), time, b.bfloat16())
    assert narrow.dtype == torch.bfloat16
    rounded = L.to(dtype=torch.bfloat16).to(dtype=torch.float64), m.bfloat16().double(), time, b.bfloat16().double()
    torch.testing.assert_close(narrow.double(), cotan.shifted_solve(*rounded), rtol=0.01, atol=0.01)
