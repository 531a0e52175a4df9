"""An orthonormal frame at each vertex: two tangents and the normal."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..nodes import node
from .checks import check_edges, check_pos
from .normals import unit
from .triangles import inner


@operator(
    "tangent_frames",
    kind="mesh",
    per="vertex",
    many=True,
    needs={"vertex_normals": node("vertex_normals", kind="mesh")},
)
def tangent_frames(pos: Tensor, edge_index: Tensor, vertex_normals: Tensor) -> Tensor:
    """Rows x, y, n of a right-handed orthonormal frame. (V, 3, 3)

    n is the vertex's normal; x points along the edge that is longest after projection onto the tangent plane (of those
    within 1e-6 of it, to the neighbour with the lowest number). Where normals cancel, as on sheets of two sides, n is
    normal to two edges: the longest, and the one that is longest across it. So frames turn with the shape. Where edges
    lie on one line and have no normal, n is across it in the plane of an axis; without edges, n = e_z and x an axis.

    Arguments:
        pos: (V, 3). edge_index: (2, E). vertex_normals: (V, 3).
    """
    pos = check_pos(pos)
    edges = check_edges(edge_index, len(pos))
    normal = vertex_normals.to(pos.dtype)
    if bool((missing := zero(normal)).any()):
        first = along_longest(pos, edges, torch.zeros_like(pos))
        plane = torch.linalg.cross(first, along_longest(pos, edges, first))
        plane = torch.where(zero(plane), across(first), plane)
        plane = torch.where(zero(first), plane.new_tensor([0.0, 0.0, 1.0]), plane)
        normal = torch.where(missing, plane, normal)

    x = along_longest(pos, edges, normal)
    x = torch.where(zero(x), across(normal), x)
    return torch.stack([x, torch.linalg.cross(normal, x), normal], 1)


@operator("tangent_frames", kind="cloud", per="vertex")
def cloud_frames(pos: Tensor, nearest_neighbours: Tensor, vertex_normals: Tensor) -> Tensor:
    """Those of points: x points to the neighbour that is farthest along the tangent plane. (V, 3, 3)

    Arguments:
        pos: (V, 3). nearest_neighbours: (2, E), neighbour -> point. vertex_normals: (V, 3).
    """
    return tangent_frames(pos, nearest_neighbours.flip(0), vertex_normals)


def along_longest(pos: Tensor, edges: Tensor, normal: Tensor) -> Tensor:
    """The direction of each vertex's longest edge, projected across its unit normal; zero if it has none. (V, 3)"""
    source, target = edges
    edge = pos.index_select(0, target) - pos.index_select(0, source)
    length = torch.linalg.vector_norm(project(edge, normal.index_select(0, source)).detach(), dim=1)
    longest = length.new_zeros(len(pos)).scatter_reduce(0, source, length, "amax")
    chosen = length >= (1 - 1e-6) * longest.index_select(0, source)
    chosen &= length > 1e-9 * torch.linalg.vector_norm(edge.detach(), dim=1)  # else what is left is rounding
    none = len(pos)
    neighbour = target.new_full((len(pos),), none).scatter_reduce(0, source[chosen], target[chosen], "amin")
    alone = (neighbour == none)[:, None]
    towards = torch.where(alone, 0, pos.index_select(0, neighbour.where(~alone[:, 0], 0)) - pos)
    return unit(project(unit(project(towards, normal)), normal))  # twice: the edge may lie almost along the normal


def across(vectors: Tensor) -> Tensor:
    """A unit vector across each of some unit vectors (N, 3), in the plane of an axis."""
    axis = torch.eye(3, dtype=vectors.dtype, device=vectors.device).index_select(0, vectors.detach().abs().argmin(1))
    return unit(project(axis, vectors))


def zero(vectors: Tensor) -> Tensor:
    """Which of the vectors (N, 3) are zero. (N, 1)"""
    return (vectors.detach() == 0).all(1, keepdim=True)


def project(vectors: Tensor, normals: Tensor) -> Tensor:
    """The part of vectors (N, 3) across unit normals (N, 3)."""
    return vectors - inner(vectors, normals)[..., None] * normals
