import pytest
import torch

import cotan
from cotan_views.normalise import normalise

from .shapes import knot, soup, sphere


@pytest.mark.parametrize("shape", [knot, soup, sphere])
def test_the_surface_is_centred_in_the_unit_ball(shape):
    pos, face = shape()
    pos = normalise(pos * 7 + torch.tensor([3.0, -2, 1]), face)
    torch.testing.assert_close(pos.norm(dim=1).max(), torch.tensor(1.0, dtype=torch.float64))
    a, b, c = pos[face]
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    torch.testing.assert_close(area @ (a + b + c), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_it_does_not_depend_on_where_and_how_large_the_shape_is_and_turns_with_it():
    pos, face = knot()
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    moved = normalise(pos @ turn * 100 + 5, face)
    torch.testing.assert_close(moved, normalise(pos, face) @ turn)


@pytest.mark.parametrize("align", ["none", "principal"])
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_of_areas_do_not_overflow(size, align):
    pos, face = soup()
    torch.testing.assert_close(normalise(pos * size, face, align), normalise(pos, face, align))


def rotation(seed):
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


@pytest.mark.parametrize("shape", [knot, soup])
def test_on_its_principal_axes_a_shape_may_be_turned_as_it_likes(shape):
    pos, face = shape()
    expected = normalise(pos, face, "principal")
    for seed in range(5):
        turn = rotation(seed)
        torch.testing.assert_close(torch.linalg.det(turn), torch.tensor(1.0, dtype=torch.float64))
        torch.testing.assert_close(normalise(pos @ turn, face, "principal"), expected, atol=1e-9, rtol=0)
    # It is a rotation of what it is without.
    plain = normalise(pos, face)
    torch.testing.assert_close(torch.linalg.lstsq(plain, expected).solution.det(), torch.ones((), dtype=torch.float64))


def test_principal_axes_are_ordered_by_extent_of_the_surface_not_of_the_vertices():
    import trimesh

    from .shapes import tensors

    pos, face = tensors(trimesh.creation.box((1, 3, 2)).subdivide().subdivide())
    # Finer faces on one side are no more surface.
    fine = trimesh.Trimesh(pos, face.T, process=False)
    fine = fine.subdivide(face_index=(fine.triangles_center[:, 0] > 0.49).nonzero()[0])
    pos, face = tensors(fine)
    wide = normalise(pos, face, "principal").amax(0)
    torch.testing.assert_close(wide / wide[0], torch.tensor([1, 2 / 3, 1 / 3], dtype=torch.float64))


def test_vertices_without_a_face_do_not_count():
    pos, face = sphere(2)
    more = torch.cat((pos, torch.tensor([[100.0, 0, 0]])))
    torch.testing.assert_close(normalise(more, face)[:-1], normalise(pos, face))


def test_it_is_differentiable():
    pos, face = soup(4)
    for align in ("none", "principal"):
        assert torch.autograd.gradcheck(lambda p, align=align: normalise(p, face, align), pos.requires_grad_())


@pytest.mark.parametrize(
    ("pos", "face", "message"),
    [
        (torch.rand(3, 3), torch.zeros(3, 0, dtype=torch.int64), "no faces"),
        (torch.full((3, 3), torch.inf), torch.tensor([[0], [1], [2]]), "finite"),
        (torch.rand(3, 2), torch.tensor([[0], [1], [2]]), r"pos: expected shape \(V, 3\), got \(3, 2\)"),
        (torch.ones(3, 3), torch.tensor([[0], [1], [2]]), "area zero"),
        (torch.rand(3, 1) * torch.ones(3), torch.tensor([[0], [1], [1]]), "area zero"),
    ],
)
def test_what_has_no_surface_is_refused(pos, face, message):
    with pytest.raises(cotan.CotanError, match=message):
        normalise(pos.double(), face)
