import math

import numpy as np
import pytest
import torch

from cotan_voxels.crossings import counts_above, snap
from cotan_voxels.winding import by_dipoles, winding_number

R = 6


def centres() -> torch.Tensor:
    line = torch.arange(R, dtype=torch.float64) + 0.5
    return torch.cartesian_prod(line, line, line)


def brute_force(triangles: torch.Tensor) -> torch.Tensor:
    """The sum of the solid angles of all triangles: L'Huilier's theorem, signed by the side."""
    total = torch.zeros(R**3, dtype=torch.float64)
    for triangle in triangles:
        u = torch.nn.functional.normalize(triangle - centres()[:, None], dim=-1)
        sides = [(u[:, i] * u[:, j]).sum(-1).clamp(-1, 1).acos() for i, j in ((1, 2), (2, 0), (0, 1))]
        half = sum(sides) / 2
        tangent = (half / 2).tan() * torch.stack([((half - s) / 2).tan() for s in sides]).prod(0)
        angle = 4 * tangent.clamp(min=0).sqrt().atan()
        total += angle * torch.linalg.det(u).sign()
    return (total / (4 * math.pi)).view(R, R, R)


@pytest.mark.parametrize("seed", range(5))
def test_any_triangles_against_their_solid_angles(seed):
    generator = torch.Generator().manual_seed(seed)
    triangles = snap(torch.rand(7, 3, 3, generator=generator, dtype=torch.float64) * R)
    assert torch.allclose(winding_number(triangles, R), brute_force(triangles), atol=1e-6)


@pytest.mark.parametrize("height", [0.0, 2.25, 6.0])
def test_lines_through_edges_and_corners(height):
    """An open square whose edges, diagonal and corners lie over centres, also tilted: ties of every kind."""
    corners = torch.tensor([[1.5, 1.5, 0], [4.5, 1.5, 0], [4.5, 4.5, 0], [1.5, 4.5, 0]], dtype=torch.float64)
    corners[:, 2] = height + torch.tensor([0.0, 0.1, 0.2, 0.1])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        square = corners[order][torch.tensor([[0, 1, 2], [0, 2, 3]])]
        found, expected = winding_number(snap(square), R), brute_force(snap(square))
        assert torch.allclose(found, expected, atol=1e-5)


def test_closed_is_a_count_of_crossings():
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=2.3)
    triangles = snap(torch.tensor(mesh.triangles.copy()) + R / 2)
    assert torch.equal(winding_number(triangles, R), counts_above(triangles, R, signed=True).double())


def test_chunks_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    triangles = snap(torch.rand(9, 3, 3, generator=generator, dtype=torch.float64) * R)
    whole = winding_number(triangles, R)
    monkeypatch.setattr("cotan_voxels.grid.BUDGET", 100)
    assert torch.allclose(winding_number(triangles, R), whole, atol=1e-12)


@pytest.mark.parametrize(
    ("missing", "middle"), [(0.05, (16, 16, 16)), (0.2, (16, 16, 16)), (0.2, (3, 20, 30)), (0.2, (60, 16, 16))]
)
def test_many_holes_against_libigl(missing, middle, monkeypatch):
    """A sphere without some of its faces, in the grid, cut off by it and beside it."""
    igl, trimesh = pytest.importorskip("igl"), pytest.importorskip("trimesh")
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=14)
    triangles = torch.tensor(sphere.triangles[np.random.default_rng(0).random(len(sphere.faces)) > missing])
    triangles = snap(triangles + torch.tensor(middle))
    line = torch.arange(32, dtype=torch.float64) + 0.5
    faces, some = np.arange(3 * len(triangles)).reshape(-1, 3), torch.cartesian_prod(line, line, line)[::7]
    expected = torch.from_numpy(igl.winding_number(triangles.view(-1, 3).numpy(), faces, some.numpy()))
    found = by_dipoles(triangles, 32)
    near = found.flatten()[::7]
    assert (near - expected).abs().max() < 0.02
    assert ((near > 0.5) != (expected > 0.5)).sum() <= 1e-3 * (expected > 0.5).sum()
    monkeypatch.setattr("cotan_voxels.grid.BUDGET", 5000)
    assert torch.allclose(by_dipoles(triangles, 32), found, atol=1e-12)


def by_angles_and_by_lids(triangles, resolution, monkeypatch):
    monkeypatch.setattr("cotan_voxels.winding.EXACT", 1e12)
    expected = winding_number(triangles, resolution)
    monkeypatch.setattr("cotan_voxels.winding.EXACT", 0)
    return expected, winding_number(triangles, resolution)


@pytest.mark.parametrize("missing", ["tenth", "rough", "level", "upright"])
def test_lids_against_angles_at_the_rim(missing, monkeypatch):
    """Holes everywhere and one large one, rough or in the plane of centres. Of all faces, dipoles are off by 0.02 to 0.04."""
    trimesh = pytest.importorskip("trimesh")
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=11)
    box = trimesh.creation.box(extents=(20, 21, 19)).subdivide().subdivide().subdivide()
    generator = np.random.default_rng(0)
    keep = {
        "tenth": generator.random(5120) > 0.1,
        "rough": sphere.triangles_center[:, 2] + generator.normal(size=5120) < 4,
        "level": box.triangles_center[:, 2] < 9.4,
        "upright": box.triangles_center[:, 0] < 9.9,
    }[missing]
    mesh = box if missing in ("level", "upright") else sphere
    triangles = snap(torch.tensor(mesh.triangles[keep]) + 12)
    expected, found = by_angles_and_by_lids(triangles, 24, monkeypatch)
    assert (found - expected).abs().max() < 0.02
    assert (found - expected).abs().mean() < 0.003


def test_lids_that_run_through_centres(monkeypatch):
    """Of a cube without some of its faces, on the lattice: upright lids along the way that this lies beside the centres."""
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box().subdivide()
    for seed in range(90, 100):
        keep = np.random.default_rng(seed).random(len(box.faces)) > 0.2
        triangles = snap(torch.tensor((box.triangles[keep] + 0.5) * 11 + 0.5))
        expected, found = by_angles_and_by_lids(triangles, 12, monkeypatch)
        assert (found - expected).abs().max() < 0.2  # one where lids and crossings disagree


@pytest.mark.parametrize("depth", [0.055, 0.185])
def test_lids_that_run_just_above_centres(depth, monkeypatch):
    """A box cut off along a rim that zigzags: slanting lids less than 1e-7 above a centre, as the lattice lies beside it."""
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box().subdivide().subdivide().subdivide()
    cut_off = torch.tensor(box.triangles[box.triangles_center[:, 2] > -depth])
    low, high = cut_off.amin((0, 1)), cut_off.amax((0, 1))
    triangles = snap((cut_off - (low + high) / 2) / ((high - low).max() / 14) + 8)
    expected, found = by_angles_and_by_lids(triangles, 16, monkeypatch)
    assert (found - expected).abs().max() < 0.1  # one where lids and crossings disagree


def test_large_lids_are_not_taken(monkeypatch):
    """Of a band of a sphere, whose lids are larger than itself and took three times as long as its faces."""
    trimesh = pytest.importorskip("trimesh")
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=11)
    triangles = snap(torch.tensor(sphere.triangles[abs(sphere.triangles_center[:, 2]) < 3]) + 12)
    monkeypatch.setattr("cotan_voxels.winding.EXACT", 0)
    assert torch.equal(winding_number(triangles, 24), by_dipoles(triangles, 24))


def test_of_a_scan_with_holes_dipoles_are_given_the_lids_alone(monkeypatch):
    trimesh = pytest.importorskip("trimesh")
    sphere = trimesh.creation.icosphere(subdivisions=6, radius=31)
    triangles = snap(torch.tensor(sphere.triangles[np.random.default_rng(0).random(len(sphere.faces)) > 0.001]) + 32)
    given = []
    monkeypatch.setattr("cotan_voxels.winding.by_dipoles", lambda t, r: given.append(len(t)) or by_dipoles(t, r))
    found = winding_number(triangles, 64)
    assert 0 < sum(given) < 0.01 * len(triangles)
    assert abs(int((found > 0.5).sum()) / (4 / 3 * math.pi * 31**3) - 1) < 1e-3


def test_loose_faces_of_all_sizes():
    """Large faces are cut up, one in the plane of centres is below them, and one without area is nothing."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(100, 1, 3, generator=generator, dtype=torch.float64) * R
    small = small + 0.3 * torch.randn(100, 3, 3, generator=generator, dtype=torch.float64)
    large = torch.tensor([[[-50.0, -40, 2.5], [60, -40, 2.5], [0, 70, 2.5]], [[-9.0, 0, 0], [9, 1, 0], [2, 9, 9]]])
    triangles = snap(torch.cat([small, large.double(), centres()[:1, None].expand(1, 3, 3)]))
    expected = brute_force(triangles - torch.tensor([0, 0, 1e-6], dtype=torch.float64))
    assert torch.allclose(by_dipoles(triangles, R), expected, atol=0.02)


def test_level_faces_through_centres():
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box(extents=(4, 3, 3)).apply_translation([3, 3, 3])
    triangles = snap(torch.tensor(box.triangles.copy()))
    assert torch.equal(by_dipoles(triangles, R).round(), counts_above(triangles, R, signed=True).double())
