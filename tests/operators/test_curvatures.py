import math

import pytest
import torch
import trimesh
from torch_geometric.data import Data

import cotan
from cotan.operators.curvatures import gauss_curvature, mean_curvature
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass, voronoi_mass
from cotan.operators.mesh_report import mesh_report
from cotan.operators.normals import vertex_normals


def mean(pos, face):
    return mean_curvature(pos, face, cotan_laplacian(pos, face), voronoi_mass(pos, face), vertex_normals(pos, face))


def test_sphere_of_radius_two(icosphere):
    pos, face = icosphere(3)
    torch.testing.assert_close(mean(2 * pos, face), torch.full((len(pos),), 0.5, dtype=pos.dtype), rtol=0.01, atol=0)
    gauss = gauss_curvature(2 * pos, face, voronoi_mass(2 * pos, face))
    torch.testing.assert_close(gauss, torch.full((len(pos),), 0.25, dtype=pos.dtype), rtol=0.05, atol=0)
    assert (mean(pos, face.flip(0)) < 0).all()


@pytest.mark.parametrize("name", ["mean_curvature", "gauss_curvature"])
def test_right_at_each_vertex_also_where_five_faces_meet(name, icosphere):
    pos, face = icosphere(3)
    found = cotan.compute(Data(pos=2 * pos, face=face), name, dtype=torch.float64)
    expected = 1 / 2 if name == "mean_curvature" else 1 / 4
    torch.testing.assert_close(
        found, torch.full_like(found, expected), rtol=0.01, atol=0
    )  # 15% with barycentric masses


@pytest.mark.parametrize("name", ["mean_curvature", "gauss_curvature"])
def test_another_mass_may_be_named(name, bumpy):
    data = Data(**dict(zip(("pos", "face"), bumpy())))
    usual, voronoi, barycentric, default = (
        cotan.compute(data, name, dtype=torch.float64, **settings)
        for settings in (
            {},
            *({"mass": cotan.node("mass", kind=kind)} for kind in ("voronoi", "barycentric")),
            {"mass": "mass"},
        )
    )
    ratio = voronoi_mass(data.pos, data.face) / barycentric_mass(data.pos, data.face)
    assert torch.equal(usual, voronoi)
    assert torch.equal(default, barycentric)
    torch.testing.assert_close(barycentric, usual * ratio)
    assert (ratio - 1).abs().max() > 0.05


def test_plane_and_cylinder(square):
    pos, face = square(21)
    assert mean(pos, face).abs().max() < 1e-10
    rolled = torch.stack([pos[:, 0].sin(), pos[:, 1], pos[:, 0].cos()], 1)  # radius 1
    inside = ((pos[:, :2] > 0) & (pos[:, :2] < 1)).all(1)
    h = mean(rolled, face)
    torch.testing.assert_close(h[inside].abs(), torch.full_like(h[inside], 0.5), rtol=0.01, atol=0)
    assert (h[~inside] == 0).all()
    assert gauss_curvature(rolled, face, voronoi_mass(rolled, face))[inside].abs().max() < 1e-2


def test_principal_curvatures_of_a_torus():
    mesh = trimesh.creation.torus(2, 1, major_sections=96, minor_sections=48)
    pos, face = torch.tensor(mesh.vertices), torch.tensor(mesh.faces).long().T
    h, k = mean(pos, face), gauss_curvature(pos, face, voronoi_mass(pos, face))
    bend = (h.square() - k).sqrt()
    around = pos[:, :2].norm(dim=1)  # from 1 to 3
    torch.testing.assert_close(h + bend, torch.ones_like(h), rtol=0, atol=0.02)
    torch.testing.assert_close(h - bend, (around - 2) / around, rtol=0, atol=0.02)


def test_gauss_bonnet(bumpy, square):
    for pos, face in (bumpy(), square(5)):
        mass = voronoi_mass(pos, face)
        total = (gauss_curvature(pos, face, mass) * mass).sum().item()
        assert total == pytest.approx(2 * math.pi * mesh_report(pos, face)["euler"])


def test_gauss_bonnet_with_sides_of_no_length():
    g = torch.Generator().manual_seed(0)
    for first in range(3):  # rounding leaves some of these faces an area, by the corner that they begin at
        for _ in range(9):
            pos = torch.randn(4, 3, generator=g, dtype=torch.float64)
            pos = torch.cat([pos, pos[:1]])  # a tetrahedron, 4 at the place of 0
            face = torch.tensor([[0, 2, 1], [0, 1, 4], [4, 1, 3], [4, 3, 0], [0, 3, 2], [1, 2, 3]]).T.roll(first, 0)
            mass = voronoi_mass(pos, face)
            assert float((mass * gauss_curvature(pos, face, mass)).sum()) == pytest.approx(4 * math.pi)


def test_faces_that_name_a_vertex_twice_change_nothing(icosphere, square):
    for pos, face in (icosphere(1), square(5)):
        mass = voronoi_mass(pos, face)
        worse = torch.cat([face, torch.tensor([[0, 3, 2, 1], [1, 3, 2, 2], [1, 4, 2, 1]])], 1)
        torch.testing.assert_close(mean(pos, worse), mean(pos, face))
        torch.testing.assert_close(gauss_curvature(pos, worse, mass), gauss_curvature(pos, face, mass))
    loose = torch.cat([pos, pos[:1] + 9])
    worse = torch.cat([face, torch.tensor([[0], [len(pos)], [len(pos)]])], 1)
    assert gauss_curvature(loose, worse, voronoi_mass(loose, face))[-1] == 0


def test_against_libigl(real):
    import igl

    pos, face = real
    if mesh_report(pos, face)["boundary_edges"]:
        pytest.skip("libigl takes 2 pi at rims too")
    mass = voronoi_mass(pos, face)
    ours = (gauss_curvature(pos, face, mass) * mass).numpy()
    assert abs(ours - igl.gaussian_curvature(pos.numpy(), face.T.numpy())).max() < 1e-6


def test_hard(hard, finite_or_refused):
    if finite_or_refused(voronoi_mass, *hard) is not None:
        assert torch.isfinite(mean(*hard)).all()
        assert torch.isfinite(gauss_curvature(*hard, voronoi_mass(*hard))).all()


def test_derivative(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: mean(p, face), pos.clone().requires_grad_())
    assert torch.autograd.gradcheck(
        lambda p: gauss_curvature(p, face, voronoi_mass(p, face)), pos.clone().requires_grad_()
    )
