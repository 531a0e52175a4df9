"""Positions without place and size: a model's first signal where the data has none."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import one_of
from .checks import check_mesh, check_pos
from .triangles import triangles


@operator(per="vertex", invariant_to=("scale",))
def normalized_pos(
    pos: Tensor, face: Tensor | None = None, *, scale: str = "radius", centre: str = "surface"
) -> Tensor:
    """(x - c) / s: c the centre of the surface, s its largest distance from c, or the root of its area. (V, 3)

    Vertices without a face do not count. Of points without faces, c is the mean. A shape that is a point stays at the origin.

    Arguments:
        pos: (V, 3). face: (3, F), if it is a mesh.
        scale: "radius" (the farthest vertex at distance 1) or "area" (surface of area 1; without faces, radius).
        centre: of the "surface" (mean by area), or of its "vertices", as published weights of other projects have it.
    """
    one_of("scale", scale, ("radius", "area"))
    one_of("centre", centre, ("surface", "vertices"))
    if face is None or face.numel() == 0:
        pos = _near_one(check_pos(pos))
        centred = pos - pos.mean(0)
        size = torch.linalg.vector_norm(centred, dim=1).amax()
        return centred / torch.where(size > 0, size, 1)
    pos, face = check_mesh(pos, face)
    pos = _near_one(pos)
    area = triangles(pos, face).area
    centred = pos - (pos[face.unique()].mean(0) if centre == "vertices" else _middle(pos, face, area))
    if scale == "area":
        total = area.sum()
        size = total.where(total > 0, 1).sqrt()
    else:
        size = torch.linalg.vector_norm(centred[face], dim=-1).amax()
    return centred / torch.where(size > 0, size, 1)


def centroid(pos: Tensor, face: Tensor) -> Tensor:
    """The mean of a surface; of the corners where it has no area. (3,)"""
    return _middle(pos, face, triangles(pos, face).area)


def _middle(pos: Tensor, face: Tensor, area: Tensor) -> Tensor:
    total = area.sum()
    corners = pos[face]
    mean = (area[:, None] * corners.mean(0)).sum(0) / total.where(total > 0, 1)
    return torch.where(total > 0, mean, corners.mean((0, 1)))


def _near_one(pos: Tensor) -> Tensor:
    """By a power of two, which rounds nothing: squares of tiny sizes would be zero."""
    return pos / 2.0 ** math.frexp(float(pos.detach().abs().amax()))[1]
