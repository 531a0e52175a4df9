"""The eigensolvers against exact spectra, against each other, and against scipy."""

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from scipy.sparse import eye_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.sparse.linalg import ArpackNoConvergence
from torch.autograd import forward_ad
from torch.func import jacfwd, jacrev

from cotan.errors import CotanError
from cotan.operators import eigen, eigen_chebyshev, eigen_dense, eigen_sparse, factor
from cotan.operators.columns import Columns
from cotan.operators.eigen import eigenpairs
from cotan.operators.eigen_chebyshev import chebyshev_pairs
from cotan.operators.eigen_lanczos import _next, lanczos
from cotan.operators.eigen_refine import Shifted
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.sparse import Sparse, symmetric_lu

from .conftest import real_mesh


def graph(edges, size, weights=None):
    """L = D - W of an undirected graph, each edge named once."""
    i, j = torch.as_tensor(edges).T
    w = torch.ones(len(i), dtype=torch.float64) if weights is None else weights
    index = [torch.cat(parts) for parts in ([i, j, i, j], [j, i, i, j])]
    return Sparse.from_coo(*index, torch.cat([-w, -w, w, w]), (size, size), sum_duplicates=True)


def cycle(n):
    return graph([(i, (i + 1) % n) for i in range(n)], n)


def torus(n):
    number = np.arange(n * n).reshape(n, n)
    pairs = [np.stack([number, np.roll(number, 1, axis)], -1).reshape(-1, 2) for axis in (0, 1)]
    return graph(np.concatenate(pairs), n * n)


def ones(n):
    return torch.ones(n, dtype=torch.float64)


def check_pairs(L, mass, values, vectors, tolerance=1e-6):
    """Ascending, M-orthonormal, and the residual of the definition."""
    root = mass.sqrt()[:, None]
    assert (values[1:] >= values[:-1]).all()
    assert values[0] >= 0
    torch.testing.assert_close(
        vectors.T @ (mass[:, None] * vectors), torch.eye(len(values)).double(), atol=1e-9, rtol=0
    )
    scale = values.clamp(min=float(values[values > 1e-9 * values[-1]][0]))
    residual = ((L @ vectors - mass[:, None] * vectors * values) / root).norm(dim=0) / scale
    assert residual.max() <= tolerance


def circle(n, k):
    return torch.from_numpy(np.sort(2 - 2 * np.cos(2 * np.pi * np.arange(n) / n))[:k])


@pytest.fixture(params=["factors", "products", pytest.param("cuda", marks=pytest.mark.cuda)])
def pairs(request, monkeypatch):
    """`eigenpairs` by each way to large matrices: factors, the products that other devices have to do with, and CUDA."""
    if request.param == "products":
        monkeypatch.setattr(eigen, "FACTORISED", ())
    device = request.getfixturevalue("gpu") if request.param == "cuda" else torch.device("cpu")

    def found(L, mass, k):
        values, vectors = eigenpairs(L.to(device), mass.to(device), k)
        assert values.device == vectors.device == device
        return values.cpu(), vectors.cpu()

    return found


@pytest.mark.parametrize("n", [3, 60, 3000])
def test_cycle(n, pairs):
    k = min(n, 20)
    values, vectors = pairs(cycle(n), ones(n), k)
    torch.testing.assert_close(values, circle(n, k), atol=1e-12, rtol=1e-9)
    if n > 3:
        check_pairs(cycle(n), ones(n), values, vectors)


def test_torus_has_multiplicities_up_to_twelve(pairs):
    n, k = 50, 120
    line = circle(n, n)
    exact = (line[:, None] + line).flatten().sort().values[:k]
    L = torus(n)
    values, vectors = pairs(L, ones(n * n), k)
    torch.testing.assert_close(values, exact, atol=1e-12, rtol=1e-9)
    check_pairs(L, ones(n * n), values, vectors)


@pytest.mark.parametrize("name", ["star", "hypercube"])
def test_eigenvalues_far_more_multiple_than_a_block_is_wide(name, pairs):
    if name == "star":  # 0, then 1 as often as there are leaves but one, then V
        n = 3000
        L, exact = graph([(0, i) for i in range(1, n)], n), torch.tensor([0.0] + [1.0] * 39)
    else:  # 2 j, binomial(11, j) times
        n = 2**11
        L = graph([(i, i ^ (1 << b)) for i in range(n) for b in range(11) if i < i ^ (1 << b)], n)
        exact = torch.tensor([0.0] + [2.0] * 11 + [4.0] * 28)
    values, vectors = pairs(L, ones(n), 40)
    torch.testing.assert_close(values, exact.double(), atol=1e-10, rtol=1e-9)
    check_pairs(L, ones(n), values, vectors)


def test_pairs_that_lanczos_missed_are_found_again():
    """Blocks of 8 in a subspace that holds one copy of each eigenvalue at first: the torus needs four."""
    n = 40
    shifted = Shifted(torus(n).to_scipy(), np.ones(n * n))
    values, U, _ = eigen_sparse.inverse_lanczos(shifted, 60, 1e-9, np.float64)
    gone = [0, *range(9, 60)]  # all eight of the first two eigenvalues are lost
    complete = eigen_sparse.inverse_lanczos(shifted, 8, 1e-9, np.float64, U[gone])
    np.testing.assert_allclose(complete[0], values[1:9], rtol=1e-9)


def test_each_component_has_its_zero(pairs):
    L = Sparse.block_diagonal(
        [cycle(1500), cycle(5), cycle(5), Sparse.from_coo(*[torch.arange(40)] * 2, 0 * ones(40), (40, 40))]
    )
    values, vectors = pairs(L, ones(1550), 50)
    assert (values[:43] == 0).all()
    assert values[43] > 0
    check_pairs(L, ones(1550), values, vectors)
    assert torch.linalg.matrix_rank(vectors[:, :43]) == 43


def test_forty_copies_of_one_shape(pairs):
    L = Sparse.block_diagonal([cycle(50)] * 40)
    values, _ = pairs(L, ones(2000), 200)
    torch.testing.assert_close(values, circle(50, 5).repeat_interleave(40), atol=1e-12, rtol=1e-9)


def test_nine_parts_that_hardly_hang_together(pairs):
    """Their second zero is no larger than the rounding of the first, and each of their eigenvalues is ninefold."""
    alone, size = torus(8), 64
    rows, columns = (torch.cat([part + size * copy for copy in range(9)]) for part in (alone.row, alone.col))
    (i, j), weak = torch.stack([torch.arange(8), torch.arange(1, 9)]) * size, torch.full((8,), 1e-26).double()
    values = torch.cat([alone.values.repeat(9), -weak, -weak, weak, weak])
    index = torch.cat([rows, i, j, i, j]), torch.cat([columns, j, i, i, j])
    L = Sparse.from_coo(*index, values, (9 * size, 9 * size), sum_duplicates=True)
    found, vectors = pairs(L, ones(9 * size), k=20)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(20).double(), atol=1e-9, rtol=0)
    assert (found[:9] < 1e-12).all()
    torch.testing.assert_close(found[9:], torch.full((11,), 2 - 2**0.5).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("loops", [0, 1])
def test_one_pair_of_a_large_matrix(loops, pairs):
    L = cycle(1500)
    L = L.with_values(L.values + loops * (L.row == L.col))  # 1: no constants in its kernel
    values, vectors = pairs(L, ones(1500), 1)
    torch.testing.assert_close(values, ones(1) * loops, atol=1e-9, rtol=1e-6)
    assert vectors.norm().item() == pytest.approx(1)
    torch.testing.assert_close(L @ vectors, loops * vectors, atol=1e-6, rtol=0)


def test_fewer_pairs_than_isolated_vertices(pairs):
    values, vectors = pairs(graph(torch.empty(0, 2).long(), 3), ones(3), 1)
    assert values.tolist() == [0]
    assert vectors.tolist() == [[1], [0], [0]]


def test_isolated_vertices_of_tiny_mass(pairs):
    L = Sparse.block_diagonal([torus(40), Sparse.from_coo(*[torch.arange(3)] * 2, 0 * ones(3), (3, 3))])
    mass = torch.cat([ones(1600), 1e-9 * ones(3)])
    values, vectors = pairs(L, mass, 12)
    assert (values[:4] == 0).all()
    check_pairs(L, mass, values, vectors)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 128), (7, 128), (7, 7)])
def test_fewer_vertices_than_pairs(n, k):
    L = cycle(n) if n > 1 else Sparse.from_coo(torch.zeros(1).long(), torch.zeros(1).long(), 0 * ones(1), (1, 1))
    values, vectors = eigenpairs(L, ones(n), k)
    assert values.shape == (n,)
    assert vectors.shape == (n, n)
    torch.testing.assert_close(vectors @ torch.diag(values) @ vectors.T, L.to_dense(), atol=1e-12, rtol=0)


def test_positive_definite_matrix_and_kernel_that_is_not_constant(pairs):
    n = 2000
    held = cycle(n)
    held = Sparse.from_coo(
        torch.cat([held.row, torch.tensor([0])]), torch.cat([held.col, torch.tensor([0])]),
        torch.cat([held.values, ones(1)]), (n, n), sum_duplicates=True,
    )  # fmt: skip
    values, vectors = pairs(held, ones(n), 10)
    check_pairs(held, ones(n), values, vectors)
    assert values[0] > 1e-8
    L, degree = torus(45), torch.rand(2025, generator=torch.Generator().manual_seed(0)).double() + 0.5
    scaled = L.with_values(L.values / (degree[L.row] * degree[L.col]).sqrt())
    normalised, _ = pairs(scaled, ones(2025), 20)
    with_mass, _ = pairs(L, degree, 20)
    torch.testing.assert_close(normalised, with_mass, atol=1e-10, rtol=1e-9)


def test_float32_matrix():
    values, vectors = eigenpairs(cycle(1500).to(dtype=torch.float32), ones(1500).float(), 8)
    assert values.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close(values.double(), circle(1500, 8), atol=1e-7, rtol=1e-3)


def test_dense_and_sparse_solvers_agree(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    plain = torus(30)
    w = torch.rand(900, generator=generator).double() + 0.1
    L = plain.with_values(torch.where(plain.row == plain.col, 4.0, -(w[plain.row] * w[plain.col]).sqrt() / 1.2))
    mass = torch.rand(900, generator=generator).double() + 0.1
    dense = eigenpairs(L, mass, 60)
    monkeypatch.setattr(eigen, "DENSE", 10)
    sparse = eigenpairs(L, mass, 60)
    torch.testing.assert_close(sparse[0], dense[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sparse[1], dense[1], rtol=0, atol=2e-5)
    check_pairs(L, mass, *sparse)


@pytest.mark.parametrize("scale", [1e-150, 1, 1e150])
def test_some_pairs_are_the_first_of_all(scale):
    random = np.random.default_rng(0)
    A = random.standard_normal((120, 120)) * random.uniform(0, 1, 120)
    A = A @ A.T * scale
    values, U = eigen_dense.some_pairs(A, 40)
    every, psi = eigen_dense.all_pairs(A, 40)
    np.testing.assert_allclose(values, every, rtol=0, atol=1e-13 * np.abs(A).max())
    np.testing.assert_allclose(U @ U.T, np.eye(40), atol=1e-14)
    np.testing.assert_allclose(np.abs((U * psi).sum(1)), 1, rtol=1e-9)


def test_some_pairs_of_close_and_equal_eigenvalues():
    """Equal, equal but for rounding, close, and apart, in matrices that are full, diagonal, or zero."""
    random = np.random.default_rng(1)
    Q = np.linalg.qr(random.standard_normal((90, 90)))[0]
    spread = [np.arange(90.0) for _ in range(5)]
    for exact, gap in zip(spread, (0, 1e-15, 1e-12, 1e-8, 1e-3), strict=True):
        exact[10:14] = 10 + gap * np.arange(4)
    repeated = np.repeat(np.arange(30.0), 3)
    cases = [((Q * exact) @ Q.T, exact) for exact in (*spread, repeated)]
    cases += [(np.diag(repeated), repeated), (np.zeros((90, 90)), np.zeros(90))]
    for A, exact in cases:
        A = (A + A.T) / 2
        values, U = eigen_dense.some_pairs(A, 30) or eigen_dense.all_pairs(A, 30)
        np.testing.assert_allclose(U @ U.T, np.eye(30), atol=1e-13)
        np.testing.assert_allclose(U @ A, values[:, None] * U, atol=1e-11)
        np.testing.assert_allclose(values, exact[:30], atol=1e-12)


@pytest.mark.parametrize("k", [4, 8, 12, 17, 24, 35])
@pytest.mark.parametrize("size", [0.1, 1.0, 3.0])
def test_masses_eleven_orders_apart(k, size):
    """The largest eigenvalue is 1e12 times the first: rounding of it mixes the small ones, and more with fewer pairs."""
    pos, face = real_mesh("hard/wallhole.obj")
    pos, number = torch.unique(pos, dim=0, return_inverse=True)
    face = number[face]
    L, mass = cotan_laplacian(pos * size, face), barycentric_mass(pos * size, face)
    values, vectors = eigenpairs(L, mass, k=k)
    error = ((L @ vectors - mass[:, None] * vectors * values) / mass.sqrt()[:, None]).norm(dim=0)
    assert (error / values.clamp(min=float(values[1]))).max() <= 1e-6
    torch.testing.assert_close(vectors.T @ (mass[:, None] * vectors), ones(len(values)).diag(), atol=1e-9, rtol=0)


def test_two_clusters_that_hang_together_by_little():
    """Cycles of 20 joined by an edge of weight w: lambda_1 is w / 10, to first order in w."""
    edges = [(i + part, (i + 1) % 20 + part) for part in (0, 20) for i in range(20)]
    for w, near in ((1e-7, 1e-4), (1e-11, 1e-3)):
        L = graph([*edges, (0, 20)], 40, torch.cat([ones(40), w * ones(1)]))
        for k in (2, 3, 8):
            values, _ = eigenpairs(L, ones(40), k=k)
            assert values[0] == 0
            assert float(values[1]) == pytest.approx(w / 10, rel=near)


def test_without_cholespy_superlu_solves(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cholespy", None)
    A, x = torus(20).to_scipy() + 0.01 * eye_array(400), np.random.default_rng(0).standard_normal((3, 400))
    np.testing.assert_allclose(factor.factorise(A)(x) @ A, x, atol=1e-9)


@pytest.mark.parametrize(("entry", "refused"), [(1e-12, False), (1e-3, True)])
def test_an_entry_without_its_mirror_is_rounding_or_refused(entry, refused):
    L, mass = torus(8), ones(64)
    far = torch.tensor([40])  # no neighbour of 0
    values = torch.cat([L.values, torch.tensor([entry], dtype=torch.float64)])
    uneven = Sparse.from_coo(torch.cat([L.row, 0 * far]), torch.cat([L.col, far]), values, (64, 64))
    if refused:
        with pytest.raises(CotanError, match=r"expected a symmetric matrix, got one with \|L - L\^T\| up to 0.001"):
            eigenpairs(uneven, mass, 5)
    else:
        assert torch.allclose(eigenpairs(uneven, mass, 5)[0], eigenpairs(L, mass, 5)[0], atol=1e-10)


def test_superlu_solves_as_cholesky_does():
    pytest.importorskip("cholespy")
    B = (torus(20).to_scipy() + 0.01 * eye_array(400)).tocsc()
    x = np.random.default_rng(0).standard_normal((3, 400))
    np.testing.assert_allclose(factor.superlu(B)(x), factor.cholesky(B)(x), rtol=1e-9)
    np.testing.assert_allclose(factor.superlu(B)(x) @ B, x, atol=1e-9)


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_cholesky_leaves_its_matrix_as_it_is(kind):
    pytest.importorskip("cholespy")
    whole = torus(20).to_scipy() + 0.01 * eye_array(400)
    B = whole.asformat(kind)
    B.sort_indices()
    backwards = np.concatenate([np.arange(*ends)[::-1] for ends in zip(B.indptr, B.indptr[1:])])
    B.indices, B.data = B.indices[backwards], B.data[backwards]
    x = np.random.default_rng(0).standard_normal((3, 400))
    np.testing.assert_allclose(factor.cholesky(B)(x) @ whole, x, atol=1e-9)
    np.testing.assert_array_equal(B.toarray(), whole.toarray())


def test_superlu_fills_a_subdivided_mesh_with_few_zeros():
    sphere = trimesh.creation.icosphere(4)
    B = graph(np.array(sphere.edges_unique), len(sphere.vertices)).to_scipy() + 0.01 * eye_array(len(sphere.vertices))
    lu = symmetric_lu(B)
    assert lu.nnz < 1.5 * (lu.L.nnz + lu.U.nnz)  # more than twice with SuperLU's own relaxation


@pytest.mark.parametrize("constants", [True, False])
def test_where_lanczos_does_not_converge(constants, monkeypatch):
    """All pairs at once, or for large matrices ARPACK."""
    L, mass = torus(20), torch.rand(400, generator=torch.Generator().manual_seed(2)).double() + 0.5
    L = L.with_values(L.values + (not constants) * 0.1 * (L.row == L.col))
    expected, _ = eigenpairs(L, mass, 12)
    monkeypatch.setattr(eigen, "DENSE", -100)
    monkeypatch.setattr(eigen_sparse, "inverse_lanczos", lambda *_: None)
    for dense in (400, 399):
        monkeypatch.setattr(eigen_sparse, "AT_ONCE", dense)
        values, vectors = eigenpairs(L, mass, 12)
        check_pairs(L, mass, values, vectors)
        torch.testing.assert_close(values, expected, atol=1e-12, rtol=1e-8)


def test_lanczos_says_when_it_did_not_converge():
    spread = 0.9 ** np.arange(2000)
    locked = np.empty((0, 2000))
    assert lanczos(lambda x: x * spread, 2000, 60, tolerance=1e-12, locked=locked, most=64) is None
    theta, U = lanczos(lambda x: x * spread, 2000, 5, tolerance=1e-10, locked=locked, dtype=np.float64)
    np.testing.assert_allclose(theta, spread[:5], rtol=1e-9)
    np.testing.assert_allclose(np.abs(U).argmax(1), [0, 1, 2, 3, 4])


def test_chebyshev_filter_gives_up_where_it_is_too_slow(monkeypatch):
    L = torus(30)
    A, m = L.to_scipy(), np.ones(900)
    values, U, errors = chebyshev_pairs(A, m, 40, 1e-6, torch.device("cpu"))
    check_pairs(L, ones(900), torch.from_numpy(values), torch.from_numpy(U.T))
    assert errors.max() <= 1e-6 * values[1]
    monkeypatch.setattr(eigen_chebyshev, "ROUNDS", 1)
    assert chebyshev_pairs(A, m, 40, 1e-6, torch.device("cpu")) is None
    monkeypatch.setattr(eigen, "FACTORISED", ())
    torch.testing.assert_close(eigenpairs(L, ones(900), 40)[0], torch.from_numpy(values), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("n", [12, 40])
def test_rounding_that_leaves_a_matrix_uneven(n):
    """The pairs are those of (L + L^T) / 2."""
    L = torus(n)
    L = L.with_values(L.values * (1 + 1e-6 * torch.rand(len(L.values), generator=torch.Generator().manual_seed(0))))
    even = L.with_values((L.values + L.T.values) / 2)
    for found, expected in zip(eigenpairs(L, ones(n * n), 9), eigenpairs(even, ones(n * n), 9), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_signs_are_fixed():
    L, mass = torus(20), torch.rand(400, generator=torch.Generator().manual_seed(3)).double() + 0.5
    values, vectors = eigenpairs(L, mass, 30)
    largest = vectors.abs().max(0).values
    first = (vectors.abs() >= (1 - 1e-6) * largest).int().argmax(0)
    assert (vectors[first, torch.arange(30)] > 0).all()
    again = eigenpairs(L, mass, 30)
    assert torch.equal(again[1], vectors)
    assert torch.equal(again[0], values)


@pytest.mark.parametrize("side", ["dense", "sparse"])
def test_derivatives(side, monkeypatch):
    """Reverse and forward mode against differences; with a few of all pairs, the others count too."""
    generator = torch.Generator().manual_seed(0)
    edges = [(i, j) for i in range(14) for j in range(i) if i - j < 3 or torch.rand((), generator=generator) < 0.1]
    weights = torch.rand(len(edges), generator=generator).double() + 0.5
    mass = torch.rand(14, generator=generator).double() + 0.5
    if side == "sparse":
        monkeypatch.setattr(eigen, "DENSE", -10)

    def pairs(w, m):
        return eigenpairs(graph(edges, 14, w), m, 4, 1e-12 if side == "sparse" else 1e-6)

    args = weights.requires_grad_(), mass.requires_grad_()
    assert torch.autograd.gradcheck(pairs, args, check_forward_ad=True, atol=1e-5)
    all_pairs = lambda w, m: eigenpairs(graph(edges, 14, w), m, 14)  # noqa: E731
    assert torch.autograd.gradcheck(all_pairs, args, atol=1e-5, fast_mode=True)


def test_what_lies_off_the_known_pairs_is_as_the_sum_over_all():
    """By conjugate gradients, in many steps here."""
    n, generator = 20, torch.Generator().manual_seed(1)
    L = torus(n)
    edges = torch.stack([L.row, L.col], 1)[L.row < L.col]
    weights, c = (torch.rand(size, generator=generator).double() for size in (len(edges), n * n))
    weights = (weights + 0.5).requires_grad_()
    gradients = []
    for k in (6, n * n):
        vectors = eigenpairs(graph(edges, n * n, weights), ones(n * n), k, 1e-12)[1][:, :6]
        gradients += torch.autograd.grad((vectors.mT @ c).pow(2).sum(), weights)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_derivative_of_what_is_one_in_a_multiple_eigenvalue():
    """A cycle: no vector of a pair has a derivative, the projector on what they span has."""
    edges = [(i, (i + 1) % 12) for i in range(12)]

    def projector(w):
        values, vectors = eigenpairs(graph(edges, 12, w), ones(12), 5)
        return torch.cat([vectors @ vectors.T, (values[1] + values[2]).expand(1, 12)])

    w = ones(12).requires_grad_()
    ours = torch.autograd.functional.jacobian(projector, w)
    step = 1e-5 * torch.eye(12).double()
    difference = torch.stack([(projector(w + s) - projector(w - s)).detach() / 2e-5 for s in step], -1)
    torch.testing.assert_close(ours, difference, atol=1e-7, rtol=0)


@pytest.mark.parametrize("k", [2, 5])
def test_second_derivatives(k):
    """Against differences; with a few of all pairs, the others count too. A third as well, since nothing ends there."""
    generator = torch.Generator().manual_seed(0)
    edges = [(1, 0), (2, 0), (2, 1), (3, 1), (4, 2), (4, 3), (4, 0)]
    weights, mass, c = (torch.rand(size, generator=generator).double() + 0.5 for size in (7, 5, (5, k)))
    args = weights.requires_grad_(), mass.requires_grad_()

    def pairs(w, m):
        return eigenpairs(graph(edges, 5, w), m, k)

    def energy(w):
        values, vectors = pairs(w, mass.detach())
        return values.square().sum() + (c * vectors).sum() ** 2

    assert torch.autograd.gradgradcheck(pairs, args, check_fwd_over_rev=True, check_batched_grad=True, atol=1e-5)
    hessian = torch.autograd.functional.hessian(energy, weights)
    for outer, inner in product((jacfwd, jacrev), repeat=2):
        torch.testing.assert_close(outer(inner(energy))(weights.detach()), hessian)
    third = lambda w: torch.autograd.functional.hessian(energy, w, create_graph=True).sum(0)  # noqa: E731
    assert torch.autograd.gradcheck(third, weights, atol=1e-4)


def test_curvature_of_a_sum_of_eigenvectors_on_a_mesh():
    """(d/dt)^2 of a function of pos along a line, by differences of first derivatives."""
    pos, face = real_mesh("clean/spot.ply")
    generator = torch.Generator().manual_seed(0)
    along, c = (torch.randn(size, generator=generator).double() for size in (pos.shape, len(pos)))

    def energy(t):
        moved = pos + t * along
        values, vectors = eigenpairs(cotan_laplacian(moved, face), barycentric_mass(moved, face), 8)
        return values.log1p().sum() + (c @ vectors[:, 1:]).square().sum() / len(c)

    t = torch.zeros((), dtype=torch.float64)
    second = torch.func.jvp(torch.func.grad(energy), (t,), (torch.ones_like(t),))[1]
    difference = (torch.func.grad(energy)(t + 1e-5) - torch.func.grad(energy)(t - 1e-5)) / 2e-5
    torch.testing.assert_close(second, difference, rtol=1e-4, atol=0)


@pytest.mark.parametrize("of", ["weights", "mass", "scale"])
def test_second_derivatives_where_eigenvalues_are_equal_are_refused(of):
    """Also of a sum of eigenvalues, and where only those of what comes after the pairs are asked for."""
    live = {name: ones(12).requires_grad_() for name in ("weights", "mass", "scale")}
    values, _ = eigenpairs(graph([(i, (i + 1) % 12) for i in range(12)], 12, live["weights"]), live["mass"], 12)
    (first,) = torch.autograd.grad((live["scale"] * values).sum(), live["mass"], create_graph=True)
    with pytest.raises(CotanError, match="spectrum: a second derivative where eigenvalues are equal"):
        torch.autograd.grad(first.sum(), live[of])


def test_derivatives_of_forward_ones_where_eigenvalues_are_equal_are_refused():
    w = ones(12).requires_grad_()
    with forward_ad.dual_level():
        live = forward_ad.make_dual(w, torch.arange(12.0, dtype=torch.float64))
        values, _ = eigenpairs(graph([(i, (i + 1) % 12) for i in range(12)], 12, live), ones(12), 12)
        change = forward_ad.unpack_dual(values).tangent
    assert change.isfinite().all()
    with pytest.raises(CotanError, match="spectrum: a second derivative where eigenvalues are equal"):
        torch.autograd.grad(change[1], w)


def test_refusals():
    L, mass = cycle(6), ones(6)
    bad = L.with_values(torch.where(torch.arange(len(L.values)) == 2, torch.nan, L.values))
    with pytest.raises(CotanError, match="1 entries that are not finite"):
        eigenpairs(bad, mass)
    with pytest.raises(CotanError, match="2 of 6 masses are not positive"):
        eigenpairs(L, torch.tensor([1.0, 0, 1, 1, -1, 1]).double())
    with pytest.raises(CotanError, match=r"mass=cotan.node\(\"mass\", kind=\"degree\"\)"):
        eigenpairs(L.with_values(L.values * torch.arange(len(L.values))), mass)
    with pytest.raises(CotanError, match="k=0"):
        eigenpairs(L, mass, 0)
    with pytest.raises(CotanError, match=r"expected a Sparse \(cotan\.Sparse\.from_scipy makes one\), got csr_array"):
        eigenpairs(L.to_scipy(), mass)
    with pytest.raises(CotanError, match=r"got \(6, 6\) and \(5,\)"):
        eigenpairs(L, ones(5))
    with pytest.raises(CotanError, match="got none"):
        eigenpairs(Sparse.from_coo(*[torch.empty(0).long()] * 2, ones(0), (0, 0)), ones(0))
    wild = torch.exp(torch.randn(1600, generator=torch.Generator().manual_seed(0)).double() * 8)
    with pytest.raises(CotanError, match="repair the mesh, or take a larger tolerance="):
        eigenpairs(torus(40), wild, 64)


@pytest.mark.parametrize("name", ["fandisk.obj", "spot.ply"])
def test_real_meshes_agree_with_scipy(name):
    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    robust_laplacian = pytest.importorskip("robust_laplacian")
    trimesh = pytest.importorskip("trimesh")
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    mesh = trimesh.load(Path(os.environ["COTAN_DATA"]) / "meshes/clean" / name, force="mesh")
    L, M = robust_laplacian.mesh_laplacian(np.array(mesh.vertices), np.array(mesh.faces))
    mass = torch.from_numpy(M.diagonal().copy())
    values, vectors = eigenpairs(Sparse.from_scipy(L), mass, 24)
    check_pairs(Sparse.from_scipy(L), mass, values, vectors)
    theirs = np.sort(eigsh(L.tocsc(), 24, diags_array(M.diagonal()).tocsc(), sigma=-1e-6, return_eigenvectors=False))
    np.testing.assert_allclose(values[1:], theirs[1:], rtol=1e-6)


def expander(size=1600, degree=12, seed=0):
    """A random graph, of which elimination leaves a full matrix."""
    edges = np.random.default_rng(seed).integers(0, size, (size * degree // 2, 2))
    edges = np.concatenate(
        [edges[edges[:, 0] != edges[:, 1]], np.stack([np.arange(size), np.arange(1, size + 1) % size], 1)]
    )
    return graph(edges, size)


@pytest.mark.parametrize(
    ("matrix", "full"),
    [
        (expander, True),
        (lambda: torus(40), False),
        (lambda: graph([(i, (i - 1) // 2) for i in range(1, 3000)], 3000), False),  # a tree
        (lambda: graph([(0, i) for i in range(1, 3000)], 3000), False),  # a star
        (lambda: cycle(5000), False),
    ],
)
def test_what_elimination_would_fill_is_not_factorised(matrix, full):
    L = matrix().to_scipy()
    order = reverse_cuthill_mckee(L, symmetric_mode=True)
    assert eigen_sparse.fills(L[order][:, order]) == full


@pytest.mark.parametrize("converges", [True, False])
def test_pairs_of_a_graph_without_narrow_cuts(converges, monkeypatch):
    L = expander()
    if not converges:
        monkeypatch.setattr(eigen, "chebyshev_pairs", lambda *_: None)
    values, vectors = eigenpairs(L, ones(1600), 20)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(L.to_dense().numpy())[:20], atol=1e-8)
    check_pairs(L, ones(1600), values, vectors)


def power_law(size, seed=0):
    """A random graph whose first nodes are hubs."""
    random = np.random.default_rng(seed)
    edges = (size * random.random((6 * size, 2)) ** 3).astype(int)
    edges = np.concatenate(
        [edges[edges[:, 0] != edges[:, 1]], np.stack([np.arange(size), np.arange(1, size + 1) % size], 1)]
    )
    return graph(edges, size)


@pytest.mark.parametrize("even", [True, False])
def test_pairs_of_a_power_law(even, monkeypatch):
    L, m = power_law(1200), np.ones(1200) if even else np.exp(2 * np.random.default_rng(1).standard_normal(1200))
    monkeypatch.setattr(eigen, "chebyshev_pairs", None)
    values, vectors = eigenpairs(L, torch.from_numpy(m), 40)
    expected = np.linalg.eigvalsh(L.to_dense().numpy() / np.sqrt(np.outer(m, m)))[:40]
    np.testing.assert_allclose(values, expected, rtol=1e-8, atol=1e-10)
    check_pairs(L, torch.from_numpy(m), values, vectors)


def test_equal_eigenvalues_of_power_laws():
    """Twelve copies, each hung by one node on the same: more copies of an eigenvalue than a block finds."""
    one, size = power_law(120), 12 * 120 + 1
    off = one.row < one.col
    edges = torch.stack([one.row[off], one.col[off]], 1)
    hang = torch.stack([torch.full((12,), size - 1), 120 * torch.arange(12) + 17], 1)
    L = graph(torch.cat([edges + 120 * i for i in range(12)] + [hang]), size).to_scipy()
    values, U, errors = eigen_sparse.hub_pairs(L, np.ones(size), 60, 1e-6)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(L.toarray())[:60], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(U @ U.T, np.eye(60), atol=1e-10)
    assert (errors[1:] <= 1e-6 * values[1:]).all()


def test_where_conjugate_gradients_do_not_converge(monkeypatch):
    L, mass = power_law(2000), ones(2000)
    expected = eigenpairs(L, mass, 10)[0]
    monkeypatch.setattr(factor, "STEPS", 3)
    assert eigen_sparse.hub_pairs(L.to_scipy(), np.ones(2000), 10, 1e-6) is None
    torch.testing.assert_close(eigenpairs(L, mass, 10)[0], expected, atol=1e-10, rtol=1e-8)


def test_conjugate_gradients():
    B = power_law(300).to_scipy() + 0.01 * eye_array(300)
    x = np.random.default_rng(0).standard_normal((5, 300))
    np.testing.assert_allclose(factor.conjugate_gradients(B, 1e-12)(x), np.linalg.solve(B.toarray(), x.T).T, atol=1e-8)


def test_a_graph_that_neither_way_solves_is_refused(monkeypatch):
    def none(*_, **__):
        raise ArpackNoConvergence("no convergence", np.empty(0), np.empty((0, 0)))

    monkeypatch.setattr(eigen, "chebyshev_pairs", lambda *_: None)
    monkeypatch.setattr("scipy.sparse.linalg.eigsh", none)
    with pytest.raises(CotanError, match="no narrow cuts"):
        eigenpairs(expander(), ones(1600), 20)


def test_nearly_dependent_rows_come_out_orthonormal():
    """Orthogonalising twice is enough, once is not."""
    random = np.random.default_rng(0)
    W = random.standard_normal((8, 500))
    W[1] = W[0] + 1e-5 * W[1]
    q, R = _next(W.copy(), np.eye(1, 500), random, Columns(500))
    np.testing.assert_allclose(q @ q.T, np.eye(8), atol=1e-9)
    np.testing.assert_allclose((R.T @ q)[:, 1:], W[:, 1:], atol=1e-9)
