"""Which triangle is nearest at each pixel: an exact z-buffer by scan conversion, in plain torch.

On a row of pixel centres a triangle is the span between its long edge and one of the two short ones. Two triangles that
share an edge find the same crossing up to rounding. A pixel centre within `EDGE` of it belongs to both: their spans meet
without a gap, and depth and then the lowest number, not rounding, decide which of them is seen there.

Most steps wait for memory, so they write over what they no longer need rather than into fresh arrays.

Units are pixels: the centre of the pixel in column i of row j is the point (i, j). `near` is positive, grows towards
the camera and is affine on the screen along a plane (1/z in perspective, constant - z in parallel projection).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Wide of the rounding of float64, and far below any input's precision:
EDGE = 2.0**-36  # a pixel centre this close to an edge (in pixels) is on it, and belongs to the faces on both sides
TIE = 2.0**-40  # two depths this close (relative) are the same
TINY = 1e-300  # added to a divisor that may be zero; of no effect otherwise
NOTHING = 2**30  # above all labels, and twice it is an int32 with a label added


class Triangles(NamedTuple):
    """M projected triangles of many images.

    Attributes:
        x, y, near: (P,) points on the screen. corner: (3, M) the points that are the corners of each triangle.
        label: (M,) what a triangle writes into the picture; ties go to the lowest. image: (M,) the image it is drawn in.
    """

    x: Tensor
    y: Tensor
    near: Tensor
    corner: Tensor
    label: Tensor
    image: Tensor


class Slabs(NamedTuple):
    """Triangles by the rows of pixels that they cross, cut in two along the line through their middle corner.

    Each half is between two edges, from its own corner, the triangle's top or bottom, to the two ends of the cut.

    x, near: (2 * m,) at the tops, then at the bottoms; x1, near1 and x2, near2: (m,) at the ends of the cut;
    ahead: (2 * m,) from these corners down to the first row; share: (2 * m,) how much of the way to the cut is one row;
    turn, rows: (m,) the last row of the upper half, counted from the first as 0, and how many there are in all;
    start, label: (m,) the pixel at the left of the first row, and what to write.
    """

    x: Tensor
    near: Tensor
    x1: Tensor
    near1: Tensor
    x2: Tensor
    near2: Tensor
    ahead: Tensor
    share: Tensor
    turn: Tensor
    rows: Tensor
    start: Tensor
    label: Tensor


Fragments = tuple[Tensor, Tensor, Tensor]  # pixel, near, label: one for each triangle and pixel centre in it


def nearest(triangles: Triangles, images: int, size: int, budget: int) -> tuple[Tensor, Tensor]:
    """The nearest triangle at each pixel centre of `images` square pictures.

    Of the triangles within rounding of the nearest one, the one of the lowest label is shown.
    At most `budget` triangles, spans or pixels are worked on at a time, and all pixels have numbers of 32 bits.

    Returns: label and near (images * size * size,), row by row; NOTHING and 0 where there is no triangle.
    """
    best = triangles.near.new_zeros(images * size * size)
    kept: list[Fragments] | None = []
    held = 0
    for pixel, near, label in _fragments(triangles, size, budget):
        best.scatter_reduce_(0, pixel, near, "amax")
        held += len(pixel)
        if held > 4 * budget:
            kept = None  # too many to hold: they are made a second time below
        if kept is not None:
            kept.append((pixel, near, label))
    shown = torch.full_like(best, NOTHING, dtype=triangles.label.dtype)
    for pixel, near, label in _fragments(triangles, size, budget) if kept is None else kept:
        hidden = near < best.index_select(0, pixel).mul_(1 - TIE)
        shown.scatter_reduce_(0, pixel, label.add_(hidden, alpha=NOTHING), "amin")
    return shown, best


def _fragments(triangles: Triangles, size: int, budget: int) -> Iterator[Fragments]:
    for begin in range(0, triangles.corner.shape[1], budget):
        some = slice(begin, begin + budget)
        slabs = _slabs(
            triangles._replace(
                corner=triangles.corner[:, some], label=triangles.label[some], image=triangles.image[some]
            ),
            size,
        )
        yield from _pixels(slabs, size, budget)


def _slabs(triangles: Triangles, size: int) -> Slabs:
    """What all rows of a triangle have in common. One that has no area has no rows."""
    corner, y = _by_height(triangles.corner, triangles.y)
    x, near = (v.index_select(0, corner) for v in (triangles.x, triangles.near))
    m = len(triangles.label)
    (xa, xc, xb), (na, nc, nb), (top, bottom, middle) = (v.view(3, m) for v in (x, near, y))
    area = (xb - xa) * (bottom - top) - (xc - xa) * (middle - top)
    down = (middle - top).div_((bottom - top).add_(TINY))
    first = (top - EDGE).ceil_().clamp_(min=0)
    rows = (bottom + EDGE).floor_().clamp_(max=size - 1).sub_(first).add_(1).clamp_(min=0).mul_(area != 0)
    turn = middle.floor().sub_(first).clamp_(-1, size).masked_fill_(middle == top, -1)
    ends = y[: 2 * m].view(2, m)
    return Slabs(
        x,
        near,
        torch.lerp(xa, xc, down),
        torch.lerp(na, nc, down),
        xb,
        nb,
        (first - ends).view(-1),
        (middle - ends).add_(TINY).reciprocal_().view(-1),
        turn.int(),
        rows.int(),
        (first * size).int().add_(triangles.image * (size * size)),
        triangles.label,
    )


def _by_height(corner: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(3 * m,) top, bottom and middle corners, and y there. (Adding a difference or 0 is faster than where.)"""
    level, order = [y.index_select(0, c) for c in corner], list(corner)
    for i, j in ((0, 1), (2, 1), (0, 2)):
        swap = (order[j] - order[i]).mul_(level[i] > level[j])
        order[i], order[j] = order[i] + swap, order[j] - swap
        level[i], level[j] = torch.minimum(level[i], level[j]), torch.maximum(level[i], level[j])
    return torch.cat(order), torch.cat(level)


def _pixels(slabs: Slabs, size: int, budget: int) -> Iterator[Fragments]:
    """Triangles taken apart into rows, and rows into pixels."""
    for item, row in expand(slabs.rows, budget):
        pixel, near, slope, length = _spans(slabs, item, row, size)
        label = slabs.label.index_select(0, item)
        for run, step in expand(length, budget):
            yield (
                pixel.index_select(0, run).add_(step).long(),
                near.index_select(0, run).addcmul_(slope.index_select(0, run), step.to(near.dtype)),
                label.index_select(0, run),
            )


def _spans(slabs: Slabs, item: Tensor, row: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of some rows of triangles the first pixel, `near` there and its slope, and the number of pixels."""
    half = torch.add(item, row > slabs.turn.index_select(0, item), alpha=len(slabs.rows))
    along = slabs.ahead.index_select(0, half).add_(row).mul_(slabs.share.index_select(0, half)).clamp_(0, 1)
    x, near = (v.index_select(0, half) for v in (slabs.x, slabs.near))
    xa, xb = (_towards(end.index_select(0, item), x, along) for end in (slabs.x1, slabs.x2))
    near, nb = (_towards(end.index_select(0, item), near, along) for end in (slabs.near1, slabs.near2))
    left = torch.minimum(xa, xb).sub_(EDGE).ceil_().clamp_(min=0)
    length = torch.maximum(xa, xb).add_(EDGE).floor_().clamp_(max=size - 1).sub_(left).add_(1).clamp_(min=0).int()
    width = xb.sub_(xa).add_(TINY)
    slope = (nb - near).div_(width)
    # On a sliver the slope may be anything; a point between the ends has a depth between theirs.
    near.lerp_(nb, (left - xa).div_(width).clamp_(0, 1))
    return row.mul_(size).add_(slabs.start.index_select(0, item)).add_(left.int()), near, slope, length


def _towards(end: Tensor, begin: Tensor, along: Tensor) -> Tensor:
    """The points `along` the ways from `begin` to `end`: exactly these at 0 and 1. Writes over `end`."""
    return torch.lerp(begin, end, along, out=end)


def expand(counts: Tensor, budget: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The number of each entry as often as it counts, and 0, 1 ... beside it, in parts of at most `budget` (or one entry).

    It is torch.repeat_interleave, twice as fast on a CPU: count the entries that have ended before each place.
    """
    total = counts.cumsum(0)
    begin = done = 0
    while begin < len(counts):
        stop = len(counts)
        if int(total[-1]) > done + budget:
            stop = max(begin + 1, int(torch.searchsorted(total, done + budget, right=True)))
        count, ends = counts[begin:stop], total[begin:stop] - done
        place = counts.new_zeros(int(ends[-1]) + 1)
        entry = place.scatter_add_(0, ends, torch.ones_like(count)).cumsum_(0)[:-1]
        first = ends.to(counts.dtype).sub_(count)
        number = torch.arange(len(entry), dtype=counts.dtype, device=counts.device).sub_(first.index_select(0, entry))
        yield entry.add_(begin), number
        begin, done = stop, int(total[stop - 1])
