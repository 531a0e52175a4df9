import math

import numpy as np
import pytest
import torch

from cotan.operators.intrinsic_delaunay import intrinsic_delaunay, side_lengths


def flipped(pos, face):
    return intrinsic_delaunay(face, side_lengths(pos, face))


def four_areas(length):
    return (length.sum(0) * (length.sum(0) - 2 * length).clamp_min(0).prod(0)).sqrt()


def cotangents(length):
    return (length.square().sum(0) - 2 * length.square()) / four_areas(length)


@pytest.mark.parametrize("stretch", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("turned", [False, True])
def test_the_laplacian_is_that_of_robust_laplacian(stretch, turned, bumpy):
    """The weights are those of another library's flips, also where faces do not agree."""
    import robust_laplacian
    from scipy.sparse import coo_array

    pos, face = bumpy()
    pos = pos * torch.tensor([stretch, 1, 1], dtype=torch.float64)
    given = face.clone()
    if turned:
        given[:, ::3] = given[:, ::3].flip(0)
    found, length = flipped(pos, given)
    weight = cotangents(length).reshape(-1).numpy() / 2
    i, j = found.roll(2, 0).reshape(-1).numpy(), found.roll(1, 0).reshape(-1).numpy()
    rows, cols = np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j])
    ours = coo_array((np.concatenate([-weight, -weight, weight, weight]), (rows, cols)), shape=(len(pos),) * 2)
    theirs, _ = robust_laplacian.mesh_laplacian(pos.numpy(), face.T.numpy(), mollify_factor=0)
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-6 * abs(theirs).max())


@pytest.mark.parametrize("stretch", [1.0, 5.0, 30.0])
def test_faces_in_the_plane_are_those_of_qhull(stretch, square):
    from scipy.spatial import Delaunay

    pos, face = square(9)
    inside = ((pos[:, :2] > 0) & (pos[:, :2] < 1)).all(1)
    moved = 0.05 * torch.rand(len(pos), 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pos[inside, :2] += moved[inside]
    pos = pos * torch.tensor([stretch, 1, 1], dtype=torch.float64)
    found, _ = flipped(pos, face)
    assert torch.equal(
        *(
            torch.unique(each.sort(1).values, dim=0)
            for each in (found.T, torch.tensor(Delaunay(pos[:, :2]).simplices).long())
        )
    )


def test_by_hand():
    """A rhombus 4 long and 2 wide, cut along its length: the other diagonal is 2."""
    pos = torch.tensor([[0, 0, 0], [4, 0, 0], [2, 1, 0], [2, -1, 0]], dtype=torch.float64)
    found, length = flipped(pos, torch.tensor([[0, 0], [1, 1], [2, 3]]))
    assert {tuple(sorted(each)) for each in found.T.tolist()} == {(0, 2, 3), (1, 2, 3)}
    torch.testing.assert_close(length.sort(0).values[:, 0], torch.tensor([2, 5**0.5, 5**0.5], dtype=torch.float64))


def test_ties_stay(square, rotation):
    pos, face = square(6)
    assert torch.equal(flipped(pos @ rotation[0].T + rotation[1], face)[0], face)


def test_what_cannot_be_flipped_stays():
    corner = torch.tensor([[0, 0, 0], [4, 0, 0], [2, 1, 0], [2, -1, 0], [2, 0, 1]], dtype=torch.float64)
    for face in (
        [[0, 1, 2]],
        [[0, 1, 2], [0, 1, 3], [0, 1, 4]],  # three faces at an edge
        [[0, 1, 2], [0, 2, 1]],  # both sides of one triangle: the flip would join 2 to itself
        [[0, 1, 2], [0, 0, 1]],
    ):
        face = torch.tensor(face).T
        assert torch.equal(flipped(corner, face)[0], face)


def test_hard(hard):
    """The same area and the same vertices, and no face names a vertex twice that did not."""
    pos, face = hard
    before = side_lengths(pos, face)
    found, length = intrinsic_delaunay(face, before)
    assert torch.isfinite(length).all()
    assert four_areas(length).sum().item() == pytest.approx(four_areas(before).sum().item(), rel=1e-6)
    twice = [((each == each.roll(1, 0)).any(0)).sum() for each in (face, found)]
    assert twice[0] == twice[1]
    assert torch.equal(torch.unique(found), torch.unique(face))


def test_a_vertex_of_many_faces_ends_and_is_right_so_far():
    turn = torch.arange(1000, dtype=torch.float64) * 2 * math.pi / 1000
    pos = torch.stack([3 * turn.cos(), turn.sin(), torch.zeros(1000)], 1)
    face = torch.stack([torch.zeros(998).long(), torch.arange(1, 999), torch.arange(2, 1000)])
    found, length = flipped(pos, face)
    torch.testing.assert_close(length, side_lengths(pos, found))  # in the plane, each length is that of its ends
    assert not torch.equal(found, face)
