"""Tangent gradients of functions on vertices, by least squares over the edges at each vertex."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from ..nodes import node
from ..pattern import Pattern, grouped, sorted_order
from ..sparse import Sparse
from ..untraced import array
from .checks import check_edges, check_pos
from .threads import one_thread

LEAST = 1e-10
ENTRIES = 65536  # at a time: what is made of them stays in the cache


class Gradient(NamedTuple):
    """x, y (V, V): `x @ f` and `y @ f` are the components of the gradient of f along the vertex's tangents."""

    x: Sparse
    y: Sparse


@operator(
    "gradient",
    kind="mesh",
    invariant_to=("rigid",),
    version=2,
    many=True,
    needs={"tangent_frames": node("tangent_frames", kind="mesh")},
)
def gradient(pos: Tensor, edge_index: Tensor, tangent_frames: Tensor, *, ridge: float = 0.0) -> Gradient:
    """g_i = argmin_g sum_j (f_j - f_i - <u_ij, g>)^2 + r |g|^2, u_ij the edge i -> j in i's tangent plane.

    Two matrices (V, V), `Gradient(x, y)`: `x @ f` and `y @ f` are g's components along the tangents of each vertex's frame.
    Exact on linear functions of a flat neighbourhood: to 1e-6, and to 1e-3 where its edges lie within a thousandth of one
    line. Where all edges at a vertex lie on one line, the part of the gradient across it is zero; at a vertex without
    edges, all of it.

    Arguments:
        pos: (V, 3). edge_index: (2, E). tangent_frames: (V, 3, 3).
        ridge: r, a squared length. 1e-5 on shapes of unit radius gives the operators of published DiffusionNet weights
            (Sharp, Attaiki, Crane and Ovsjanikov 2022).
    """
    if not 0 <= ridge < math.inf:
        raise CotanError(f"gradient: ridge={ridge}, expected a finite number of at least 0")
    with one_thread():
        pos = check_pos(pos)
        edges = check_edges(edge_index, len(pos))
        order = sorted_order(edges[0], edges[1], (len(pos), len(pos)))
        source, target = edges.index_select(1, order)
        pattern, diagonal = with_diagonal(source, target, len(pos))
        order = grouped(pattern.counts, int(pattern.counts.max()) + 1)[1]
        begin, count, diagonal = (t.index_select(0, order) for t in (pattern.rowptr, pattern.counts, diagonal))
        tangents = tangent_frames[:, :2].to(pos.dtype).index_select(0, order).permute(1, 2, 0).contiguous()
        columns = [column.contiguous() for column in pos.unbind(1)]  # gathers of single numbers are far faster
        x, y = (pos.new_empty(len(pattern.col)) for _ in range(2))
        for rows, most in blocks(array(count)):
            step = torch.arange(most, device=pos.device)[:, None]
            entry = torch.where(step < count[rows], begin[rows] + step, diagonal[rows])  # (N, R)
            target = pattern.col.index_select(0, entry.flatten())
            edge = [c.index_select(0, target).view_as(entry) - c.index_select(0, order[rows]) for c in columns]
            for whole, (part, rest) in zip((x, y), slopes(edge, tangents[:, :, rows], ridge), strict=True):
                whole.scatter_(0, entry.flatten(), part.flatten()).scatter_(0, diagonal[rows], rest)
        return Gradient(Sparse(pattern, x), Sparse(pattern, y))


@operator("gradient", kind="cloud")
def cloud_gradient(pos: Tensor, nearest_neighbours: Tensor, tangent_frames: Tensor, *, ridge: float = 0.0) -> Gradient:
    """That of points, the edges those to a point's neighbours.

    Arguments:
        pos: (V, 3). nearest_neighbours: (2, E), neighbour -> point. tangent_frames: (V, 3, 3).
        ridge: as on meshes.
    """
    return gradient(pos, nearest_neighbours.flip(0), tangent_frames, ridge=ridge)


def slopes(edge: list[Tensor], tangents: Tensor, ridge: float) -> list[tuple[Tensor, Tensor]]:
    """Of x, then y: the entries for N edges, some of length zero, at each of R vertices (N, R), and for itself (R,).

    Arguments:
        edge: x, y, z (N, R). tangents: (2, 3, R).
    """
    number, rows = edge[0].shape
    here = torch.arange(rows, device=edge[0].device).repeat(number)

    def total(parts: Tensor) -> Tensor:
        """In order: `sum` adds otherwise where N or R are other, and a mesh in a union has to be as it is alone."""
        return parts.new_zeros(rows).index_add(0, here, parts.flatten())

    u, v = ((edge[0] * x).addcmul_(edge[1], y).addcmul_(edge[2], z) for x, y, z in tangents)
    a, b, c = total(u * u), total(u * v), total(v * v)
    least = ridge + LEAST * (a + c)  # keeps the 2 x 2 systems invertible
    a, c = a + least, c + least
    determinant = a * c - b * b
    scale = 1 / determinant.where(determinant > 0, 1)
    a, b, c = scale * a, scale * b, scale * c
    parts = ((c * u).addcmul_(b, v, value=-1), (a * v).addcmul_(b, u, value=-1))
    return [(part, -total(part)) for part in parts]


def blocks(count: Any) -> Iterator[tuple[slice, int]]:
    """Rows, by how many entries they have, some at a time, and N, the most that these have.

    Each is taken to have N, its diagonal again and again: that edge has no length, and no step asks whose an edge is.
    """
    start = 0
    while start < len(count):
        ends = range(start + 1, len(count) + 1)
        stop = start + max(bisect(ends, ENTRIES, key=lambda end: (end - start) * count[end - 1]), 1)
        yield slice(start, stop), int(count[stop - 1])
        start = stop


def with_diagonal(source: Tensor, target: Tensor, size: int) -> tuple[Pattern, Tensor]:
    """The pattern of sorted edges and a diagonal, and where in it the diagonal (V,) is."""
    here = torch.arange(size, device=source.device)
    below = (target < source).long()
    degree = torch.bincount(source, minlength=size)
    rowptr = torch.cat([degree.new_zeros(1), (degree + 1).cumsum(0)])
    at_diagonal = rowptr[:-1].index_add(0, source, below)
    at_edge = torch.arange(1, len(source) + 1, device=source.device).add_(source).sub_(below)
    col = source.new_empty(len(source) + size).scatter_(0, at_edge, target).scatter_(0, at_diagonal, here)
    return Pattern(rowptr, col, size), at_diagonal
