"""Unit normals of faces, vertices and points. Those of a mesh follow its faces; where there is none to give, zero."""

from __future__ import annotations

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..decorators import operator
from ..errors import CotanError, one_of
from .checks import check_edges, check_mesh, check_pos
from .triangles import Triangles, triangles


@operator(per="face", many=True)
def face_normals(pos: Tensor, face: Tensor) -> Tensor:
    """n = (x_1 - x_0) x (x_2 - x_0), normalised; zero on a face without area. (F, 3)"""
    return unit(normals(triangles(*check_mesh(pos, face))))


@operator("vertex_normals", kind="mesh", per="vertex", many=True)
def vertex_normals(pos: Tensor, face: Tensor, *, weight: str = "area") -> Tensor:
    """n_i = the sum of w n over the faces around vertex i, normalised; zero without faces or where they cancel. (V, 3)

    Arguments:
        pos: (V, 3). face: (3, F).
        weight: w, the "area" of the face, or its "angle" at the vertex (Thuermer and Wuethrich 1998), with which the
            normal does not depend on how a flat part is triangulated.
    """
    one_of("weight of vertex_normals", weight, ("area", "angle"))
    pos, face = check_mesh(pos, face)
    t = triangles(pos, face)
    n, corners = normals(t), face.reshape(-1)
    w = (2 * t.area).expand(3, -1) if weight == "area" else t.angles
    parts = n.expand(3, -1, -1) if weight == "area" else w[..., None] * unit(n)
    total = torch.zeros_like(pos).index_add(0, corners, parts.reshape(-1, 3))
    most = pos.new_zeros(len(pos)).index_add(0, corners, w.detach().reshape(-1))
    cancel = torch.linalg.vector_norm(total.detach(), dim=1) <= 1e-12 * most  # but for rounding
    return unit(torch.where(cancel[:, None], 0, total))


@operator("vertex_normals", kind="cloud", per="vertex")
def cloud_normals(pos: Tensor, nearest_neighbours: Tensor, normal: Tensor | None = None) -> Tensor:
    """The points' own normals at length one, zero where they are zero. (V, 3)

    Without these, the axis along which a point and its neighbours are spread least (Hoppe et al. 1992), away from the mean of
    all points: those of a sphere point outwards; where a shape is hollow or branches some point inwards, and where it is flat
    either way. Zero where neighbours lie on one line. It has no derivative with respect to pos.

    Arguments:
        pos: (V, 3). nearest_neighbours: (2, E), neighbour -> point. normal: (V, 3).
    """
    if normal is not None:
        if normal.shape != pos.shape or not torch.isfinite(normal).all():
            raise CotanError(f"normal: expected finite numbers of shape {tuple(pos.shape)}, got {tuple(normal.shape)}")
        return unit(normal.double())
    refuse_derivatives(pos, "vertex_normals, kind='cloud'")
    pos = check_pos(pos)
    other, centre = check_edges(nearest_neighbours, len(pos))
    offset = pos.index_select(0, other) - pos.index_select(0, centre)
    size = torch.zeros_like(pos[:, 0]).scatter_reduce(0, centre, offset.abs().amax(1), "amax")
    offset = offset / size.where(size > 0, 1).index_select(0, centre)[:, None]
    count = 1.0 + torch.bincount(centre, minlength=len(pos))
    mean = torch.zeros_like(pos).index_add(0, centre, offset) / count[:, None]
    square = pos.new_zeros(len(pos), 3, 3).index_add(0, centre, offset[:, :, None] * offset[:, None])
    spread, axes = torch.linalg.eigh(square / count[:, None, None] - mean[:, :, None] * mean[:, None])
    n = torch.where(spread[:, 1:2] > 1e-12 * spread[:, 2:], axes[:, :, 0], 0)
    inwards = ((pos - pos.mean(0)) * n).sum(1, keepdim=True) < 0
    return torch.where(inwards, -n, n)


def normals(t: Triangles) -> Tensor:
    """Normals (F, 3), twice the area long; zero where all of that is rounding, an area of 1e-15 of the squared sides."""
    return torch.where((t.area > 1e-9 * t.floored)[:, None], t.normal, 0)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) of length one; zero where they are zero. Safe for the very small and for derivatives at zero."""
    size = vectors.detach().abs().amax(-1, keepdim=True)
    scaled = vectors / size.where(size > 0, 1)
    length: Tensor = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length.where(size > 0, 1)
