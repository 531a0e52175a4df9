import math

import pytest
import torch

from cotan import CotanError
from cotan.operators.edge_index import edge_index
from cotan.operators.normals import vertex_normals
from cotan.operators.pseudo_coordinates import (
    degree_coordinates,
    geodesic_coordinates,
    offset_coordinates,
    polar_coordinates,
    relative_coordinates,
    tangent_coordinates,
)
from cotan.operators.tangent_frames import tangent_frames


def polar(pos, face):
    edges = edge_index(face)
    return polar_coordinates(pos, edges, tangent_frames(pos, edges, vertex_normals(pos, face)))


def test_source_seen_from_target():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    face = torch.tensor([[0], [1], [2]])
    edges = edge_index(face)
    offset = offset_coordinates(pos, edges)
    to_origin = edges[1] == 0
    assert offset[to_origin].tolist() == [[1, 0, 0], [0, 2, 0]]
    # The longest edge at 0 leads to 2: its angle is 0, and 1 lies clockwise of it. The mean of 1, 4 and 5 is 10/3.
    unit = (10 / 3) ** 0.5
    torch.testing.assert_close(
        polar(pos, face)[to_origin], torch.tensor([[1 / unit, -math.pi / 2], [2 / unit, 0]], dtype=torch.float64)
    )


def test_polar_is_kept_by_rigid_motion(bumpy, rotation):
    pos, face = bumpy()
    before, after = polar(pos, face), polar(pos @ rotation[0].T + rotation[1], face)
    torch.testing.assert_close(before[:, 0], after[:, 0])
    torch.testing.assert_close(before[:, 1].sin(), after[:, 1].sin(), rtol=0, atol=1e-7)
    torch.testing.assert_close(before[:, 1].cos(), after[:, 1].cos(), rtol=0, atol=1e-7)


def test_straight_above_but_for_rounding_there_is_no_angle(rotation):
    pos = 7 * torch.stack([torch.zeros(3), rotation[0][:, 2]])
    found = polar_coordinates(pos, torch.tensor([[1], [0]]), rotation[0].T.expand(2, 3, 3))
    torch.testing.assert_close(found, torch.tensor([[1, 0]], dtype=torch.float64), rtol=1e-12, atol=0)


def test_tangent_coordinates_turn_with_the_frames(bumpy):
    pos, face = bumpy()
    edges = edge_index(face)
    frames = tangent_frames(pos, edges, vertex_normals(pos, face))
    before = tangent_coordinates(pos, edges, frames)
    torch.testing.assert_close(before.norm(dim=1), polar_coordinates(pos, edges, frames)[:, 0])
    torch.testing.assert_close(before.square().sum(1).mean(), torch.tensor(1, dtype=torch.float64))
    turn = torch.tensor([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=torch.float64)  # x, y of a frame become y, -x
    x, y = before.T
    torch.testing.assert_close(tangent_coordinates(pos, edges, turn @ frames), torch.stack([y, -x], 1))


def test_tangent_coordinates_of_a_plane_are_its_own(square):
    pos, face = square()
    edges = edge_index(face)
    flat = tangent_coordinates(pos, edges, torch.eye(3, dtype=torch.float64).expand(len(pos), 3, 3))
    torch.testing.assert_close(flat, relative_coordinates(pos, edges)[:, :2])


def test_relative_is_the_offset_in_the_unit_of_the_edges(bumpy):
    pos, face = bumpy()
    edges = edge_index(face)
    relative = relative_coordinates(pos, edges)
    torch.testing.assert_close(relative.square().sum(1).mean(), torch.tensor(1, dtype=torch.float64))
    assert torch.linalg.matrix_rank(torch.stack([relative.flatten(), offset_coordinates(pos, edges).flatten()])) == 1
    torch.testing.assert_close(relative_coordinates(1e-3 * pos, edges), relative)
    nowhere = relative_coordinates(torch.zeros(3, 3), torch.tensor([[0, 1], [1, 2]]))
    assert not nowhere.any()
    assert relative_coordinates(pos, edges[:, :0]).shape == (0, 3)


def test_degree_of_a_star():
    edges = torch.tensor([[1, 2, 3, 0, 0, 0], [0, 0, 0, 1, 2, 3]])
    thirds = 3**-0.5
    torch.testing.assert_close(
        degree_coordinates(edges, 5), torch.tensor([[1, thirds]] * 3 + [[thirds, 1]] * 3, dtype=torch.float64)
    )


def test_geodesic_coordinates_in_the_unit_of_their_pairs():
    polar = torch.tensor([[3.0, -1], [1, 2], [5, 3], [1, 0]], dtype=torch.float64)
    torch.testing.assert_close(geodesic_coordinates(polar), polar / torch.tensor([3, 1]).double())  # 36 / 4
    assert not geodesic_coordinates(0 * polar).any()
    polar[2, 0] = math.inf
    with pytest.raises(CotanError, match="kind='geodesic': an edge whose ends no way over the faces connects"):
        geodesic_coordinates(polar)


def test_hard(hard):
    assert torch.isfinite(polar(*hard)).all()


def test_derivative(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: polar(p, face)[:, 0], pos.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda p: polar(p, face)[:, 1].cos(), pos.clone().requires_grad_())
