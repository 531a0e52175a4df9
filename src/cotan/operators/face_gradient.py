"""Gradients of piecewise linear functions, one vector a face, and the divergence that is their adjoint."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..sparse import Sparse
from .checks import check_mesh
from .normals import unit
from .tangent_frames import project
from .triangles import Triangles, triangles


@operator
def face_gradient(pos: Tensor, face: Tensor) -> Sparse:
    """(G f)_t = sum_i f_i (n x e_i) / (2 A), e_i the side facing corner i. (3F, V); row 3t + c is component c.

    With D the `divergence`, L = -D G is the cotangent Laplacian to rounding, on flat faces too (see `triangles`).

    Arguments:
        pos: (V, 3). face: (3, F).
    """
    pos, face = check_mesh(pos, face)
    t = triangles(pos, face)
    return _matrix(_hats(t) / (2 * t.floored.where(t.floored > 0, 1))[:, None], face, len(pos))


@operator
def divergence(pos: Tensor, face: Tensor) -> Sparse:
    """D = -G^T A, weak form: <grad f, u>_A = -<f, D u>. (V, 3F); the divergence at a vertex is M^-1 D u.

    A are `face_areas`, but on flat faces 1e-6 of the squared sides (see `triangles`), as in G: D itself has no such floor.

    Arguments:
        pos: (V, 3). face: (3, F).
    """
    pos, face = check_mesh(pos, face)
    return _matrix(-_hats(triangles(pos, face)) / 2, face, len(pos)).T


def _hats(t: Triangles) -> Tensor:
    """n x e_i: (3, F, 3)."""
    return torch.linalg.cross(_normals(t).expand_as(t.sides), t.sides, dim=-1)


def _normals(t: Triangles) -> Tensor:
    """Unit normals (F, 3), across the sides to rounding on flat faces too, where the product of two sides is noise."""
    squares = t.sides.detach().square().sum(-1)
    each = torch.arange(squares.shape[1], device=squares.device)
    along = unit(t.sides[squares.argmax(0), each])
    short = unit(t.sides[squares.argmin(0), each])
    height = project(short, along)
    axis = torch.eye(3).to(along)[along.detach().abs().argmin(1)]
    height = torch.where((height.detach().abs() < 1e-12).all(1, keepdim=True), axis, height)
    normal = unit(torch.linalg.cross(along, project(unit(height), along)))
    normal = torch.where((normal * t.normal).sum(-1, keepdim=True) < 0, -normal, normal)
    return torch.where((t.area < t.floored)[:, None], normal, unit(t.normal))


def _matrix(vectors: Tensor, face: Tensor, vertices: int) -> Sparse:
    """The (3F, V) matrix with the vectors (3 corners, F, 3 components) at each face's corners."""
    faces = face.shape[1]
    row = 3 * torch.arange(faces, device=face.device)[:, None] + torch.arange(3, device=face.device)  # (F, 3)
    return Sparse.from_coo(
        row.expand(3, -1, -1).reshape(-1),
        face[..., None].expand(-1, -1, 3).reshape(-1),
        vectors.reshape(-1),
        (3 * faces, vertices),
    )
