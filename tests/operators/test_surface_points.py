import math

import pytest
import torch
from torch_geometric.data import Batch

import cotan
from cotan.operators import face_areas, face_normals, surface_points

SQUARE = torch.tensor([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], dtype=torch.float64)
HALVES = torch.tensor([[0, 0], [1, 2], [2, 3]])


def test_they_lie_on_their_faces(bumpy):
    pos, face = bumpy()
    points = surface_points(pos, face, size=500)
    corners = pos[face[:, points.of_face]].double()  # (3, N, 3)
    assert (points.barycentric >= 0).all()
    torch.testing.assert_close(points.barycentric.sum(1), torch.ones(500, dtype=torch.float64))
    torch.testing.assert_close(points.pos, torch.einsum("nk,knc->nc", points.barycentric, corners))
    torch.testing.assert_close(
        ((points.pos - corners[0]) * points.normal).sum(1).abs().max().item(), 0.0, atol=1e-12, rtol=0
    )
    assert torch.equal(points.normal, face_normals(pos, face)[points.of_face])


def test_each_face_has_its_share(bumpy):
    pos, face = bumpy()
    count = surface_points(pos, face, size=5000).of_face.bincount(minlength=face.shape[1])
    share = face_areas(pos, face)
    assert ((count - 5000 * share / share.sum()).abs() < 2).all()


def test_within_a_face_they_are_uniform():
    # On a rectangle, the means of x, y and their products are those of its area; in parts, the first points too.
    x, y, _ = surface_points(SQUARE, HALVES, size=40_000).pos[:20_000].T
    for value, mean in ((x, 1), (y, 1 / 2), (x * y, 1 / 2), (x * x, 4 / 3), (y * y, 1 / 3), ((x > 1.8).double(), 0.1)):
        assert abs(value.mean() - mean) < 5 * value.std() / math.sqrt(20_000)


def test_faces_without_area_have_none():
    face = torch.tensor([[0, 0, 0, 1], [0, 1, 2, 1], [1, 2, 3, 1]])  # the first and the last are a line and a point
    assert set(surface_points(SQUARE, face, size=50).of_face.tolist()) == {1, 2}
    with pytest.raises(cotan.CotanError, match="all faces have area zero"):
        surface_points(SQUARE, face[:, [0, 3]])
    with pytest.raises(cotan.CotanError, match="size=0, expected a whole number of at least 1"):
        surface_points(SQUARE, HALVES, size=0)


def test_the_seed_alone_decides():
    a, b, c = (surface_points(SQUARE, HALVES, size=9, seed=seed).pos for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_derivatives(bumpy):
    pos, face = bumpy()
    few = face[:, :4]
    pos = pos[: few.max() + 1].double().requires_grad_()

    def places(pos):
        points = surface_points(pos, few, size=5)
        return points.pos, points.normal

    assert torch.autograd.gradcheck(places, pos)


def test_of_meshes_in_a_batch(tetrahedron):
    points = [cotan.compute(tetrahedron, "surface_points", size=n) for n in (5, 7)]
    batch = Batch.from_data_list(points)
    assert torch.equal(batch.of_face, torch.cat([p.of_face for p in points]))  # numbers of faces stay as they are
    normals = cotan.compute(points[1], "vertex_normals", nearest_neighbours=cotan.node("nearest_neighbours", k=3))
    torch.testing.assert_close(normals, points[1].normal)
    of_points = cotan.compute(tetrahedron, cotan.node("normalized_pos", on=cotan.node("surface_points", size=6)))
    assert of_points.shape == (6, 3)
