import pytest
import torch

from cotan.operators.edge_index import edge_index
from cotan.operators.gradient import gradient
from cotan.operators.normals import vertex_normals
from cotan.operators.tangent_frames import tangent_frames


def frames(pos, face):
    return tangent_frames(pos, edge_index(face), vertex_normals(pos, face))


def test_orthonormal_and_right_handed(hard):
    f = frames(*hard)
    eye = torch.eye(3, dtype=torch.float64).expand_as(f)
    torch.testing.assert_close(f @ f.mT, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(f), torch.ones(len(f), dtype=torch.float64), rtol=0, atol=1e-9)


def test_turn_with_the_shape(bumpy, rotation):
    pos, face = bumpy()
    torch.testing.assert_close(frames(2 * pos @ rotation[0].T + rotation[1], face), frames(pos, face) @ rotation[0].T)


def test_x_points_along_the_longest_edge():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 2, 0.0]])
    f = frames(pos, torch.tensor([[0], [1], [2]]))
    torch.testing.assert_close(f[0], torch.tensor([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=torch.float64))


def test_on_sheets_of_two_sides_the_plane_is_that_of_the_sheet(square, rotation):
    """Each face is there twice, the other way round too: normals cancel."""
    pos, face = square(4)
    turn, shift = rotation
    pos, face = pos @ turn.T + shift, torch.cat([face, face.flip(0)], 1)
    assert not vertex_normals(pos, face).any()
    f = frames(pos, face)
    torch.testing.assert_close((f[:, 2] @ turn[:, 2]).abs(), torch.ones(16, dtype=torch.float64))
    torch.testing.assert_close(frames(pos @ turn.T, face), f @ turn.T)
    linear = pos @ turn[:, 0]
    g = gradient(pos, edge_index(face), f)
    found = (g.x @ linear)[:, None] * f[:, 0] + (g.y @ linear)[:, None] * f[:, 1]
    torch.testing.assert_close(found, turn[:, 0].expand(16, 3), rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [1e-7, 1.0, 1e7])
def test_edges_of_one_line(size, rotation):
    """Across the line all there is is rounding, which gives no plane, and along a normal on the line no x."""
    line = rotation[0][:, 0]
    axis = torch.eye(3, dtype=torch.float64)[line.abs().argmin()]
    aside = torch.nn.functional.normalize(axis - axis @ line * line, dim=0).expand(3, 3)
    length = size * torch.tensor([0.0, 1.1, 2.3], dtype=torch.float64)
    pos, face = length[:, None] * line, torch.tensor([[0], [1], [2]])
    f = frames(pos, face)
    torch.testing.assert_close(f[:, 2], aside)
    torch.testing.assert_close(f[:, 0] @ line, torch.tensor([1, 1, -1], dtype=torch.float64))
    torch.testing.assert_close(gradient(pos, edge_index(face), f).x @ length, f[:, 0] @ line)
    x = tangent_frames(pos, torch.tensor([[0, 1, 2], [1, 2, 0]]), line.expand(3, 3))[:, 0]
    torch.testing.assert_close(x, aside)


def test_without_edges():
    f = tangent_frames(torch.zeros(2, 3), torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 3))
    torch.testing.assert_close(f, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


def test_gradient(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: frames(p, face), pos.clone().requires_grad_())
