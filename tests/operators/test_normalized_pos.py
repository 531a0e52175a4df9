import pytest
import torch

from cotan.operators.normalized_pos import normalized_pos
from cotan.operators.triangles import triangles


@pytest.mark.parametrize("scale", [3, 1e-3])
def test_scale_and_translation(bumpy, scale):
    pos, face = bumpy()
    moved = scale * (pos + torch.tensor([5.0, -2, 1]))
    torch.testing.assert_close(normalized_pos(moved, face), normalized_pos(pos, face))
    torch.testing.assert_close(normalized_pos(moved, face, scale="area"), normalized_pos(pos, face, scale="area"))
    torch.testing.assert_close(normalized_pos(moved), normalized_pos(pos))


@pytest.mark.parametrize("size", [2.0**-1000, 2.0**-600, 2.0**90])
def test_any_size(bumpy, size):
    pos, face = bumpy()
    assert torch.equal(normalized_pos(size * pos, face), normalized_pos(pos, face))
    assert torch.equal(normalized_pos(size * pos, face, scale="area"), normalized_pos(pos, face, scale="area"))
    assert torch.equal(normalized_pos(size * pos), normalized_pos(pos))


def test_radius_and_area(bumpy):
    pos, face = bumpy()
    assert normalized_pos(pos, face).norm(dim=1).max().item() == pytest.approx(1)
    assert normalized_pos(pos).norm(dim=1).max().item() == pytest.approx(1)
    assert triangles(normalized_pos(pos, face, scale="area"), face).area.sum().item() == pytest.approx(1)


def test_centre_does_not_follow_the_sampling(square):
    pos, face = square(9)
    crowded = pos.clone()
    crowded[:, 0] = pos[:, 0] ** 2
    torch.testing.assert_close(normalized_pos(crowded, face).amax(0), normalized_pos(pos, face).amax(0))


@pytest.mark.parametrize("centre", ["surface", "vertices"])
def test_loose_vertices_do_not_count(bumpy, centre):
    pos, face = bumpy()
    far = torch.cat([pos, 1e6 * pos[:1]])
    torch.testing.assert_close(normalized_pos(far, face, centre=centre)[:-1], normalized_pos(pos, face, centre=centre))


@pytest.mark.parametrize("scale", ["radius", "area"])
def test_the_mean_of_the_vertices_is_the_origin(bumpy, scale):
    pos, face = bumpy()
    found = normalized_pos(pos, face, scale=scale, centre="vertices")
    torch.testing.assert_close(found.mean(0), torch.zeros(3, dtype=found.dtype))
    size = found.norm(dim=1).max() if scale == "radius" else triangles(found, face).area.sum()
    assert size.item() == pytest.approx(1)
    assert normalized_pos(pos, face, scale=scale).mean(0).norm() > 1e-4


def test_hard(hard):
    assert torch.isfinite(normalized_pos(*hard)).all()


def test_a_point_stays_finite():
    assert normalized_pos(torch.ones(4, 3)).abs().max() == 0
    assert normalized_pos(torch.ones(3, 3), torch.tensor([[0], [1], [2]])).abs().max() == 0


@pytest.mark.parametrize("centre", ["surface", "vertices"])
def test_gradient(bumpy, centre):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: normalized_pos(p, face, centre=centre), pos.clone().requires_grad_())
