"""Mean and Gauss curvature at vertices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..nodes import node
from ..sparse import Sparse
from .checks import check_mesh
from .edge_index import is_triangle, on_rim
from .triangles import inner, triangles

MASS = {"mass": node("mass", kind="voronoi")}  # barycentric ones are off by a seventh where five faces meet among six


@operator(per="vertex", invariant_to=("rigid",), many=True, needs=MASS)
def mean_curvature(pos: Tensor, face: Tensor, laplacian: Sparse, mass: Tensor, vertex_normals: Tensor) -> Tensor:
    """H = <M^-1 L x, n> / 2: 1 / r on a sphere with normals outwards. (V,)

    H +- sqrt(H^2 - K) are the principal curvatures, K that of Gauss. M is mixed Voronoi. 0 on a rim, where L x is the pull
    of the missing side, and at vertices without faces.

    Arguments:
        pos: (V, 3). face: (3, F). laplacian: (V, V). mass: (V,). vertex_normals: (V, 3).
    """
    pos, face = check_mesh(pos, face)
    face = face[:, is_triangle(face)]
    pull = (laplacian @ pos.to(laplacian.dtype)) / mass[:, None]
    return torch.where(on_rim(face, len(pos)), 0, inner(pull, vertex_normals) / 2)


@operator(per="vertex", invariant_to=("isometry",), version=3, many=True, needs=MASS)
def gauss_curvature(pos: Tensor, face: Tensor, mass: Tensor) -> Tensor:
    """K = (2 pi - sum of angles) / m, on a rim (pi - sum of angles) / m: 1 / r^2 on a sphere. (V,)

    m is mixed Voronoi; sum m K = 2 pi (V - E + F) over manifold meshes (Gauss and Bonnet). 0 at vertices without faces.

    Arguments:
        pos: (V, 3). face: (3, F). mass: (V,).
    """
    pos, face = check_mesh(pos, face)
    face = face[:, is_triangle(face)]  # the sides of others are no rim
    t = triangles(pos, face)
    corners = face.reshape(-1)
    total = pos.new_zeros(len(pos)).index_add(0, corners, t.angles.reshape(-1))
    flat = math.pi * (2 - on_rim(face, len(pos)).to(pos.dtype))
    used = torch.zeros(len(pos), dtype=torch.bool, device=pos.device).index_fill(0, corners, True)
    return torch.where(used, flat - total, 0) / mass
