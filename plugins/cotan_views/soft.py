"""A silhouette that fades out beyond its border, so that its gradient can pull the border either way."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cotan.operators import undirected

from .pictures import Pictures
from .project import CUT, on_screen
from .rasterise import expand

Pairs = tuple[Tensor, Tensor, Tensor]  # pixel, edge, square of the distance between them


def soft_silhouette(pictures: Pictures) -> Tensor:
    """(pixels,) h(d / softness), with d the distance of the pixel to the shape as seen, and h(t) = (1 - t)^2 (1 + 2 t).

    It is 1 inside and 0 beyond `softness` pixels. Outside, the nearest edge is found first and differentiated then,
    as with the nearest face. Edges that reach behind the eye have no soft border.
    """
    seen = pictures.seen.flatten(1)
    x, y = on_screen(seen, pictures.scene.cameras, pictures.size)
    size, softness = pictures.size, pictures.softness
    with torch.no_grad():
        ends, image = _edges(pictures, x, y, seen[2] >= CUT)
        nearest = torch.full_like(pictures.near, torch.inf)
        for pixel, _, square in _pairs(x, y, ends, image, pictures):
            nearest.scatter_reduce_(0, pixel, square, "amin")
        border = (nearest < softness**2).nonzero().squeeze(1)
        edge = torch.full_like(pictures.label, ends.shape[1], dtype=torch.int64)
        for pixel, number, square in _pairs(x, y, ends, image, pictures):
            mine = square == nearest.index_select(0, pixel)
            edge.scatter_reduce_(0, pixel[mine], number[mine], "amin")
    square = _square_distance(x, y, ends[:, edge[border]], border % size, border // size % size)
    # The root has no slope at zero, where the border runs exactly through a pixel centre.
    faded = (square.clamp(min=1e-24).sqrt() / softness).clamp(max=1)
    inside = (pictures.near > 0).to(pictures.near.dtype)
    return inside.index_put((border,), (1 - faded) ** 2 * (1 + 2 * faded))


def _edges(pictures: Pictures, x: Tensor, y: Tensor, front: Tensor) -> tuple[Tensor, Tensor]:
    """The ends (2, E) of the edges in the views, and the picture (E,) that each is in; `front` are the points before the eye.

    Those with faces on both sides are left out: they lie inside the shape as seen, whichever way the faces are turned.
    """
    scene = pictures.scene
    n, v = len(scene.cameras.eye), len(scene.pos)
    start, end = scene.face.flatten(), scene.face.roll(-1, 0).flatten()
    a, b, number = undirected(start, end, v)
    x, y, front = (value.view(n, v) for value in (x, y, front))
    (ax, bx, cx), (ay, by, cy) = (value[:, scene.face].unbind(1) for value in (x, y))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)  # (N, F)
    # A face that reaches behind the eye may seem to lie on the other side: it counts for neither.
    side = (area.sign() * front[:, scene.face].all(1)).repeat(1, 3) * torch.where(start < end, 1, -1)
    right, left = (
        side.new_zeros(n, len(a)).scatter_reduce_(1, number.expand(n, -1), side, way) for way in ("amax", "amin")
    )
    view, chosen = (front[:, a] & front[:, b] & (right - left < 2)).nonzero().T
    a, b = a[chosen], b[chosen]
    return torch.stack((a, b)) + view * v, scene.batch[a] * n + view


def _pairs(x: Tensor, y: Tensor, ends: Tensor, image: Tensor, pictures: Pictures) -> Iterator[Pairs]:
    """Every empty pixel with every edge in whose box, widened by the softness, it lies."""
    size, softness = pictures.size, pictures.softness
    left, columns = _range(x[ends], softness, size)
    top, rows = _range(y[ends], softness, size)
    for edge, place in expand(rows * columns, pictures.budget):
        column, row = left[edge] + place % columns[edge], top[edge] + place // columns[edge]
        pixel = (image[edge] * size + row) * size + column
        empty = (pictures.near[pixel] == 0).nonzero().squeeze(1)
        edge = edge[empty]
        yield pixel[empty], edge, _square_distance(x, y, ends[:, edge], column[empty], row[empty])


def _range(ends: Tensor, softness: float, size: int) -> tuple[Tensor, Tensor]:
    """The first pixel of an edge's widened box along one axis, and how many there are."""
    low, high = ends.amin(0), ends.amax(0)
    first = (low - softness).ceil().clamp(0, size).long()
    last = (high + softness).floor().clamp(-1, size - 1).long()
    return first, (last - first + 1).clamp(min=0)


def _square_distance(x: Tensor, y: Tensor, ends: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """From pixel centres to segments."""
    (ax, bx), (ay, by) = x[ends], y[ends]
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    along = ((column - ax) * dx + (row - ay) * dy) / length.clamp(min=1e-24)
    along = along.clamp(0, 1)
    return (ax + along * dx - column) ** 2 + (ay + along * dy - row) ** 2
