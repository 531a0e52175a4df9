"""Geodesic polar coordinates of the neighbourhood of every vertex at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..registry import operator
from .checks import check_edges, check_mesh
from .edge_index import half_edges
from .triangle_soup import refuse_derivatives

SWEEPS = 20  # over the faces, at most: one for each ring of neighbours and few more is common


@operator(per="edge", invariant_to=("rigid",))
def geodesic_polar(pos: Tensor, face: Tensor, tangent_frames: Tensor, ring_neighbours: Tensor) -> Tensor:
    """(radius, angle) of j about i for each pair j -> i: geodesic distance, and direction in i's tangent plane. (P, 2)

    Along the edges at i, length and projected direction. From there the front moves over faces: a face is unfolded
    beside the straight lines to two of its vertices, which gives the third (after Melvaer and Reimers 2012). Paths stay
    among the neighbours of i. Angles from -pi to pi. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). tangent_frames: (V, 3, 3).
        ring_neighbours: (2, P), the pairs; those along an edge among them.
    """
    refuse_derivatives(pos, "geodesic_polar")
    pos, face = check_mesh(pos, face)
    size = len(pos)
    other, centre = check_edges(ring_neighbours, size)
    here = torch.arange(size, device=pos.device)
    key, order = torch.sort(torch.cat([centre * size + other, here * (size + 1)]))  # with each vertex about itself
    centre, other = key // size, key % size

    source, target = half_edges(face)
    adjacent = torch.isin(key, torch.cat([source * size + target, target * size + source]))
    offset = pos[other] - pos[centre]
    flat = (tangent_frames.to(pos.dtype)[centre, :2] @ offset[..., None])[..., 0]
    radius = torch.where(adjacent, torch.linalg.vector_norm(offset, dim=1), math.inf)
    radius = torch.where(centre == other, 0, radius)
    angle = torch.atan2(flat[:, 1], flat[:, 0])

    fixed = adjacent | (centre == other)
    steps = _unfoldings(pos, face, key, size, fixed)
    news = torch.isfinite(radius)
    for _ in range(SWEEPS):
        news = torch.cat([news, news.new_zeros(1)])
        fresh = news[steps.a] | news[steps.b]  # only what has changed can change more
        before = radius
        radius, angle = _advance(_Unfoldings(*(part[fresh] for part in steps)), radius, angle)
        news = radius < before * (1 - 1e-9)
        if not bool(news.any()):
            break
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    found = torch.stack([radius, angle], 1)
    unsorted = torch.empty_like(found)
    unsorted[order] = found
    return unsorted[: ring_neighbours.shape[1]]


class _Unfoldings(NamedTuple):
    """Each way to reach pair `to` over a face: pairs `a`, `b` of the face's other vertices, and its side lengths."""

    to: Tensor
    a: Tensor
    b: Tensor
    ab: Tensor
    a_to: Tensor
    b_to: Tensor


def _unfoldings(pos: Tensor, face: Tensor, key: Tensor, size: int, fixed: Tensor) -> _Unfoldings:
    corners = torch.cat([face, face[[1, 2, 0]], face[[2, 0, 1]]], 1)  # (3, 3F): a vertex, then the other two
    corners = corners[:, torch.argsort(corners[0], stable=True)]
    count = torch.bincount(corners[0], minlength=size)
    begin = count.cumsum(0) - count
    moving = (~fixed).nonzero()[:, 0]
    centre, vertex = key[moving] // size, key[moving] % size
    each = count[vertex]
    step = torch.arange(int(each.sum()), device=pos.device) - (each.cumsum(0) - each).repeat_interleave(each)
    at = begin[vertex].repeat_interleave(each) + step
    to, centre = moving.repeat_interleave(each), centre.repeat_interleave(each)
    v, j, k = corners[:, at]

    def pair(other: Tensor) -> Tensor:
        """The number of pair (centre, other), or len(key): a pair at infinite distance."""
        place = torch.searchsorted(key, centre * size + other).clamp_max(len(key) - 1)
        return torch.where(key[place] == centre * size + other, place, len(key))

    def length(p: Tensor, q: Tensor) -> Tensor:
        between: Tensor = torch.linalg.vector_norm(pos[p] - pos[q], dim=1)
        return between

    return _Unfoldings(to, pair(j), pair(k), length(j, k), length(j, v), length(k, v))


def _advance(s: _Unfoldings, radius: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """The shortest radius that any face gives, and the angle that goes with it."""
    infinite = radius.new_full((1,), math.inf)
    all_radii, all_angles = torch.cat([radius, infinite]), torch.cat([angle, infinite * 0 + 0.0]).nan_to_num()
    ra, rb, ta, tb = all_radii[s.a], all_radii[s.b], all_angles[s.a], all_angles[s.b]

    # Along an edge.
    by_a, by_b = ra + s.a_to, rb + s.b_to
    reach, turn = torch.minimum(by_a, by_b), torch.where(by_a <= by_b, ta, tb)

    # Straight through side ab: a at 0, b at (ab, 0), the vertex above, the centre below.
    known = torch.isfinite(ra) & torch.isfinite(rb) & (s.ab > 0) & (ra > 0) & (rb > 0)
    ra, rb, ab = ra.where(known, 1), rb.where(known, 1), s.ab.where(known, 1)
    cx, vx = (ra * ra - rb * rb + ab * ab) / (2 * ab), (s.a_to**2 - s.b_to**2 + ab * ab) / (2 * ab)
    cy, vy = -(ra * ra - cx * cx).clamp_min(0).sqrt(), (s.a_to**2 - vx * vx).clamp_min(0).sqrt()
    drop = vy - cy
    cross = cx + (vx - cx) * -cy / drop.where(drop > 0, 1)
    through = known & (drop > 0) & (cross >= 0) & (cross <= ab)
    straight = torch.hypot(vx - cx, drop)
    at_centre = torch.atan2(-cy, -cx)  # directions from the centre to a, to b, to the vertex
    to_b, to_v = torch.atan2(-cy, ab - cx), torch.atan2(drop, vx - cx)
    opening = to_b - at_centre
    share = ((to_v - at_centre) / opening.where(opening != 0, 1)).clamp(0, 1)
    between = torch.remainder(tb - ta + math.pi, 2 * math.pi) - math.pi
    outwards = straight >= torch.maximum(ra, rb)  # else an obtuse face would feed on itself
    shorter = through & outwards & (straight <= reach)
    reach, turn = torch.where(shorter, straight, reach), torch.where(shorter, ta + share * between, turn)

    if not len(reach):
        return radius, angle
    best = radius.scatter_reduce(0, s.to, reach, "amin")
    improves = (reach <= best[s.to]) & (reach < radius[s.to])
    ways = torch.arange(len(reach), device=reach.device)
    none = len(reach)
    winner = s.to.new_full((len(radius),), none)
    winner = winner.scatter_reduce(0, s.to[improves], ways[improves], "amin")
    moved = winner < none
    return best, torch.where(moved, turn[winner.where(moved, 0)], angle)
