"""Shapes that the tests look at."""

import os
from pathlib import Path

import pytest
import torch


def tensors(mesh, dtype=torch.float64):
    """A trimesh as pos (V, 3) and face (3, F)."""
    return torch.as_tensor(mesh.vertices.copy()).to(dtype), torch.as_tensor(mesh.faces.copy()).long().T.contiguous()


def sphere(subdivisions=3):
    import trimesh

    return tensors(trimesh.creation.icosphere(subdivisions=subdivisions))


def knot(around=60, across=12):
    """A trefoil tube: hides parts of itself from everywhere."""
    t = torch.arange(around, dtype=torch.float64) * 2 * torch.pi / around
    s = torch.arange(across, dtype=torch.float64) * 2 * torch.pi / across
    centre = torch.stack((t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()), 1)
    along = torch.nn.functional.normalize(centre.roll(-1, 0) - centre.roll(1, 0), dim=1)
    side = torch.nn.functional.normalize(torch.linalg.cross(along, along.new_tensor([[0.1, 0.2, 1.0]])), dim=1)
    rest = torch.linalg.cross(along, side)
    pos = centre[:, None] + 0.5 * (s.cos()[:, None] * side[:, None] + s.sin()[:, None] * rest[:, None])
    number = torch.arange(around * across).view(around, across)
    a, b, c, d = number, number.roll(-1, 0), number.roll(-1, 1), number.roll((-1, -1), (0, 1))
    face = torch.cat([torch.stack(k).flatten(1) for k in ((a, b, d), (a, d, c))], 1)
    return pos.view(-1, 3) / 3.6, face


def soup(count=60, seed=0):
    """Triangles at random."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.randn(3 * count, 3, generator=generator, dtype=torch.float64)
    return pos / pos.norm(dim=1).max(), torch.arange(3 * count).view(count, 3).T.contiguous()


def data(*patterns):
    """Paths of real meshes, or the test is skipped."""
    root = os.environ.get("COTAN_DATA")
    if not root:
        pytest.skip("COTAN_DATA is not set")
    return sorted(path for pattern in patterns for path in Path(root).glob(pattern))


def load(path):
    import trimesh

    return tensors(trimesh.load(path, process=False, force="mesh"))
