"""A front that moves outwards over faces, from many centres at once: geodesic radius and angle.

A face whose two vertices a, b have known distances from a centre is unfolded into the plane beside the triangle centre,
a, b, which gives the third vertex's (after Melvaer and Reimers 2012). Exact on the plane where no corner is obtuse; where no
straight line leads through side ab, or it comes in by an obtuse corner, the way is along an edge.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .intrinsic_delaunay import signed

TIE = 1 + 1e-9  # ways whose lengths differ by less are of one length: the first is taken, whichever way rounding goes


def march(
    size: int,
    face: Tensor,
    length: Tensor,
    key: Tensor,
    radius: Tensor,
    angle: Tensor,
    origin: Tensor,
    fixed: Tensor,
    sweeps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Radius, angle and origin (N,) of each pair of a centre and a vertex, once no face gives a shorter radius.

    Arguments:
        size: V. face: (3, F). length: (3, F) of the side that faces each corner.
        key: (N,) sorted, c * V + v of centre c and vertex v. Ways lead only through vertices paired with the centre.
        radius, angle: (N,) to start from; radius infinite where it is not known.
        origin: (N,) which of a centre's sources the radius is from. A face is unfolded beside ways from one source.
        fixed: (N,) pairs that are right already. sweeps: over the faces, at most.
    """
    steps = _unfoldings(size, face, length, key, fixed)
    news = torch.isfinite(radius)
    for _ in range(sweeps):
        news = torch.cat([news, news.new_zeros(1)])
        fresh = news.index_select(0, steps.a) | news.index_select(0, steps.b)  # only what has changed can change more
        few, before = fresh.nonzero()[:, 0], radius
        some = _Unfoldings(*(part.index_select(0, few) for part in steps))
        radius, angle, origin = _advance(some, radius, angle, origin)
        news = radius < before
        if not bool(news.any()):
            break
    return radius, angle, origin


class _Unfoldings(NamedTuple):
    """Each way to reach pair `to` over a face: pairs `a`, `b` of the face's other vertices, and its side lengths."""

    to: Tensor
    a: Tensor
    b: Tensor
    ab: Tensor
    a_to: Tensor
    b_to: Tensor


def _unfoldings(size: int, face: Tensor, length: Tensor, key: Tensor, fixed: Tensor) -> _Unfoldings:
    around = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]], device=face.device)  # a vertex, then the other two
    corners, lengths = face[around].view(3, -1), length[around].view(3, -1)  # (3, 3F)
    order = torch.argsort(corners[0], stable=True)
    corners, lengths = corners[:, order], lengths[:, order]
    count = torch.bincount(corners[0], minlength=size)
    begin = count.cumsum(0) - count
    moving = (~fixed).nonzero()[:, 0]
    centre, vertex = key[moving] // size, key[moving] % size
    each = count[vertex]
    step = torch.arange(int(each.sum()), device=face.device) - (each.cumsum(0) - each).repeat_interleave(each)
    at = begin[vertex].repeat_interleave(each) + step
    to, centre = moving.repeat_interleave(each), centre.repeat_interleave(each)
    _, j, k = corners[:, at]
    jk, kv, jv = lengths[:, at]

    def pair(other: Tensor) -> Tensor:
        """The number of pair (centre, other), or len(key): a pair at infinite distance."""
        place = torch.searchsorted(key, centre * size + other).clamp_max(len(key) - 1)
        return torch.where(key[place] == centre * size + other, place, len(key))

    return _Unfoldings(to, pair(j), pair(k), jk, jv, kv)


def _advance(s: _Unfoldings, radius: Tensor, angle: Tensor, origin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest radius that any face gives, with the angle and the origin that go with it."""
    infinite = radius.new_full((1,), math.inf)
    all_radii, all_angles = torch.cat([radius, infinite]), torch.cat([angle, angle.new_zeros(1)])
    all_origins = torch.cat([origin, origin.new_zeros(1)])
    ra, rb, ta, tb = all_radii[s.a], all_radii[s.b], all_angles[s.a], all_angles[s.b]
    oa, ob = all_origins[s.a], all_origins[s.b]

    # Along an edge.
    by_a, by_b = ra + s.a_to, rb + s.b_to
    first = by_a <= TIE * by_b
    reach, turn, start = torch.minimum(by_a, by_b), torch.where(first, ta, tb), torch.where(first, oa, ob)

    # Straight through side ab: a at 0, b at (ab, 0), the vertex above, the centre below.
    known = torch.isfinite(ra) & torch.isfinite(rb) & (s.ab > 0) & (ra > 0) & (rb > 0) & (oa == ob)
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
    outwards = TIE * straight >= torch.maximum(ra, rb)  # else an obtuse face would feed on itself
    shorter = through & outwards & (straight <= reach)
    reach, turn = torch.where(shorter, straight, reach), torch.where(shorter, ta + share * signed(tb - ta), turn)

    if not len(reach):
        return radius, angle, origin
    best = radius.scatter_reduce(0, s.to, reach, "amin")
    improves = (reach <= TIE * best[s.to]) & (TIE * best < radius)[s.to]
    ways = torch.arange(len(reach), device=reach.device)
    none = len(reach)
    winner = s.to.new_full((len(radius),), none)
    winner = winner.scatter_reduce(0, s.to[improves], ways[improves], "amin")
    moved = (winner < none).nonzero()[:, 0]
    way = winner[moved]
    return (
        radius.index_copy(0, moved, best[moved]),
        angle.index_copy(0, moved, turn[way]),
        origin.index_copy(0, moved, start[way]),
    )
