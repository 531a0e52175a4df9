"""The node `spectrum`: analytic surfaces, what it covers, its derivatives through the mesh."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from cotan.operators.edge_index import on_rim
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.operators.spectrum import first_pairs, spectrum
from cotan.operators.topology import connected
from cotan.sparse import Sparse
from cotan.spectrum import Spectrum


def of_mesh(pos, face, **options):
    return spectrum(cotan_laplacian(pos, face), barycentric_mass(pos, face), **options)


def sphere(level):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(level)
    return torch.from_numpy(np.array(mesh.vertices)), torch.from_numpy(np.array(mesh.faces).T.copy()).long()


def square(n):
    x, y = torch.meshgrid(*[torch.linspace(0, 1, n + 1).double()] * 2, indexing="ij")
    i = (torch.arange(n)[:, None] * (n + 1) + torch.arange(n)).flatten()
    face = torch.cat([torch.stack([i, i + n + 1, i + 1]), torch.stack([i + n + 1, i + n + 2, i + 1])], 1)
    return torch.stack([x.flatten(), y.flatten(), torch.zeros((n + 1) ** 2).double()], 1), face


def order(errors):
    """The exponent p in error ~ h^p, h halved each time."""
    return [math.log2(float(a / b)) for a, b in pairwise(errors)]


def test_sphere_converges_at_second_order():
    exact = torch.tensor([float(l * (l + 1)) for l in range(5) for _ in range(2 * l + 1)]).double()
    errors = [(of_mesh(*sphere(level), k=25).values - exact).abs().max() for level in (2, 3, 4)]
    assert errors[-1] < 0.01 * 20
    assert all(p > 1.8 for p in order(errors))


def test_square_with_boundary_converges_at_second_order():
    """Neumann: pi^2 (a^2 + b^2)."""
    whole = torch.arange(8).double() ** 2
    exact = (math.pi**2 * (whole[:, None] + whole)).flatten().sort().values[:12]
    errors = [(of_mesh(*square(n), k=12).values - exact).abs().max() for n in (8, 16, 32)]
    assert all(p > 1.8 for p in order(errors))


# Which of seven triangles meet across each side, in two ways (Buser, Conway, Doyle and Semmler 1994).
DRUMS = (
    (((0, 1), (2, 5)), ((0, 2), (4, 3)), ((0, 4), (1, 6))),
    (((0, 4), (2, 3)), ((0, 1), (4, 6)), ((0, 2), (1, 5))),
)


def drum(glued, n=6):
    """Seven triangles of n * n faces each, every one the mirror image of that across its side."""
    i, j = torch.tensor([(i, j) for i in range(n + 1) for j in range(n + 1 - i)]).T
    lattice = torch.stack([i, j, n - i - j], 1)
    number = torch.full((n + 2, n + 2), -1).index_put((i, j), torch.arange(len(i)))
    right, above = number[1:, :-1].flatten(), number[:-1, 1:].flatten()
    face = torch.cat([torch.stack([k.flatten(), right, above]) for k in (number[:-1, :-1], number[1:, 1:])], 1)
    face = face[:, (face >= 0).all(0)]
    sides = [(side, a, b) for side, pairs in enumerate(glued) for pair in pairs for a, b in (pair, pair[::-1])]
    corners = {0: torch.tensor([[0.0, 0, 0], [1, 0, 0], [0.3, 0.9, 0]]).double()}
    while len(corners) < 7:
        for side, a, b in sides:
            if a in corners and b not in corners:
                start, along = corners[a][side], corners[a][(side + 1) % 3] - corners[a][side]
                offset = corners[a] - start
                corners[b] = start + 2 * (offset @ along / along.square().sum())[:, None] * along - offset
    at = [(lattice[:, side - 1] == 0).nonzero()[:, 0] for side in range(3)]
    ends = torch.cat([torch.stack([a * len(i) + at[side], b * len(i) + at[side]]) for side, a, b in sides], 1)
    count, label = connected(7 * len(i), *ends)
    pos = torch.zeros(count, 3).double()
    pos[label] = torch.cat([lattice.double() / n @ corners[t] for t in range(7)])
    return pos, label[torch.cat([face + t * len(i) for t in range(7)], 1)]


def test_isospectral_drums():
    """Domains of one spectrum that are not congruent, to rounding also as meshes, with a free rim and with a fixed one."""
    free, fixed, inertia = [], [], []
    for pos, face in map(drum, DRUMS):
        L, mass = cotan_laplacian(pos, face), barycentric_mass(pos, face)
        inner = ~on_rim(face, len(pos)).numpy()
        free.append(spectrum(L, mass, k=40).values)
        held = Sparse.from_scipy(L.to_scipy()[inner][:, inner])
        fixed.append(spectrum(held, mass[inner], k=40).values)
        inertia.append((mass[:, None] * (pos - mass @ pos / mass.sum()).square()).sum())
    assert not torch.isclose(*inertia, rtol=1e-3)
    torch.testing.assert_close(*free, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(*fixed, rtol=1e-9, atol=0)
    assert fixed[0][0] > 1


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize("spikes", [1, 3])
def test_vertices_that_only_faces_without_area_reach(level, spikes):
    """Zeros besides that of the constants, in one component: edges of such a face weigh nothing."""
    pos, face = sphere(level)
    own = torch.arange(spikes)
    face = torch.cat([face, torch.stack([own, len(pos) + own, own])], 1)
    pos = torch.cat([pos, 2 * pos[:spikes]])
    mass = barycentric_mass(pos, face)
    for k in (2, 8, 32):
        found = of_mesh(pos, face, k=k)
        gram = found.vectors.T @ (mass[:, None] * found.vectors)
        torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), atol=1e-12, rtol=0)
        assert (found.values < 1e-9).sum() == min(k, 1 + spikes)


def test_scale_acts_by_its_known_power():
    pos, face = sphere(2)
    small, large = of_mesh(pos, face, k=20), of_mesh(3 * pos, face, k=20)
    torch.testing.assert_close(large.values, small.values / 9, rtol=1e-9, atol=1e-12)


def test_a_larger_spectrum_answers_a_smaller():
    stored = of_mesh(*sphere(2), k=20)
    cut = first_pairs({"k": 20, "tolerance": 1e-6}, {"k": 7, "tolerance": 1e-6})(stored)
    assert isinstance(cut, Spectrum)
    torch.testing.assert_close(cut.values, stored.values[:7])
    assert cut.vectors.shape == (162, 7)
    assert first_pairs({"k": 7, "tolerance": 1e-6}, {"k": 20, "tolerance": 1e-6}) is None
    assert first_pairs({"k": 20, "tolerance": 1e-6}, {"k": 7, "tolerance": 1e-9}) is None
    assert first_pairs({"k": 20, "tolerance": 1e-9}, {"k": 7, "tolerance": 1e-6}) is not None


def test_eigenvalues_carry_gradients_to_the_vertices():
    """Moving along the gradient of lambda_1 changes it as predicted; the radius' share is known: lambda ~ r^-2."""
    pos, face = sphere(1)
    pos = pos * torch.tensor([1.0, 1.3, 1.7]).double()
    pos.requires_grad_()
    values = of_mesh(pos, face, k=6).values
    (gradient,) = torch.autograd.grad(values[1], pos)
    torch.testing.assert_close((gradient * pos).sum(), -2 * values[1])
    assert torch.autograd.gradcheck(lambda p: of_mesh(p, face, k=6).values, pos, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("heavy", [100, 700])
@pytest.mark.parametrize("small", [1e-9, 3e-10, 3e-11])
def test_the_residual_is_that_of_the_vectors_given(heavy, small):
    """A weight of 1e6 on a mass of next to nothing magnifies their last digit beyond the tolerance."""
    import scipy.sparse as sp

    pos, face = sphere(4)
    L, m = sp.csr_matrix(cotan_laplacian(pos, face).to_scipy()), barycentric_mass(pos, face)
    other = next(i for i in L[heavy].indices if i != heavy)
    ends = [heavy, other, heavy, other], [heavy, other, other, heavy]
    L = L + sp.csr_matrix(([1e6, 1e6, -1e6, -1e6], ends), shape=L.shape)
    m[heavy] = small
    try:
        found = spectrum(Sparse.from_scipy(L), m, k=8)
    except ValueError as refusal:
        assert "expected residuals up to 1e-06" in str(refusal)
        return
    m, values, vectors = m.numpy(), found.values.numpy(), found.vectors.numpy()
    error = np.linalg.norm((L @ vectors - m[:, None] * vectors * values) / np.sqrt(m)[:, None], axis=0)
    assert (error / values.clip(values[1])).max() < 1.1e-6
