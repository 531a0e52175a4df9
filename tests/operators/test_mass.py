import numpy as np
import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.graph_laplacian import graph_laplacian
from cotan.operators.mass import barycentric_mass, degree_mass, unit_mass, voronoi_mass

BOTH = pytest.mark.parametrize("mass", [barycentric_mass, voronoi_mass])


@BOTH
def test_sums_to_the_area(mass, square):
    assert mass(*square(9)).sum().item() == pytest.approx(1)


def test_voronoi_of_a_right_triangle():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(
        voronoi_mass(pos, torch.tensor([[0], [1], [2]])), torch.tensor([0.25, 0.125, 0.125], dtype=torch.float64)
    )


def test_voronoi_of_an_obtuse_triangle():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [-1, 0.5, 0]], dtype=torch.float64)
    torch.testing.assert_close(
        voronoi_mass(pos, torch.tensor([[0], [1], [2]])), torch.tensor([2, 1, 1], dtype=torch.float64) / 16
    )


@pytest.mark.parametrize(("mass", "kind"), [(barycentric_mass, "BARYCENTRIC"), (voronoi_mass, "VORONOI")])
def test_against_libigl(mass, kind, real):
    import igl

    pos, face = real
    theirs = igl.massmatrix(pos.numpy(), face.T.numpy(), getattr(igl, f"MASSMATRIX_TYPE_{kind}")).diagonal()
    floor = 2e-6 * theirs.mean()
    np.testing.assert_allclose(mass(pos, face)[theirs > floor], theirs[theirs > floor], rtol=1e-6, atol=1e-9 * floor)
    assert (theirs > floor).mean() > 0.95


@BOTH
def test_hard(mass, hard, finite_or_refused):
    m = finite_or_refused(mass, *hard)
    assert m is None or (m > 0).all()


@BOTH
def test_a_vertex_without_faces_gets_a_millionth_of_the_mean(mass, icosphere):
    pos, face = icosphere(1)
    m = mass(torch.cat([pos, pos[:1]]), face)
    assert m[-1].item() == pytest.approx(1e-6 * mass(pos, face).sum().item() / (len(pos) + 1), rel=1e-5)


@BOTH
def test_rigid_motion_and_scale(mass, bumpy, rotation):
    pos, face = bumpy()
    torch.testing.assert_close(mass(2 * (pos @ rotation[0].T + rotation[1]), face), 4 * mass(pos, face))


@BOTH
def test_gradient(mass, bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: mass(p, face), pos.clone().requires_grad_())


def test_no_area():
    with pytest.raises(CotanError, match="without area"):
        barycentric_mass(torch.ones(3, 3), torch.tensor([[0], [1], [2]]))


def test_degree_is_the_diagonal_of_the_laplacian():
    edge_index = torch.tensor([[0, 1, 1, 2, 2, 2], [1, 0, 2, 1, 2, 0]])
    weight = torch.tensor([0.25, 0.25, 3, 3, 9, 1])
    m = degree_mass(edge_index, 4, weight)
    L = graph_laplacian(edge_index, 4, weight)
    torch.testing.assert_close(m[:3], L.diagonal()[:3])
    assert m[3] == 1
    assert unit_mass(edge_index, 4).tolist() == [1, 1, 1, 1]
