"""Tangent gradients of functions on vertices, by least squares over the edges at each vertex."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import CotanError
from ..registry import operator
from ..sparse import Pattern, Sparse
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
    source, target = sorted_edges(check_edges(edge_index, size), size)
    # Column by column: gathers of single numbers are far faster than of rows, and take less memory at a time.
    edge = [column.index_select(0, target) - column.index_select(0, source) for column in pos.T.contiguous()]

    # sum u u^T = F (sum e e^T) F^T, F = (p, q) the vertex's tangents: summed in space, then turned into the frame.
    xx, xy, xz, yy, yz, zz = (
        pos.new_zeros(size).index_add(0, source, edge[i] * edge[j]) for i in range(3) for j in range(i, 3)
    )
    p, q = tangent_frames[:, :2].to(pos.dtype).permute(1, 2, 0).contiguous()  # (3, V) each
    spread = torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz]).view(3, 3, size)
    image = (spread * p).sum(1)
    a, b, c = (image * p).sum(0), (image * q).sum(0), ((spread * q).sum(1) * q).sum(0)
    least = ridge + LEAST * (a + c)  # keeps the 2 x 2 systems invertible
    a, c = a + least, c + least
    scale = 1 / (a * c - b * b).where(a + c > 0, 1)
    fits = (scale * (c * p - b * q), scale * (a * q - b * p))  # (3, V) each

    parts = []
    pattern, at_edge, at_diagonal = with_diagonal(source, target, size)
    for fit in fits:
        weight = sum(slope.index_select(0, source) * along for slope, along in zip(fit, edge, strict=True))
        total = pos.new_zeros(size).index_add(0, source, weight)
        values = pos.new_zeros(len(pattern.col)).index_copy(0, at_edge, weight).index_copy(0, at_diagonal, -total)
        parts.append(Sparse(pattern, values))
    x, y = parts
    return Gradient(x, Sparse(_copy(pattern), y.values))  # the store refuses two values on one memory


def sorted_edges(edge_index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Source and target, sorted by source, then target. The edges of a mesh are so already."""
    key = edge_index[0] * size + edge_index[1]
    if not bool((key[1:] >= key[:-1]).all()):
        edge_index = edge_index[:, torch.argsort(key, stable=True)]
    return edge_index[0], edge_index[1]


def with_diagonal(source: Tensor, target: Tensor, size: int) -> tuple[Pattern, Tensor, Tensor]:
    """The pattern of sorted edges and a diagonal, and where in it the edges (E,) and the diagonal (V,) are."""
    here = torch.arange(size, device=source.device)
    below = target < source
    at_edge = torch.arange(len(source), device=source.device) + source + (~below).long()
    degree = torch.bincount(source, minlength=size)
    rowptr = torch.cat([degree.new_zeros(1), (degree + 1).cumsum(0)])
    at_diagonal = rowptr[:-1] + torch.bincount(source[below], minlength=size)
    col = source.new_empty(len(source) + size).index_copy(0, at_edge, target).index_copy(0, at_diagonal, here)
    return Pattern(rowptr, col, (size, size)), at_edge, at_diagonal


def _copy(p: Pattern) -> Pattern:
    copies = (t.clone() for t in (p.rowptr, p.col, p.t_rowptr, p.t_col, p.t_perm, p.row))
    rowptr, col, t_rowptr, t_col, t_perm, row = copies
    return Pattern(rowptr, col, p.shape, t_rowptr, t_col, t_perm, row)
