"""Distances of voxel centres to triangles, up to a truncation, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from .crossings import BUDGET
from .grid import ragged

# The longest side, in voxels, of the pieces that triangles are cut into.
PIECE = 2.0


def distance(triangles: Tensor, resolution: int, truncation: float, budget: int = BUDGET) -> Tensor:
    """min(distance to the nearest triangle, truncation) at each voxel centre, in voxels: (R, R, R) float64.

    Each piece of a triangle lies in a small ball. A first pass over the voxels around each ball finds the nearest ball
    centre, an upper bound; a second measures only the triangles whose ball comes nearer than that.
    """
    triangles = near(triangles, resolution, truncation)
    parent, middle, radius = pieces(triangles)
    widest = float(radius.max()) if len(radius) else 0.0
    reach = int(truncation + widest + 1)
    side = resolution + 4 * reach
    home = middle.floor()
    inside = ((home >= -reach) & (home < resolution + reach)).all(1)
    parent, middle, radius, home = parent[inside], middle[inside], radius[inside], home[inside]
    index = (((home[:, 0] + 2 * reach) * side + home[:, 1] + 2 * reach) * side + home[:, 2] + 2 * reach).long()
    shift = home + 0.5 - middle  # from the middle of the ball to the centre of its voxel
    around = torch.cartesian_prod(*[torch.arange(-reach, reach + 1, device=triangles.device)] * 3)
    # A voxel's centre is within 0.87 of any point of it.
    around = around[around.double().norm(dim=1) < truncation + widest + 0.87]
    parts = around.split(max(budget // max(len(index), 1), 1))

    def gaps(part: Tensor) -> tuple[Tensor, Tensor]:
        """The voxels that lie by ``part`` (P, 3) from each ball, (P, N), and their distances to its middle."""
        step = (part[:, 0] * side + part[:, 1]) * side + part[:, 2]
        return index + step[:, None], (shift + part[:, None]).norm(dim=-1)

    bound = torch.full((side**3,), truncation, dtype=torch.float64, device=triangles.device)
    for part in parts:
        voxel, gap = gaps(part)
        bound.scatter_reduce_(0, voxel.view(-1), gap.view(-1), "amin")
    best = bound.clone()
    for part in parts:
        voxel, gap = gaps(part)
        offset, ball = (gap - radius < bound[voxel]).nonzero(as_tuple=True)
        a, b, c = triangles[parent[ball]].unbind(1)
        found = squared_distance(home[ball] + part[offset] + 0.5, a, b, c).sqrt_()
        best.scatter_reduce_(0, voxel[offset, ball], found, "amin")
    own = slice(2 * reach, 2 * reach + resolution)
    return best.view(side, side, side)[own, own, own].contiguous()


def near(triangles: Tensor, resolution: int, reach: float) -> Tensor:
    """Those that come within ``reach`` of the grid, (N, 3, 3), the far longer of them cut down to parts that do."""
    while len(triangles):
        least, most = triangles.aminmax()
        if least >= -reach and most <= resolution + reach:  # as all are where nothing is cut off
            break
        low, high = triangles.amin(1), triangles.amax(1)
        triangles = triangles[((high >= -reach) & (low <= resolution + reach)).all(1)]
        long = (triangles - triangles.roll(1, 1)).norm(dim=-1).amax(1) > 4 * (resolution + reach)
        if not long.any():
            break
        a, b, c = triangles[long].unbind(1)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        parts = [torch.stack(k, 1) for k in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        triangles = torch.cat([triangles[~long], *parts])
    return triangles


def pieces(triangles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Triangle number (N,), centre (N, 3) and radius (N,) of balls that cover the triangles."""
    a, b, c = triangles.unbind(1)
    longest = torch.stack([(b - a).norm(dim=-1), (c - b).norm(dim=-1), (a - c).norm(dim=-1)]).amax(0)
    n = (longest / PIECE).ceil().clamp(min=1).long()
    row, number = ragged(n * n)
    # Row t of a triangle cut n times holds 2 t + 1 pieces, the odd ones upside down.
    t = number.double().sqrt().floor().long()
    s, n = number - t * t, n[row]
    up = (s % 2 == 0).double()
    u = (t + (1 + up) / 3) / n
    v = (torch.div(s, 2, rounding_mode="floor") + (2 - up) / 3) / n
    middle = a[row] + u[:, None] * (b - a)[row] + v[:, None] * (c - b)[row]
    # The farthest corner is two thirds of a median away, and no median is longer than the longest side.
    return row, middle, longest[row] / n * (2 / 3)


def squared_distance(p: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """From points (N, 3) to triangles: to the plane over the inside, else to the nearest of the three sides."""
    sides = torch.stack([_to_segment(p, a, b), _to_segment(p, b, c), _to_segment(p, c, a)]).amin(0)
    normal = torch.linalg.cross(b - a, c - a)
    square = (normal * normal).sum(-1)
    inside = square > 0
    for start, end in ((a, b), (b, c), (c, a)):
        inside &= (torch.linalg.cross(normal, end - start) * (p - start)).sum(-1) >= 0
    plane = ((p - a) * normal).sum(-1) ** 2 / square.clamp(min=torch.finfo(square.dtype).tiny)
    return torch.where(inside, plane, sides)


def _to_segment(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    along, from_a = b - a, p - a
    square = (along * along).sum(-1).clamp(min=torch.finfo(p.dtype).tiny)
    t = ((from_a * along).sum(-1) / square).clamp(0, 1)
    return ((from_a - t[:, None] * along) ** 2).sum(-1)
