import pytest
import torch

from cotan_voxels.distance import distance, pieces


@pytest.mark.parametrize(("count", "size"), [(1, 9.0), (6, 6.0), (200, 1.0), (60, 0.05)])
@pytest.mark.parametrize("truncation", [1.0, 3.0])
def test_against_libigl(count, size, truncation):
    igl = pytest.importorskip("igl")
    generator = torch.Generator().manual_seed(count)
    place = torch.rand(count, 1, 3, generator=generator, dtype=torch.float64) * 12
    triangles = place + size * torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    centre = torch.cartesian_prod(*[torch.arange(12, dtype=torch.float64) + 0.5] * 3)
    faces = torch.arange(3 * count).view(-1, 3).numpy()
    squared = igl.point_mesh_squared_distance(centre.numpy(), triangles.view(-1, 3).numpy(), faces)[0]
    expected = torch.from_numpy(squared).sqrt().clamp(max=truncation).view(12, 12, 12)
    assert torch.allclose(distance(triangles, 12, truncation), expected, atol=1e-9)


def test_balls_cover_triangles():
    generator = torch.Generator().manual_seed(1)
    flat = torch.tensor([[-10.0, 0, 0], [10, 0, 0], [0, 0.1, 0]], dtype=torch.float64)
    triangles = torch.randn(30, 3, 3, generator=generator, dtype=torch.float64) * 5
    triangles = torch.cat([triangles, torch.stack([flat.roll(k, 0) for k in range(3)])])
    weight = torch.rand(200, 1, 3, generator=generator, dtype=torch.float64).log()
    weight = weight / weight.sum(-1, keepdim=True)
    parent, middle, radius = pieces(triangles)
    for number, triangle in enumerate(triangles):
        own = parent == number
        gap = torch.cdist((weight @ triangle).squeeze(1), middle[own]) - radius[own]
        assert gap.min(1).values.max() < 1e-12


def test_needle_and_point():
    needle = torch.tensor([[[2.5, 2.5, 2.5], [4.5, 2.5, 2.5], [6.5, 2.5, 2.5]]], dtype=torch.float64)
    found = distance(needle, 8, 3.0)
    assert found[1, 2, 2] == pytest.approx(1)
    assert found[4, 4, 2] == pytest.approx(2)
    point = distance(needle[:, :1].expand(1, 3, 3), 8, 3.0)
    assert point[3, 4, 2] == pytest.approx(5**0.5)


def test_what_lies_far_beyond_the_grid_takes_no_memory():
    """Whole, these triangles would be cut into 10^12 pieces."""
    floor = torch.tensor([[[-1e6, -1e6, 3.25], [1e6, -1e6, 3.25], [0, 1e6, 3.25]]], dtype=torch.float64)
    found = distance(torch.cat([floor, floor + torch.tensor([0, 0, 1e5])]), 8, 3.0)
    expected = (torch.arange(8, dtype=torch.float64) + 0.5 - 3.25).abs().clamp(max=3)
    torch.testing.assert_close(found, expected.expand(8, 8, 8), atol=1e-9, rtol=0)
    assert (distance(floor + 1e5, 8, 3.0) == 3).all()
