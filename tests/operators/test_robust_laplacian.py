import warnings
from functools import partial

import numpy as np
import pytest
import robust_laplacian as outside
import torch
from torch_geometric.data import Data

import cotan
from cotan.errors import CotanError
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.operators.robust_laplacian import cloud_matrices, robust_matrices
from cotan.operators.spectrum import spectrum


def test_hard(hard, finite_or_refused):
    value = finite_or_refused(robust_matrices, *hard)
    if value is None:
        return
    L, mass = value
    size = L.values.abs().max()
    assert (mass > 0).all()
    assert L.sum_rows().abs().max() <= 1e-10 * size
    assert (L.values[L.row != L.col] <= 1e-8 * size).all()  # then it is positive semi-definite


def test_is_the_cotangent_laplacian_on_a_delaunay_mesh(icosphere):
    pos, face = icosphere(2)
    L, mass = robust_matrices(pos, face)
    torch.testing.assert_close(L.to_dense(), cotan_laplacian(pos, face).to_dense(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mass, barycentric_mass(pos, face), rtol=1e-3, atol=1e-6)


def test_against_robust_laplacian(real):
    pos, face = real
    L, mass = robust_matrices(pos, face)
    theirs, their_mass = outside.mesh_laplacian(pos.numpy(), face.T.numpy())
    used = torch.unique(face).numpy()  # a loose vertex has 1 on the diagonal there
    theirs, ours = theirs.tocsr()[used][:, used], L.to_scipy()[used][:, used]
    assert abs(ours - theirs).max() <= 1e-6 * abs(theirs).max()
    np.testing.assert_allclose(mass.numpy()[used], their_mass.diagonal()[used], rtol=1e-6)


def test_loose_vertices(icosphere):
    pos, face = icosphere(1)
    loose = robust_matrices(torch.cat([pos[:1] * 9, pos]), face + 1)
    torch.testing.assert_close(loose.laplacian.to_dense()[1:, 1:], robust_matrices(pos, face).laplacian.to_dense())
    assert loose.laplacian.to_dense()[0].abs().max() == 0
    assert 0 < loose.mass[0] < 1e-5 * loose.mass[1]


def test_cloud_of_a_sphere(icosphere):
    pos, _ = icosphere(3)
    L, mass = cloud_matrices(pos)
    assert mass.sum().item() == pytest.approx(4 * np.pi, rel=0.02)
    z = pos[:, 2]
    assert ((z @ (L @ z)) / (mass * z * z).sum()).item() == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("place", [(0, 0, 0), (4, 7, 2), (0, 0, 1000), (5e5, 5e6, 300), (4e6, 3e6, 4e6)])
def test_a_cloud_has_its_eigenvalues_anywhere(place):
    generator = torch.Generator().manual_seed(1)
    angle, height = (torch.rand(1000, generator=generator, dtype=torch.float64) for _ in range(2))
    angle = 2 * np.pi * angle
    cylinder = torch.stack([angle.cos() / 2, angle.sin() / 2, 2 * height], 1)
    exact = sorted(4 * m * m + (np.pi * n / 2) ** 2 for m in range(-3, 4) for n in range(7))[1:9]
    found = spectrum(*cloud_matrices(cylinder + torch.tensor(place)), k=9).values[1:]
    assert (found / torch.tensor(exact)).mean() == pytest.approx(0.96, abs=0.02)


def test_a_cloud_near_the_origin_is_robust_laplacians(bumpy):
    pos = bumpy(2)[0].double() + 1.5
    L, mass = cloud_matrices(pos)
    theirs, lumped = outside.point_cloud_laplacian(pos.numpy())
    torch.testing.assert_close(L.to_dense(), torch.from_numpy(theirs.toarray()), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(mass, torch.from_numpy(lumped.diagonal()), rtol=1e-9, atol=0)


def evenly(n):
    pos = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return pos / pos.norm(dim=1, keepdim=True)


def test_cloud_of_a_dense_sphere(monkeypatch):
    """Of 30 neighbours each, robust-laplacian's gluing covers 0.6 of 32000 points; of 15, of 4000."""
    monkeypatch.setitem(cloud_matrices.__globals__, "NEIGHBOURS", 15)
    cloud = Data(pos=evenly(4000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mass = cotan.compute(cloud, "mass", dtype=torch.float64)
        values = cotan.compute(cloud, "spectrum", k=4, dtype=torch.float64).values
    assert mass.sum().item() == pytest.approx(4 * np.pi, rel=0.02)
    np.testing.assert_allclose(values[1:], 2, rtol=0.06)  # as of 2000 points, where 30 neighbours do
    with pytest.warns(cotan.MeshWarning, match=r"the mass is 0\.[67]\d of the area"):
        few = cloud_matrices(cloud.pos, neighbours=15)
    assert few.mass.sum() < 0.8 * 4 * np.pi


def test_good_clouds_keep_their_neighbours(bumpy, recwarn):
    u = torch.rand(2000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = 2 * np.pi * u.T
    flat = torch.cat([u, torch.zeros(2000, 1)], 1)
    terrain = torch.cat([u, 0.1 * torch.sin(6 * u[:, :1]) * torch.cos(5 * u[:, 1:])], 1)
    torus = torch.stack([(2 + 0.7 * b.cos()) * a.cos(), (2 + 0.7 * b.cos()) * a.sin(), 0.7 * b.sin()], 1)
    grid = torch.cartesian_prod(torch.arange(40.0), torch.arange(40.0), torch.zeros(1)).double()
    for pos in (flat, terrain, torus, grid, evenly(2000), bumpy()[0], flat[:100]):
        torch.testing.assert_close(cloud_matrices(pos).mass, cloud_matrices(pos, neighbours=30).mass, rtol=0, atol=0)
    assert cloud_matrices(flat[:1000]).mass.sum() == pytest.approx(1, abs=0.05)  # half of many discs lie outside
    assert not recwarn.list


def test_points_at_one_place_count_once():
    """Their values and vectors are those without them; of more than 30, robust-laplacian's rows would not sum to zero."""
    pos = evenly(300)
    again = torch.cat([torch.arange(300), torch.arange(5).repeat(40), torch.tensor([7, 12])])
    again = again[torch.randperm(len(again), generator=torch.Generator().manual_seed(0))]
    again = torch.cat([torch.arange(300), again])
    L, mass = cloud_matrices(pos[again])
    once = cloud_matrices(pos)
    assert L.sum_rows().abs().max() < 1e-10 * L.values.abs().max()
    torch.testing.assert_close(torch.zeros(300, dtype=torch.float64).index_add(0, again, mass), once.mass)
    for f in torch.randn(3, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(1)):
        strong = (once.laplacian @ f) / once.mass
        torch.testing.assert_close((L @ f[again]) / mass, strong[again])
    values = [np.linalg.eigvals((A.to_dense() / m[:, None]).numpy()).real for A, m in ((L, mass), once)]
    further = (once.laplacian.diagonal() / once.mass)[again[300:]].numpy()
    np.testing.assert_allclose(np.sort(values[0]), np.sort(np.r_[values[1], further]), rtol=1e-6, atol=1e-6)
    with pytest.raises(CotanError, match="at least 4 points at different places, got 3"):
        cloud_matrices(pos[torch.arange(9) % 3])


def line_beside_a_grid():
    line = torch.stack([torch.linspace(0, 1, 500), torch.zeros(500), torch.full((500,), 0.5)], 1)
    return torch.cat([line, torch.cartesian_prod(torch.arange(40.0), torch.arange(40.0), torch.zeros(1))]).double()


def test_points_of_a_line_have_no_triangles():
    with pytest.warns(cotan.MeshWarning, match=r"2\d% of the points are in no triangle, and .* falls into 4\d\d parts"):
        L, mass = cloud_matrices(line_beside_a_grid())
    assert (mass > 0).all()
    assert L.sum_rows().abs().max() < 1e-10 * L.values.abs().max()
    assert (L.diagonal() == 0).sum() > 400


def test_rings_of_a_scanner_fall_apart():
    angle = torch.linspace(0, 2 * np.pi, 1001)[:-1]
    noise = 0.01 * torch.randn(4, 1000, 3, generator=torch.Generator().manual_seed(0))
    rings = torch.cat([r * torch.stack([angle.cos(), angle.sin(), 0 * angle], 1) for r in (4, 8, 16, 32)])
    with pytest.warns(cotan.MeshWarning, match="falls into 4 parts"):
        cloud_matrices((rings + noise.reshape(-1, 3)).double())


def test_refusals(icosphere):
    pos, face = icosphere(0)
    with pytest.raises(CotanError, match="no derivative"):
        robust_matrices(pos.clone().requires_grad_(), face)
    with pytest.raises(CotanError, match="at least 4 points at different places, got 3"):
        cloud_matrices(pos[:3])
    with pytest.raises(CotanError, match="at one place"):
        cloud_matrices(torch.ones(9, 3))
    with pytest.raises(CotanError, match="neighbours=0, expected at least 3"):  # the library would end the process
        cloud_matrices(pos, neighbours=0)
    for matrices in (partial(robust_matrices, pos, face), partial(cloud_matrices, pos)):
        with pytest.raises(CotanError, match="mollify=-1, expected at least 0"):
            matrices(mollify=-1)
