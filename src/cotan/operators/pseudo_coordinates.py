"""Where the source of each edge lies, seen from its target: the coordinates in which spatial filters weigh messages."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nodes import node
from ..registry import operator
from .checks import check_edges, check_pos


@operator(
    "pseudo_coordinates",
    kind="polar",
    per="edge",
    invariant_to=("rigid",),
    many=True,
    needs={"tangent_frames": node("tangent_frames", kind="mesh")},
)
def polar_coordinates(pos: Tensor, edge_index: Tensor, tangent_frames: Tensor) -> Tensor:
    """(|x_i - x_j|, angle) of edge i -> j: the angle of x_i in j's tangent plane, from -pi to pi. (E, 2)

    Where x_i is straight above j, or at its place, the angle is 0.

    Arguments:
        pos: (V, 3). edge_index: (2, E). tangent_frames: (V, 3, 3).
    """
    pos = check_pos(pos)
    source, target = check_edges(edge_index, len(pos))
    offset = pos[source] - pos[target]
    flat = (tangent_frames.to(pos.dtype)[target, :2] @ offset[..., None])[..., 0]
    return torch.stack([torch.linalg.vector_norm(offset, dim=1), angle_of(flat, offset)], 1)


def angle_of(flat: Tensor, offset: Tensor) -> Tensor:
    """The angle of vectors (N, 2), each the part of an offset (N, 3) in a plane; 0 where that is none but for rounding."""
    (x, y), size = flat.unbind(1), offset.detach().abs().amax(1)
    defined = flat.detach().abs().amax(1) > 1e-9 * size
    return torch.where(defined, torch.atan2(y, torch.where(defined, x, 1)), 0)


@operator("pseudo_coordinates", kind="degree", per="edge", invariant_to=("isometry", "scale"), many=True)
def degree_coordinates(edge_index: Tensor, num_nodes: int) -> Tensor:
    """(d_i^-1/2, d_j^-1/2) of edge i -> j, d_i the number of edges that end at i (Monti et al. 2017). (E, 2)

    Arguments:
        edge_index: (2, E).
    """
    source, target = check_edges(edge_index, num_nodes)
    degree = torch.bincount(target, minlength=num_nodes).clamp_min(1).double().rsqrt()
    return torch.stack([degree[source], degree[target]], 1)


@operator("pseudo_coordinates", kind="offset", per="edge", many=True)
def offset_coordinates(pos: Tensor, edge_index: Tensor) -> Tensor:
    """x_i - x_j of edge i -> j. (E, D)

    Arguments:
        pos: (V, D). edge_index: (2, E).
    """
    pos = check_pos(pos, dim=None)
    source, target = check_edges(edge_index, len(pos))
    return pos[source] - pos[target]


@operator("pseudo_coordinates", kind="relative", per="edge", invariant_to=("scale",))
def relative_coordinates(pos: Tensor, edge_index: Tensor) -> Tensor:
    """x_i - x_j of edge i -> j over the root mean square length of the shape's edges, so that units play no part. (E, D)

    Arguments:
        pos: (V, D). edge_index: (2, E).
    """
    offset = offset_coordinates(pos, edge_index)
    square = offset.square().sum(1).mean()
    return offset / square.where(square > 0, 1).sqrt()
