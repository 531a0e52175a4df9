"""The generalised winding number of any triangles about voxel centres (Jacobson et al. 2013).

w(p) = (1/4 pi) (solid angle of the surface seen from p). A closed surface is counted by its crossings with a ray alone.
An open one is closed by walls that fall from its boundary to infinity, so that (a -> b runs over the net boundary)

    w(p) = crossings above p + (1/4 pi) sum_ab Omega(a - p, b - p, -z)
    tan(Omega(a, b, c) / 2) = det(a, b, c) / (|a||b||c| + (a.b)|c| + (b.c)|a| + (c.a)|b|)

the latter by van Oosterom and Strackee (1983).

It is exact, and costs voxels x boundary edges instead of voxels x faces.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .closed import boundary, weld
from .crossings import BUDGET, counts_above, edge_function, owns_line


def winding_number(triangles: Tensor, resolution: int, closed: bool = False, budget: int = BUDGET) -> Tensor:
    """w at each voxel centre, (R, R, R), of snapped triangles (F, 3, 3). ``closed``: they are known to have no boundary."""
    r = resolution
    w = counts_above(triangles, r, signed=True, budget=budget)
    if closed:
        return w
    w = w.double()
    face = weld(triangles)
    corners = triangles.new_zeros(int(face.max()) + 1, 3)
    corners[face.t().reshape(-1)] = triangles.reshape(-1, 3)
    start, end, net = boundary(face)
    if len(net) == 0:
        return w
    a, b = corners[start], corners[end]
    # A point on the line of an edge belongs to the side that the crossings gave it to.
    tie = torch.where(owns_line(a, b), 1e-300, -1e-300)
    flat = w.view(-1)
    step = max(budget // len(net), 1)
    for first in range(0, r**3, step):
        number = torch.arange(first, min(first + step, r**3), device=w.device)
        centre = torch.stack([number // (r * r), number // r % r, number % r], -1) + 0.5
        half = _half_angle(a, b, tie, centre[:, None])  # (P, N)
        flat[first : first + step] += half @ net.double() / (2 * math.pi)
    return w


def _half_angle(a: Tensor, b: Tensor, tie: Tensor, p: Tensor) -> Tensor:
    """Omega(a - p, b - p, -z) / 2."""
    area = edge_function(a, b, p[..., 0], p[..., 1])
    area = torch.where(area == 0, tie, area)
    a, b = a - p, b - p
    na, nb = a.norm(dim=-1), b.norm(dim=-1)
    return torch.atan2(-area, na * nb + (a * b).sum(-1) - b[..., 2] * na - a[..., 2] * nb)
