"""Distances of voxel centres to triangles, up to a truncation, exactly."""

import math

import torch
from torch import Tensor

from cotan.operators import nearest_on_triangles

from .octree import Cells, Octree, half_diagonal

# The longest side, in voxels, of the pieces that triangles are cut into.
PIECE = 2.0
# What rounding may add to a distance, in voxels.
SLACK = 1e-9


def distance(triangles: Tensor, resolution: int, truncation: float) -> Tensor:
    """min(distance to the nearest triangle, truncation) at each voxel centre, in voxels: (R, R, R) float64.

    Of each block of voxels, cells of triangles are taken apart that may come nearer than the middle of the nearest one.
    """
    triangles = cut(near(triangles, resolution, truncation))
    if len(triangles) == 0:
        return triangles.new_full([resolution] * 3, truncation)
    tree = Octree(triangles, resolution)
    middle = tree.triangles.mean(1)
    radius = (tree.triangles - middle[:, None]).norm(dim=-1).amax(1)
    best = triangles.new_full((8**tree.top,), truncation)
    bounds = [triangles.new_full((8 ** (tree.top - n),), truncation - half_diagonal(n)) for n in range(tree.top + 1)]

    def closer(level: int, block: Tensor, cells: Cells, cell: Tensor) -> Tensor:
        away = cells.centre[cell] - tree.middle(level, block)
        gap = away.norm(dim=-1)
        bound = bounds[level].scatter_reduce_(0, block, gap + cells.closest[cell], "amin")[block]
        # The triangles lie in a cylinder about the normal, which where they are flat is far less than their ball.
        along = (away * cells.normal[cell]).sum(1).abs()
        across = (gap * gap - along * along).clamp(min=0).sqrt()
        least = torch.hypot((along - cells.height[cell]).clamp(min=0), (across - cells.radius[cell]).clamp(min=0))
        return least < bound + 2 * half_diagonal(level) + SLACK

    def meet(voxel: Tensor, triangle: Tensor) -> None:
        centre = tree.middle(0, voxel)
        gap = (centre - middle[triangle]).norm(dim=-1)
        bound = bounds[0].scatter_reduce_(0, voxel, gap, "amin")[voxel]
        some = (gap - radius[triangle] < bound + SLACK).nonzero().squeeze(1)
        found, _ = nearest_on_triangles(centre[some], tree.triangles[triangle[some]])
        best.scatter_reduce_(0, voxel[some], found, "amin")

    tree.walk(closer, meet)
    return tree.grid(best)


def near(triangles: Tensor, resolution: int, reach: float) -> Tensor:
    """Those that come within `reach` of the grid, (N, 3, 3), the far longer of them cut down to parts that do."""
    while len(triangles):
        least, most = triangles.aminmax()
        if least >= -reach and most <= resolution + reach:  # as all are where nothing is cut off
            break
        low, high = triangles.amin(1), triangles.amax(1)
        triangles = triangles[((high >= -reach) & (low <= resolution + reach)).all(1)]
        long = (triangles - triangles.roll(1, 1)).norm(dim=-1).amax(1) > 4 * (resolution + reach)
        if not long.any():
            break
        triangles = _quartered(triangles, long)
    return triangles


def cut(triangles: Tensor, most: float = math.inf) -> Tensor:
    """Triangles with no side longer than PIECE, that cover the same; longer ones stay once there are `most`."""
    while len(triangles) < most:
        long = (triangles - triangles.roll(1, 1)).norm(dim=-1).amax(1) > PIECE
        if not long.any():
            break
        triangles = _quartered(triangles, long)
    return triangles


def _quartered(triangles: Tensor, which: Tensor) -> Tensor:
    a, b, c = triangles[which].unbind(1)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [torch.stack(k, 1) for k in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return torch.cat([triangles[~which], *parts])
