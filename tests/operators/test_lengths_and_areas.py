import pytest
import torch

from cotan.operators.edge_index import edge_index
from cotan.operators.edge_lengths import edge_lengths
from cotan.operators.face_areas import face_areas
from cotan.operators.triangles import triangles

POS = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 4, 0]])
FACE = torch.tensor([[0], [1], [2]])


def test_three_four_five():
    assert edge_lengths(POS, edge_index(FACE)).tolist() == [3, 4, 3, 5, 4, 5]
    assert face_areas(POS, FACE).tolist() == [6]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_a_flat_triangle_weighs_as_a_millionth_of_its_squared_sides(order):
    flat = triangles(
        torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], dtype=torch.float64), torch.tensor(order)[:, None]
    )
    assert flat.area.tolist() == [0]
    assert flat.floored.item() == pytest.approx(1e-6 * (1 + 4 + 9))
    assert triangles(POS.double(), FACE).floored.tolist() == [6]


def test_hard(hard, finite_or_refused):
    pos, face = hard
    assert (finite_or_refused(face_areas, pos, face) >= 0).all()
    finite_or_refused(edge_lengths, pos, edge_index(face))


def test_scale(bumpy, rotation):
    pos, face = bumpy()
    moved = 3 * (pos @ rotation[0].T + rotation[1])
    torch.testing.assert_close(face_areas(moved, face), 9 * face_areas(pos, face))
    edges = edge_index(face)
    torch.testing.assert_close(edge_lengths(moved, edges), 3 * edge_lengths(pos, edges))


def test_derivative_of_no_length_is_finite():
    pos = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    (edge_lengths(pos, edge_index(FACE)).sum() + face_areas(pos, FACE).sum()).backward()
    assert torch.isfinite(pos.grad).all()


def test_a_loop_leaves_second_derivatives_of_lengths_as_they_are():
    """As of forces, the gradient of an energy, in a loss."""
    pos = POS.double().requires_grad_()
    edges, loops = edge_index(FACE), torch.arange(3).expand(2, 3)

    def second(edges):
        (force,) = torch.autograd.grad(edge_lengths(pos, edges).pow(3).sum(), pos, create_graph=True)
        return torch.autograd.grad(force.square().sum(), pos)[0]

    torch.testing.assert_close(second(torch.cat([edges, loops], 1)), second(edges))
    assert second(edges).abs().max() > 1
    pos = (1e-200 * POS.double()).requires_grad_()  # of which the squares are 0
    assert not second(edges).any()
