"""Shapes for the operators' tests: small closed and open ones, random soups, and the real meshes of COTAN_DATA."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from cotan.errors import CotanError

HARD = (
    "capsule.obj",
    "chair_model.obj",
    "cycloidal.ply",
    "deg_faces.obj",
    "degenerate_mesh.obj",
    "degenerated.obj",
    "fan3.obj",
    "non_manifold_wrap.obj",
    "sliver_tet.ply",
    "teapot.obj",
    "triple_vierbein.obj",
    "wallhole.obj",
)


def real_mesh(name):
    """pos (V, 3), face (3, F) as the file has them, without welding."""
    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    import trimesh

    mesh = trimesh.load(Path(os.environ["COTAN_DATA"]) / "meshes" / name, process=False, force="mesh")
    return torch.tensor(np.asarray(mesh.vertices)), torch.tensor(np.asarray(mesh.faces).T.copy()).long()


@pytest.fixture(params=HARD)
def hard(request):
    return real_mesh(f"hard/{request.param}")


REAL = ("clean/spot.ply", "clean/fandisk.obj", "clean/bunny.off", "clean/armadillo.obj", "hard/capsule.obj")


@pytest.fixture(scope="session", params=REAL)
def real(request):
    """Meshes that other libraries can do too: faces without area, by which they divide, are left out."""
    pos, face = real_mesh(request.param)
    sides = pos[face] - pos[face[[1, 2, 0]]]
    area = torch.linalg.cross(sides[0], sides[1]).norm(dim=1)
    return pos, face[:, area > 1e-5 * sides.square().sum((0, 2))]


@pytest.fixture(scope="session")
def finite_or_refused():
    """The operator's value, all of it finite; or None where it refuses a mesh that has no area."""

    def call(operator, *inputs, **options):
        try:
            value = operator(*inputs, **options)
        except CotanError as refusal:
            if "without area" not in str(refusal):
                raise
            return None
        for tensor in torch.utils._pytree.tree_leaves(value):
            assert not torch.is_tensor(tensor) or torch.isfinite(tensor).all()
        return value

    return call


@pytest.fixture(scope="session")
def icosphere():
    """Unit spheres by the number of subdivisions."""
    import trimesh

    def make(subdivisions=2):
        mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
        return torch.tensor(np.asarray(mesh.vertices)), torch.tensor(np.asarray(mesh.faces).T.copy())

    return make


@pytest.fixture(scope="session")
def square():
    """The unit square of n x n vertices, z = 0, its diagonals all one way."""

    def make(n=8):
        line = torch.linspace(0, 1, n, dtype=torch.float64)
        x, y = torch.meshgrid(line, line, indexing="xy")
        pos = torch.stack([x.reshape(-1), y.reshape(-1), torch.zeros(n * n, dtype=torch.float64)], 1)
        a = torch.arange(n * n).view(n, n)
        low, right, up, far = a[:-1, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:]
        face = torch.cat([torch.stack([low, right, far], -1).view(-1, 3), torch.stack([low, far, up], -1).view(-1, 3)])
        return pos, face.T.contiguous()

    return make


@pytest.fixture(scope="session")
def bumpy(icosphere):
    """A closed shape without symmetry, angles neither all acute nor all alike."""

    def make(subdivisions=2, seed=0):
        pos, face = icosphere(subdivisions)
        generator = torch.Generator().manual_seed(seed)
        pos = pos + 0.15 * torch.rand(pos.shape, generator=generator, dtype=torch.float64) / 2**subdivisions
        return pos * torch.tensor([1.0, 1.3, 0.7], dtype=torch.float64), face

    return make


@pytest.fixture(scope="session")
def rotation():
    """A rotation and a translation: pos @ R.T + t."""
    generator = torch.Generator().manual_seed(3)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q), torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64)
