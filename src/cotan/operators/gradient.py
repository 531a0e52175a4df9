"""Tangent gradients of functions on vertices, by least squares over the edges at each vertex."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import CotanError
from ..registry import operator
from ..sparse import Pattern, Sparse
from .checks import check_edges, check_pos
from .threads import one_thread

LEAST = 1e-10
BLOCK = 4096


class Gradient(NamedTuple):
    """x, y (V, V): `x @ f` and `y @ f` are the components of the gradient of f along the vertex's tangents."""

    x: Sparse
    y: Sparse


@operator(invariant_to=("rigid",), many=True)
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
    pattern, diagonal = with_diagonal(*sorted_edges(check_edges(edge_index, size), size), size)
    frames = tangent_frames[:, :2].to(pos.dtype)
    columns = pos.T.contiguous()
    with one_thread(BLOCK):
        parts = [slopes(columns, frames, pattern, diagonal, rows, ridge) for rows in blocks(size)]
    x, y = zip(*parts, strict=True)
    return Gradient(Sparse(pattern, torch.cat(x)), Sparse(pattern, torch.cat(y)))


def slopes(
    pos: Tensor, frames: Tensor, pattern: Pattern, diagonal: Tensor, rows: slice, ridge: float
) -> tuple[Tensor, Tensor]:
    """The entries of x and y in some rows. Columns by themselves: gathers of single numbers are far faster."""
    first, last = (int(pattern.rowptr[i]) for i in (rows.start, rows.stop))
    source, target = pattern.row[first:last], pattern.col[first:last]
    here, size = source - rows.start, rows.stop - rows.start
    edge = [column.index_select(0, target).sub_(column.index_select(0, source)) for column in pos]

    def along(tangent: Tensor) -> Tensor:
        x, y, z = (part.index_select(0, here) for part in tangent)
        product: Tensor = (x * edge[0]).addcmul_(y, edge[1]).addcmul_(z, edge[2])
        return product

    def total(entries: Tensor) -> Tensor:
        return pos.new_zeros(size).index_add(0, here, entries)

    u, v = (along(tangent) for tangent in frames[rows].permute(1, 2, 0).contiguous())
    a, b, c = total(u * u), total(u * v), total(v * v)
    least = ridge + LEAST * (a + c)  # keeps the 2 x 2 systems invertible
    a, c = a + least, c + least
    determinant = a * c - b * b
    scale = 1 / determinant.where(determinant > 0, 1)
    a, b, c = ((scale * part).index_select(0, here) for part in (a, -b, c))

    def entries(weight: Tensor) -> Tensor:
        return torch.index_copy(weight, 0, diagonal[rows] - first, -total(weight))  # an entry i, i has no edge

    return entries((c * u).addcmul_(b, v)), entries((a * v).addcmul_(b, u))


def blocks(size: int) -> list[slice]:
    """Rows a few thousand at a time: what is made of them stays in the cache."""
    return [slice(start, min(start + BLOCK, size)) for start in range(0, max(size, 1), BLOCK)]


def sorted_edges(edge_index: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Source and target, sorted by source, then target. The edges of a mesh are so already."""
    key = edge_index[0] * size + edge_index[1]
    if not bool((key[1:] >= key[:-1]).all()):
        edge_index = edge_index[:, torch.argsort(key, stable=True)]
    return edge_index[0], edge_index[1]


def with_diagonal(source: Tensor, target: Tensor, size: int) -> tuple[Pattern, Tensor]:
    """The pattern of sorted edges and a diagonal, and where in it the diagonal (V,) is."""
    here = torch.arange(size, device=source.device)
    below = (target < source).long()
    at_edge = torch.arange(1, len(source) + 1, device=source.device) + source - below
    degree = torch.bincount(source, minlength=size)
    rowptr = torch.cat([degree.new_zeros(1), (degree + 1).cumsum(0)])
    at_diagonal = rowptr[:-1].index_add(0, source, below)
    col = source.new_empty(len(source) + size).index_copy_(0, at_edge, target).index_copy_(0, at_diagonal, here)
    return Pattern(rowptr, col, (size, size)), at_diagonal
