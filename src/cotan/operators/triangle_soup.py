"""A mesh as outside libraries can take it, and its values back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..errors import CotanError
from .checks import check_mesh
from .edge_index import is_triangle


class Soup(NamedTuple):
    """vertices (U, 3) and faces (G, 3) as arrays: only vertices with a face, only faces of three different vertices.

    `used` (U,): the number in the mesh of each vertex here, ascending.
    """

    vertices: Any
    faces: Any
    used: Tensor


def triangle_soup(pos: Tensor, face: Tensor, what: str) -> Soup:
    """The mesh without loose vertices and without faces that name a vertex twice. `what` asks, for messages."""
    refuse_derivatives(pos, what)
    pos, face = check_mesh(pos, face)
    proper = is_triangle(face)
    if not proper.any():
        raise CotanError(f"{what}: a mesh without area: none of its {face.shape[1]} faces has three different vertices")
    used, number = torch.unique(face[:, proper], return_inverse=True)
    return Soup(pos[used].cpu().numpy(), number.T.contiguous().cpu().numpy(), used)
