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

from ..pattern import grouped, runs
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
    width: float = math.inf,
) -> tuple[Tensor, Tensor, Tensor]:
    """Radius, angle and origin (N,) of each pair of a centre and a vertex, once no face gives a shorter radius.

    Arguments:
        size: V. face: (3, F). length: (3, F) of the side that faces each corner.
        key: (N,) sorted, c * V + v of centre c and vertex v. Ways lead only through vertices paired with the centre.
        radius, angle: (N,) to start from; radius infinite where it is not known.
        origin: (N,) which of a centre's sources the radius is from. A face is unfolded beside ways from one source.
        fixed: (N,) pairs that are right already. sweeps: over the faces, at most.
        width: of bands of radii, which go on one after the other. A pair that went on at once would go on again each
            time that a shorter way came up with it. Bands begin at the centre, so that one goes on as it does alone.
    """
    steps = _unfoldings(size, face, length, key, fixed)
    begin, order = grouped(torch.cat([steps.a, steps.b]), len(key) + 1)
    way = order.remainder_(max(len(steps.to), 1))  # of each pair in turn, the unfoldings beside it
    # The last is the pair at infinite distance.
    radius = torch.cat([radius, radius.new_full((1,), math.inf)])
    angle, origin = torch.cat([angle, angle.new_zeros(1)]), torch.cat([origin, origin.new_zeros(1)])
    waiting = torch.isfinite(radius).nonzero()[:, 0]
    for _ in range(sweeps):
        if not len(waiting):
            break
        band = radius[waiting] // width
        first = band == band.min()
        now, later = waiting[first], waiting[~first]
        few = _each_once(way[runs(begin[now], begin[now + 1])], len(way))  # only what has changed can change more
        news = _advance(_Unfoldings(*(part.index_select(0, few) for part in steps)), radius, angle, origin)
        waiting = _each_once(torch.cat([later, news]), len(radius))
    return radius[:-1], angle[:-1], origin[:-1]


def _each_once(number: Tensor, size: int) -> Tensor:
    """Numbers below `size`, ascending. Marks on all of them would be most of the time of a front on a large mesh."""
    if 32 * len(number) < size:
        return torch.unique(number)
    return torch.zeros(size, dtype=torch.bool, device=number.device).index_fill_(0, number, True).nonzero()[:, 0]


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
    begin, order = grouped(corners[0], size)
    corners, lengths = corners[:, order], lengths[:, order]
    moving = (~fixed).nonzero()[:, 0]
    centre, vertex = key[moving] // size, key[moving] % size
    first, last = begin[vertex], begin[vertex + 1]
    each, at = last - first, runs(first, last)
    to, centre = moving.repeat_interleave(each), centre.repeat_interleave(each)
    _, j, k = corners[:, at]
    jk, kv, jv = lengths[:, at]

    def pair(other: Tensor) -> Tensor:
        """The number of pair (centre, other), or len(key): a pair at infinite distance."""
        place = torch.searchsorted(key, centre * size + other).clamp_max(len(key) - 1)
        return torch.where(key[place] == centre * size + other, place, len(key))

    return _Unfoldings(to, pair(j), pair(k), jk, jv, kv)


def _advance(s: _Unfoldings, radius: Tensor, angle: Tensor, origin: Tensor) -> Tensor:
    """Puts in place the shortest radius that any face gives, with its angle and origin; gives the pairs that it changed."""
    ra, rb, ta, tb = (known.index_select(0, at) for known in (radius, angle) for at in (s.a, s.b))
    oa, ob = origin.index_select(0, s.a), origin.index_select(0, s.b)

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

    to, place = torch.unique_consecutive(s.to, return_inverse=True)
    before = radius[to]
    best = before.scatter_reduce(0, place, reach, "amin")
    improves = (reach <= TIE * best[place]) & (TIE * best < before)[place]
    ways = improves.nonzero()[:, 0]
    way = ways[place[ways].diff(prepend=place.new_full((1,), -1)) > 0]  # the first of each pair
    moved = place[way]
    news: Tensor = to[moved]
    radius[news], angle[news], origin[news] = best[moved], turn[way], start[way]
    return news
