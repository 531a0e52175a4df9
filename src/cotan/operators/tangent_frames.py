"""An orthonormal frame at each vertex: two tangents and the normal."""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import operator
from .checks import check_edges, check_pos
from .normals import unit
from .triangles import inner


@operator(per="vertex", many=True)
def tangent_frames(pos: Tensor, edge_index: Tensor, vertex_normals: Tensor) -> Tensor:
    """Rows x, y, n of a right-handed orthonormal frame. (V, 3, 3)

    n is the vertex's normal; x points along the edge that is longest after projection onto the tangent plane (of those
    within 1e-6 of it, to the neighbour with the lowest number). So frames turn with the shape. A vertex without normal
    has n = e_z, one without edges x along an axis.

    Arguments:
        pos: (V, 3). edge_index: (2, E). vertex_normals: (V, 3).
    """
    pos = check_pos(pos)
    source, target = check_edges(edge_index, len(pos))
    normal = vertex_normals.to(pos.dtype)
    missing = (normal.detach() == 0).all(1, keepdim=True)
    normal = torch.where(missing, normal.new_tensor([0.0, 0.0, 1.0]), normal)

    edge = pos.index_select(0, target) - pos.index_select(0, source)
    tangent = project(edge, normal.index_select(0, source))
    length = torch.linalg.vector_norm(tangent.detach(), dim=1)
    longest = length.new_zeros(len(pos)).scatter_reduce(0, source, length, "amax")
    chosen = (length >= (1 - 1e-6) * longest.index_select(0, source)) & (length > 0)
    none = len(pos)
    neighbour = target.new_full((len(pos),), none).scatter_reduce(0, source[chosen], target[chosen], "amin")

    alone = neighbour == none
    axis = torch.eye(3, dtype=pos.dtype, device=pos.device).index_select(0, normal.detach().abs().argmin(1))
    towards = torch.where(alone[:, None], axis, pos.index_select(0, neighbour.where(~alone, 0)) - pos)
    x = unit(project(unit(project(towards, normal)), normal))  # twice: the edge may lie almost along the normal
    return torch.stack([x, torch.linalg.cross(normal, x), normal], 1)


def project(vectors: Tensor, normals: Tensor) -> Tensor:
    """The part of vectors (N, 3) across unit normals (N, 3)."""
    return vectors - inner(vectors, normals)[..., None] * normals
