"""Where the source of each edge lies, seen from its target: the coordinates in which spatial filters weigh messages."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from ..nodes import node
from .checks import check_edges, check_pos

FRAMES = {"tangent_frames": node("tangent_frames", kind="mesh")}


@operator("pseudo_coordinates", kind="polar", per="edge", invariant_to=("rigid", "scale"), needs=FRAMES)
def polar_coordinates(pos: Tensor, edge_index: Tensor, tangent_frames: Tensor) -> Tensor:
    """(|u|, angle) of edge i -> j: u its `relative` coordinates, the angle of u in j's tangent plane, from -pi to pi. (E, 2)

    The angle begins at the frame's x, which is along j's longest edge; see `tangent_frames`, also for edges equally long.
    Where x_i is straight above j, or at its place, it is 0.

    Arguments:
        pos: (V, 3). edge_index: (2, E). tangent_frames: (V, 3, 3).
    """
    u = relative_coordinates(check_pos(pos), edge_index)
    flat = (tangent_frames.to(u.dtype)[edge_index[1], :2] @ u[..., None])[..., 0]
    return torch.stack([torch.linalg.vector_norm(u, dim=1), angle_of(flat, u)], 1)


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


@operator("pseudo_coordinates", kind="tangent", per="edge", invariant_to=("rigid", "scale"), needs=FRAMES)
def tangent_coordinates(pos: Tensor, edge_index: Tensor, tangent_frames: Tensor) -> Tensor:
    """r (cos a, sin a) of edge i -> j, (r, a) its `polar` coordinates, whose angle jumps from pi to -pi: these do not. (E, 2)

    Arguments:
        pos: (V, 3). edge_index: (2, E). tangent_frames: (V, 3, 3).
    """
    radius, angle = polar_coordinates(pos, edge_index, tangent_frames).unbind(1)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)


@operator(
    "pseudo_coordinates",
    kind="geodesic",
    per="edge",
    invariant_to=("rigid", "scale"),
    needs={"geodesic_polar": node("geodesic_polar", ring_neighbours=node("edge_index"))},
)
def geodesic_coordinates(geodesic_polar: Tensor) -> Tensor:
    """(radius, angle) of edge i -> j along the surface, the radius over the root mean square of the shape's radii. (E, 2)

    Of vertices further apart: `geodesic_polar=node("geodesic_polar", ring_neighbours=...)` names the pairs. No derivative
    with respect to pos.

    Arguments:
        geodesic_polar: (E, 2).
    """
    radius, angle = geodesic_polar.unbind(1)
    if not bool(torch.isfinite(radius).all()):
        raise CotanError("pseudo_coordinates of kind='geodesic': an edge whose ends no way over the faces connects")
    square = radius.square().mean()
    return torch.stack([radius / square.where(square > 0, 1).sqrt(), angle], 1)
