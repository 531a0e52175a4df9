"""Sides, corners and areas of triangles, finite also where a triangle has no area.

In the weights, a triangle's area is at least `FLAT` times the sum of its squared sides. That changes nothing on
triangles with angles above some 1e-3 degrees. On flatter ones it multiplies all three cotangents by the same factor
below one, so that the Laplacian stays positive semi-definite, and its limit is the right one: a vertex on the side of a
cap is held at the linear interpolation of the side's ends. A triangle that is a point has area and weights zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

FLAT = 1e-6


class Triangles(NamedTuple):
    """Of F triangles. Side i faces corner i and runs from corner i + 1 to corner i + 2.

    Attributes:
        sides (3, F, 3): vectors along the sides. normal (F, 3): cross product of two sides, not normalised.
        area (F,). floored (F,): the area with the floor above. dots (3, F): product of the two sides leaving a corner.
    """

    sides: Tensor
    normal: Tensor
    area: Tensor
    floored: Tensor
    dots: Tensor

    @property
    def flat(self) -> Tensor:
        """(F,) whether a triangle has no area to `FLAT` of its squared sides, or these are too small for a float64."""
        return (self.area < self.floored) | (self.floored == 0)

    @property
    def cotangents(self) -> Tensor:
        """(3, F) the cotangent of the angle at each corner; zero on a triangle that is a point."""
        return self.dots / torch.where(self.floored > 0, 2 * self.floored, 1)

    @property
    def angles(self) -> Tensor:
        """(3, F) the angle at each corner. Beside a side of no length, where it is not defined, a right one, as the limit of
        two even sides has it; a third of pi in a triangle that is a point. So the three make pi."""
        defined = (self.dots != 0) | (self.area > 1e-9 * self.floored)  # beyond rounding, as normals are
        # Not next to each other, as what torch has for whole vectors differs from what it has for their rest in the last digit.
        parts = torch.stack([(2 * self.area).expand_as(self.dots), torch.where(defined, self.dots, 1)], -1)
        limit = math.pi / torch.where(self.floored > 0, 2.0, 3.0).to(self.area)
        return torch.where(defined, torch.atan2(*parts.unbind(-1)), limit)


def triangles(pos: Tensor, face: Tensor) -> Triangles:
    """sides (3, F, 3), normal (F, 3), area, floored (F,), dots, cotangents and angles (3, F) of faces, as `Triangles` says.

    Arguments:
        pos: (V, 3). face: (3, F).
    """
    # index_select: indexing with a tensor wakes all threads, which costs milliseconds where these are busy.
    a, b, c = pos.index_select(0, face.reshape(-1)).view(3, -1, 3)
    sides = torch.stack([c - b, a - c, b - a])
    x, y, z = sides
    normal = torch.linalg.cross(x, y)
    squares = inner(x, x) + inner(y, y) + inner(z, z)
    area = torch.linalg.vector_norm(normal, dim=1) / 2
    dots = -torch.stack([inner(y, z), inner(z, x), inner(x, y)])
    return Triangles(sides, normal, area, torch.maximum(area, FLAT * squares), dots)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The products of rows (..., 3). `sum` over three numbers takes ten times as long for the same digits."""
    x, y, z = (a * b).unbind(-1)
    return x + y + z
