"""Where the vertical line through each column of voxels meets a mesh, exactly.

Corners are snapped to a lattice of powers of two, fine enough not to matter (2^-15 of a voxel at 128^3) and coarse
enough that every edge function is computed without rounding. Ties are then real ties, and one rule (a line belongs to
the triangle on one side of it, as in rasterisation) lets each line meet a closed mesh an even number of times, also
where it runs through edges and vertices.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .grid import chunks, ragged


class Crossings(NamedTuple):
    """N crossings: column (i, j), height in voxels, and sign +1 where the surface looks up."""

    i: Tensor
    j: Tensor
    height: Tensor
    sign: Tensor


def snap(triangles: Tensor) -> Tensor:
    """Round corners to the finest lattice on which products of two coordinates are exact in float64.

    The lattice lies a fraction of its step beside the lines, so that none runs through a corner.
    """
    size = max(*map(abs, map(float, triangles.aminmax())), 1.0)
    step = 2.0 ** (math.frexp(size)[1] - 23)
    return (triangles / step).round_().mul_(step).sub_(triangles.new_tensor([step / 2, step / 4, 0]))


def edge_function(a: Tensor, b: Tensor, px: Tensor, py: Tensor) -> Tensor:
    """(b - a) x (p - a) in the plane: positive where p lies to the left of a -> b."""
    return (b[..., 0] - a[..., 0]) * (py - a[..., 1]) - (b[..., 1] - a[..., 1]) * (px - a[..., 0])


def owns_line(a: Tensor, b: Tensor) -> Tensor:
    """Does the left side of a -> b own the points on it? Of a -> b and b -> a exactly one does."""
    dx, dy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1]
    return (dy < 0) | ((dy == 0) & (dx > 0))


def crossings(triangles: Tensor, resolution: int) -> Iterator[Crossings]:
    """All crossings of the lines x = i + 1/2, y = j + 1/2 with snapped triangles (F, 3, 3), in chunks."""
    plane = triangles[..., :2]
    low = (plane.amin(1) - 0.5).ceil_().clamp_(min=0)
    high = (plane.amax(1) - 0.5).floor_().clamp_(max=resolution - 1)
    size = (high - low + 1).clamp_(min=0).long()  # (F, 2): columns under the bounding box
    counts = size[:, 0] * size[:, 1]
    some = counts.nonzero().squeeze(1)
    triangles, low, height, counts = triangles[some], low[some], size[some, 1], counts[some]
    for part in chunks(counts):
        yield _cross(triangles[part], low[part], height[part], counts[part])


def _cross(triangles: Tensor, low: Tensor, height: Tensor, counts: Tensor) -> Crossings:
    row, number = ragged(counts)
    width = height[row]
    i = low[row, 0] + torch.div(number, width, rounding_mode="floor")
    j = low[row, 1] + number % width
    a, b, c = triangles[row].unbind(1)
    px, py = i + 0.5, j + 0.5
    ea, eb, ec = edge_function(b, c, px, py), edge_function(c, a, px, py), edge_function(a, b, px, py)
    area = ea + eb + ec
    sign = area.sign()
    inside = sign != 0
    for value, start, stop in ((ea, b, c), (eb, c, a), (ec, a, b)):
        # Seen from below, a -> b runs the other way round: the rule is that of b -> a.
        own = torch.where(sign > 0, owns_line(start, stop), owns_line(stop, start))
        inside &= (value * sign > 0) | ((value == 0) & own)
    hit = inside.nonzero().squeeze(1)
    a, b, c, ea, eb, ec = a[hit, 2], b[hit, 2], c[hit, 2], ea[hit], eb[hit], ec[hit]
    # Written about one corner, so that a level triangle is met exactly at its level.
    z = a + (eb * (b - a) + ec * (c - a)) / area[hit]
    return Crossings(i[hit].long(), j[hit].long(), z, sign[hit].long())


def counts_above(triangles: Tensor, resolution: int, *, signed: bool) -> Tensor:
    """For each voxel centre, the number of crossings above it: (R, R, R) int16; modulo 2 if not `signed`."""
    r = resolution
    change = torch.zeros(r * r * (r + 1), dtype=torch.int16, device=triangles.device)
    for found in crossings(triangles, r):
        # Centres k + 1/2 < height lie below the crossing: those with k < ceil(height - 1/2).
        top = (found.height - 0.5).ceil_().clamp_(0, r).long()
        change.index_add_(0, (found.i * r + found.j) * (r + 1) + top, found.sign.to(torch.int16))
    change = change.view(r, r, r + 1)
    below = change.cumsum(-1, dtype=torch.int16)
    above = below[..., -1:] - below[..., :-1]
    return above if signed else above.bitwise_and_(1)
