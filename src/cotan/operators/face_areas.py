"""The area of each face."""

from __future__ import annotations

from torch import Tensor

from ..decorators import operator
from .checks import check_mesh
from .triangles import triangles


@operator(per="face", invariant_to=("isometry",), many=True)
def face_areas(pos: Tensor, face: Tensor) -> Tensor:
    """|(x_1 - x_0) x (x_2 - x_0)| / 2. (F,)"""
    return triangles(*check_mesh(pos, face)).area
