"""Which closed surfaces lie in which others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..pattern import runs
from .triangles import inner

SLANT = 2**0.5 - 1, (3**0.5 - 1) / 2  # of the lines upwards: none through two points of a grid runs along it
NEAR = 1e-12  # of the size of a surface: what may lie on it
CHUNK = 2**20  # pairs of a face and a point looked at at once


def depths(parts: Sequence[Tensor]) -> Tensor:
    """In how many of the others each closed part, corners (3, F, 3), lies; not in those that it meets.

    By the winding number at the six ends of its box.
    """
    box = torch.stack([torch.cat([part.amin((0, 1)), -part.amax((0, 1))]) for part in parts])
    flat = [part.reshape(-1, 3) for part in parts]
    ends = torch.stack([corner[torch.cat([corner.argmin(0), corner.argmax(0)])] for corner in flat])
    depth = torch.zeros(len(parts), dtype=torch.long)
    least, most = torch.stack([box[:, 0], -box[:, 3]])
    x, order = least.sort()
    begin, end = torch.searchsorted(x, least, right=True), torch.searchsorted(x, most)
    for outer, around, run in zip(parts, box, map(slice, begin.tolist(), end.tolist())):
        within = order[run]
        within = within[(box[within] > around).all(1)]
        if not len(within):
            continue
        count, near = (found.view(-1, 6) for found in crossings(outer, ends[within].view(-1, 3)))
        lies = ((count != 0) | near).all(1)
        for i in (lies & near.any(1)).nonzero()[:, 0].tolist():
            lies[i] = all(winding(outer, end) > 0.75 for end in ends[within[i], near[i]])  # 1/2 and less on the surface
        depth[within] += lies.long()
    return depth


def winding(corners: Tensor, point: Tensor) -> float:
    """How often a surface, corners (3, F, 3), goes round a point (3,) either way: a sum of solid angles (van Oosterom and
    Strackee 1983)."""
    a, b, c = corners - point
    la, lb, lc = (torch.linalg.vector_norm(side, dim=-1) for side in (a, b, c))
    below = la * lb * lc + inner(a, b) * lc + inner(b, c) * la + inner(c, a) * lb
    return abs(float(torch.atan2(inner(a, torch.linalg.cross(b, c)), below).sum())) / (2 * torch.pi)


def crossings(corners: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """How often a line upwards from each point (Q, 3) leaves a closed surface, corners (3, F, 3), less how often it enters,
    which is its winding number (Q,); and where the line or the point is so near a face's rim or plane that this is in doubt.
    """
    near = NEAR * float(corners.abs().max())
    slant = corners.new_tensor(SLANT)
    plane, at = (xyz[..., :2] + xyz[..., 2:] * slant for xyz in (corners, points))  # where the lines are points
    count = torch.zeros(len(points), dtype=torch.long)
    doubt = torch.zeros(len(points), dtype=torch.bool)
    for f, p in _pairs(plane.amin(0) - near, plane.amax(0) + near, at):
        a, b, c = plane.index_select(1, f)
        sides = torch.stack([b - a, c - b, a - c])
        to = at.index_select(0, p) - torch.stack([a, b, c])
        left = sides[..., 0] * to[..., 1] - sides[..., 1] * to[..., 0]
        bound = near * sides.abs().sum(-1)
        miss = (left > bound).any(0) & (left < -bound).any(0)
        f, p, left, bound = f[~miss], p[~miss], left[:, ~miss], bound[:, ~miss]
        a, b, c = corners.index_select(1, f)
        ab, ac = b - a, c - a
        height = inner(torch.linalg.cross(ab, ac), points.index_select(0, p) - a)
        sure = (left.abs() > bound).all(0) & (height.abs() > near * (inner(ab, ab) + inner(ac, ac)))
        up = left[0].sign()
        count.index_add_(0, p, torch.where(sure & (height * up < 0), up, 0).long())
        doubt[p[~sure]] = True
    return count, doubt


def _pairs(low: Tensor, high: Tensor, at: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """All pairs of a box low - high (F, 2) and a point (Q, 2) in it, and few others: the numbers of both, a chunk at a time.

    Points are put in strips, each of as many next to each other along x, and sorted along y in each.
    """
    size = len(at)
    wide = int(size**0.5)
    (x, along), (y, upwards) = at[:, 0].sort(), at[:, 1].sort()
    strip, rank = torch.empty_like(along), torch.arange(size)
    strip[along] = rank // wide
    place, order = (strip[upwards] * size + rank).sort()
    order = upwards[order]

    first, last = (
        torch.searchsorted(x, low[:, 0].contiguous()),
        torch.searchsorted(x, high[:, 0].contiguous(), right=True),
    )
    some = (first < last).nonzero()[:, 0]
    first, last = first[some] // wide, (last[some] - 1) // wide + 1
    some, strips = some.repeat_interleave(last - first), runs(first, last) * size
    first = torch.searchsorted(place, strips + torch.searchsorted(y, low[some, 1]))
    last = torch.searchsorted(place, strips + torch.searchsorted(y, high[some, 1], right=True))
    sizes = ((last - first).cumsum(0) // CHUNK).bincount().tolist()
    for box, begin, end in zip(*(each.split(sizes) for each in (some, first, last))):
        yield box.repeat_interleave(end - begin), order[runs(begin, end)]
