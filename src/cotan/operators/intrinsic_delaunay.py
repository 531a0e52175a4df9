"""Another triangulation of a surface with the same vertices, by intrinsic flips: known by its side lengths alone.

An edge is Delaunay where the two angles that face it sum to at most half a turn. Any other can be flipped: its two faces
are unfolded into the plane, where they make a convex quadrilateral, and the other diagonal is taken. Doing so as long as
there is one ends (Bobenko and Springborn 2007), and leaves fewer and smaller obtuse corners.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .edge_index import half_edges, is_triangle

ROUNDS = 100  # 30 do for triangles a hundred times as long as wide; n faces about one vertex take more than n
SLACK = 1e-6  # of four vertices on a circle the given diagonal stays, whichever way rounding goes


def side_lengths(pos: Tensor, face: Tensor) -> Tensor:
    """Length of the side that faces each corner. (3, F)"""
    a, b, c = pos[face]
    return torch.linalg.vector_norm(torch.stack([c - b, a - c, b - a]), dim=2)


def intrinsic_delaunay(face: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Faces and side lengths, as given, of a triangulation that is Delaunay, or nearer to it; see `delaunay_headings`."""
    return delaunay_headings(face, length, length.new_zeros(2, *length.shape))[:2]


def delaunay_headings(face: Tensor, length: Tensor, heading: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Faces, side lengths and headings, as given, of a triangulation that is Delaunay, or nearer to it.

    Two faces may share two vertices and not the edge between them. Where one face or more than two meet, an edge stays; so
    does one whose flip would join a vertex to itself.

    Arguments:
        face: (3, F). length: (3, F) of the side that faces each corner.
        heading: (2, 3, F) angles at each corner in which its two sides begin, to the next corner and to the one before.
            That of a new side lies between those beside it as it does in the unfolded faces.
    """
    count = face.shape[1]
    face, length, heading = (each.clone(memory_format=torch.contiguous_format) for each in (face, length, heading))
    twin = _twins(face)
    side = torch.arange(3 * count, device=face.device)
    rank = side * 2654435761 % 2**32  # scattered: in the order of sides, those of a strip would be flipped one by one
    for _ in range(ROUNDS):
        angle, vertex = _angles(length).view(-1), face.view(-1)
        s = (side < twin).logical_and(angle + angle[twin] > math.pi + SLACK).logical_and(vertex != vertex[twin])
        s = s.nonzero()[:, 0]
        if not len(s):
            break
        first = rank.new_full((count,), 2**32)
        first.scatter_reduce_(0, torch.cat([s, twin[s]]) % count, rank[s].repeat(2), "amin")
        s = s[(first[s % count] == rank[s]) & (first[twin[s] % count] == rank[s])]  # no two in a face
        _flip(face, length, heading, twin, s)
    return face, length, heading


def _twins(face: Tensor) -> Tensor:
    """The other side at each side's edge, or itself where there is none or several; numbered as in `half_edges`. (3F,)"""
    source, target = half_edges(face)
    side = torch.arange(len(source), device=face.device)
    key = torch.minimum(source, target) * (int(face.max()) + 1) + torch.maximum(source, target)
    key = torch.where(is_triangle(face).repeat(3), key, -1 - side)
    _, edge, faces_at = torch.unique(key, return_inverse=True, return_counts=True)
    order = torch.argsort(edge, stable=True)
    order = order[faces_at[edge[order]] == 2]
    twin = side.clone()
    twin[order] = order.view(-1, 2).flip(1).reshape(-1)
    return twin


def _angles(length: Tensor) -> Tensor:
    """The angle at each corner. (3, F)"""
    around, square = length.sum(0), length * length
    a, b, c = (around - 2 * length).clamp_min(0)
    area = (around * a).sqrt() * (b * c).sqrt()  # four times the area, after Heron
    return torch.atan2(area, square.sum(0) - 2 * square)


def _flip(face: Tensor, length: Tensor, heading: Tensor, twin: Tensor, s: Tensor) -> None:
    """Of faces a p q and b q p, at sides s and their twins, make p b a and q a b; in place. No two flips share a face."""
    count = face.shape[1]
    vertex, size = face.view(-1), length.view(-1)
    a, p, q = (s + i * count for i in range(3))  # corners, and the sides that face them
    b, m, n = (twin[s] + i * count for i in range(3))
    a, p, q, b, m, n = (corner % (3 * count) for corner in (a, p, q, b, m, n))
    same = vertex[m] == vertex[p]
    p2, q2 = torch.where(same, m, n), torch.where(same, n, m)
    pq, aq, ap, bq, bp = (size[side] for side in (a, p, q, p2, q2))

    # Edge p q along the x-axis from 0, a above it and b below.
    x, y = ((pq**2 + to_p**2 - to_q**2) / (2 * pq) for to_p, to_q in ((ap, aq), (bp, bq)))
    ab = torch.hypot(x - y, (ap**2 - x**2).clamp_min(0).sqrt() + (bp**2 - y**2).clamp_min(0).sqrt())

    (a_p, _, q_a), (a_q, p_a, _) = heading.view(2, -1)[:, torch.stack([a, p, q])]
    beyond = heading.view(2, -1)[:, torch.stack([b, p2, q2])]
    (b_p, _, q_b), (b_q, p_b, _) = torch.where(same, beyond, beyond.flip(0))

    f, g = s % count, twin[s] % count
    moved = torch.arange(3 * count, device=face.device)
    for old, new in ((a, f), (q, f + count), (q2, f + 2 * count), (b, g), (p2, g + count), (p, g + 2 * count)):
        moved[old] = new
    twin[moved] = moved[twin]
    face[:, f], face[:, g] = vertex[torch.stack([p, b, a])], vertex[torch.stack([q, a, b])]
    length[:, f], length[:, g] = torch.stack([ab, ap, bp]), torch.stack([ab, bq, aq])
    (_, b_f, a_f), (_, a_g, b_g) = _angles(length[:, f]), _angles(length[:, g])
    tiny = torch.finfo(length.dtype).tiny  # a face without area may have no angles
    a_b = a_p + a_f / (a_f + a_g).clamp_min(tiny) * signed(a_q - a_p)
    b_a = b_p + b_f / (b_f + b_g).clamp_min(tiny) * signed(b_q - b_p)
    heading[:, :, f] = torch.stack([p_b, b_a, a_p, p_a, b_p, a_b]).view(2, 3, -1)
    heading[:, :, g] = torch.stack([q_a, a_b, b_q, q_b, a_q, b_a]).view(2, 3, -1)


def signed(angle: Tensor) -> Tensor:
    """From -pi to pi; of half a turn, one sign whichever way rounding goes."""
    return torch.remainder(angle + math.pi - 1e-6, 2 * math.pi) - (math.pi - 1e-6)
