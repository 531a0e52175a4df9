"""The voxels that a triangle touches (Schwarz and Seidel 2010: a box and a triangle by separating axes)."""

import torch
from torch import Tensor

from .grid import chunks, ragged

# Touching counts; so does missing by rounding.
SLACK = 1e-9
# Area over the square of the longest side, below which a triangle counts as a line.
NEEDLE = 1e-6
# The same, below which a triangle seen along an axis counts as a segment.
SEGMENT = 1e-12
# In voxels. Products of smaller coordinates underflow.
LEAST = 1e-60


def surface(triangles: Tensor, resolution: int) -> Tensor:
    """Whether any of the triangles (F, 3, 3) meets the closed cube of each voxel: (R, R, R) bool.

    The triangle is taken along its steepest axis, over whose columns it covers few voxels each. Then the axes that
    can separate are the three of the box, the normal, and in each coordinate plane the three edge normals.
    """
    out = torch.zeros(resolution**3, dtype=torch.bool, device=triangles.device)
    triangles = triangles.where(triangles.abs() > LEAST, 0)
    edge = triangles[:, 1:] - triangles[:, :1]
    normal = torch.linalg.cross(edge[:, 0], edge[:, 1])
    # A needle has no normal but rounding; its edges and its bounding box are enough.
    needle = normal.norm(dim=-1) <= NEEDLE * edge.square().sum(-1).amax(1)
    normal[needle] = 0
    steep = normal.abs().argmax(-1)
    for axis in range(3):
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        here = (steep == axis).nonzero().squeeze(1)
        for i, j, k in _touched(triangles[here][..., order], normal[here][..., order], resolution):
            index = [i, j, k]
            x, y, z = (index[order.index(n)] for n in range(3))
            out[(x * resolution + y) * resolution + z] = True
    return out.view(resolution, resolution, resolution)


def _touched(triangles: Tensor, normal: Tensor, resolution: int):
    low = (triangles.amin(1) - SLACK).ceil().sub_(1).clamp_(min=0)
    high = (triangles.amax(1) + SLACK).floor().clamp_(max=resolution - 1)
    size = (high - low + 1).clamp_(min=0).long()
    counts = size[:, 0] * size[:, 1] * (size[:, 2] > 0)
    # Slopes are at most one, so a plane passes at most four voxels of a column.
    levels = torch.where((normal == 0).all(-1), size[:, 2], size[:, 2].clamp(max=4))
    for part in chunks(counts * levels):
        row, number = ragged(counts[part])
        row = row + part.start
        i = low[row, 0] + torch.div(number, size[row, 1], rounding_mode="floor")
        j = low[row, 1] + number % size[row, 1]
        keep = _edges_reach(triangles[row], i, j, 0, 1)
        row, i, j = row[keep], i[keep], j[keep]
        bottom, top = _heights(triangles[row, 0], normal[row], i, j)
        bottom = torch.maximum(low[row, 2], (bottom - SLACK).ceil() - 1)
        top = torch.minimum(high[row, 2], (top + SLACK).floor())
        again, level = ragged((top - bottom + 1).clamp_(min=0).long())
        row, i, j, k = row[again], i[again], j[again], bottom[again] + level
        corners = triangles[row]
        keep = _edges_reach(corners, j, k, 1, 2) & _edges_reach(corners, i, k, 0, 2)
        yield i[keep].long(), j[keep].long(), k[keep].long()


def _edges_reach(corners: Tensor, u: Tensor, v: Tensor, first: int, second: int) -> Tensor:
    """In the plane of two coordinates: does the square at (u, v) reach the inner side of all three edges?

    A triangle that is a segment there has no inner side but by rounding: its longest edge has to pass through the square.
    """
    x, y = corners[..., first], corners[..., second]  # (N, 3)
    nx, ny = y - y.roll(-1, 1), x.roll(-1, 1) - x  # the normals to the left of each edge
    area = nx[:, 0] * (x[:, 2] - x[:, 0]) + ny[:, 0] * (y[:, 2] - y[:, 0])
    flip = torch.where(area < 0, -1.0, 1.0)[:, None]
    nx, ny = nx * flip, ny * flip
    corner, slack = nx * (u[:, None] - x) + ny * (v[:, None] - y), SLACK * (nx.abs() + ny.abs())
    far = corner + nx.clamp(min=0) + ny.clamp(min=0) >= -slack
    near = corner + nx.clamp(max=0) + ny.clamp(max=0) <= slack
    longest, along = (nx * nx + ny * ny).max(1, keepdim=True)
    through = (far & near).gather(1, along)[:, 0]
    return torch.where(area.abs() <= SEGMENT * longest[:, 0], through, far.all(1))


def _heights(corner: Tensor, normal: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest point of the plane of a triangle over the square at (i, j); infinite without a normal."""
    steep = torch.where(normal[:, 2] == 0, torch.nan, normal[:, 2])
    sx, sy = -normal[:, 0] / steep, -normal[:, 1] / steep
    base = corner[:, 2] + sx * (i - corner[:, 0]) + sy * (j - corner[:, 1])
    bottom = base + sx.clamp(max=0) + sy.clamp(max=0)
    top = base + sx.clamp(min=0) + sy.clamp(min=0)
    return bottom.nan_to_num(-torch.inf, neginf=-torch.inf), top.nan_to_num(torch.inf, posinf=torch.inf)
