import numpy as np
import pytest
import torch

from cotan_voxels.distance import cut, distance


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


def test_pieces_are_small_and_cover_the_triangle():
    triangle = torch.tensor([[[-10.0, 0, 0], [10, 0, 0], [0, 7, 3]]], dtype=torch.float64)
    parts = cut(triangle)
    assert (parts - parts.roll(1, 1)).norm(dim=-1).max() <= 2
    normal = torch.linalg.cross(parts[:, 1] - parts[:, 0], parts[:, 2] - parts[:, 0])
    whole = torch.linalg.cross(triangle[0, 1] - triangle[0, 0], triangle[0, 2] - triangle[0, 0])
    torch.testing.assert_close(normal.sum(0), whole)
    assert ((normal @ whole) > 0).all()
    assert len(cut(triangle, most=10)) < 40


@pytest.mark.parametrize("truncation", [3.0, 24.0])
def test_a_fine_mesh_against_libigl(truncation, monkeypatch):
    """A torus with flat and curved cells of many triangles, and voxels far from all of them."""
    igl, trimesh = pytest.importorskip("igl"), pytest.importorskip("trimesh")
    mesh = trimesh.creation.torus(7, 2.5, major_sections=96, minor_sections=48)
    box = trimesh.creation.box(extents=(3, 3, 20)).subdivide().subdivide()
    mesh = trimesh.util.concatenate([mesh, box.apply_translation([8, 8, 0])])
    mesh.apply_translation([11.3, 10.1, 12.2])
    centre = torch.cartesian_prod(*[torch.arange(24, dtype=torch.float64) + 0.5] * 3)[::7]
    squared = igl.point_mesh_squared_distance(
        centre.numpy(), mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray)
    )[0]
    expected = torch.from_numpy(squared).sqrt().clamp(max=truncation)
    triangles = torch.tensor(mesh.triangles.copy())
    found = distance(triangles, 24, truncation)
    assert torch.allclose(found.flatten()[::7], expected, atol=1e-9)
    monkeypatch.setattr("cotan_voxels.grid.BUDGET", 5000)
    assert torch.equal(distance(triangles, 24, truncation), found)


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
