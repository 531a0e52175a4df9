import torch

from cotan.operators.edge_index import edge_index
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


def test_gradient(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: frames(p, face), pos.clone().requires_grad_())
