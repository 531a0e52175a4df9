import math

import pytest
import torch

from cotan_voxels.crossings import counts_above, snap
from cotan_voxels.winding import winding_number

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


def test_chunks_change_nothing():
    generator = torch.Generator().manual_seed(0)
    triangles = snap(torch.rand(9, 3, 3, generator=generator, dtype=torch.float64) * R)
    assert torch.allclose(winding_number(triangles, R, budget=100), winding_number(triangles, R), atol=1e-12)
