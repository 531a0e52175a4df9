"""Tangent gradients of functions on vertices, by least squares over the edges at each vertex."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import CotanError
from ..registry import operator
from ..sparse import Sparse
from .checks import check_edges, check_pos

LEAST = 1e-10


class Gradient(NamedTuple):
    """x, y (V, V): `x @ f` and `y @ f` are the components of the gradient of f along the vertex's tangents."""

    x: Sparse
    y: Sparse


@operator(invariant_to=("rigid",))
def gradient(pos: Tensor, edge_index: Tensor, tangent_frames: Tensor, *, ridge: float = 0.0) -> Gradient:
    """g_i = argmin_g sum_j (f_j - f_i - <u_ij, g>)^2 + r |g|^2, u_ij the edge i -> j in i's tangent plane.

    Exact on linear functions of a flat neighbourhood. Where all edges at a vertex lie on one line, the part of the
    gradient across it is zero; at a vertex without edges, all of it.

    Arguments:
        pos: (V, 3). edge_index: (2, E). tangent_frames: (V, 3, 3).
        ridge: r, a squared length. 1e-5 on shapes of unit radius gives the operators of published DiffusionNet weights
            (Sharp, Attaiki, Crane and Ovsjanikov 2022).
    """
    if not ridge >= 0:
        raise CotanError(f"gradient: ridge={ridge}, expected at least 0")
    pos = check_pos(pos)
    size = len(pos)
    source, target = check_edges(edge_index, size)
    u = (tangent_frames.to(pos.dtype)[source, :2] @ (pos[target] - pos[source])[..., None])[..., 0]  # (E, 2)

    products = torch.stack([u[:, 0] * u[:, 0], u[:, 0] * u[:, 1], u[:, 1] * u[:, 1]], 1)
    a, b, c = pos.new_zeros(size, 3).index_add(0, source, products).unbind(1)
    least = ridge + LEAST * (a + c)  # keeps the 2 x 2 systems invertible
    a, c = a + least, c + least
    inverse = torch.stack([c, -b, -b, a], 1) / (a * c - b * b).where(a + c > 0, 1)[:, None]
    weights = (inverse.view(size, 2, 2)[source] @ u[..., None])[..., 0]  # (E, 2)

    here = torch.arange(size, device=pos.device)
    both = Sparse.from_coo(
        torch.cat([source, here]),
        torch.cat([target, here]),
        torch.cat([weights, -pos.new_zeros(size, 2).index_add(0, source, weights)]),
        (size, size),
    )
    return Gradient(both.with_values(both.values[:, 0].contiguous()), both.with_values(both.values[:, 1].contiguous()))
