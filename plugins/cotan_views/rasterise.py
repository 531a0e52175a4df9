"""Which triangle is nearest at each pixel: an exact z-buffer by scan conversion, in plain torch.

On a row of pixel centres a triangle is the span between its long edge and one of the two short ones. An edge is always
walked from its upper to its lower end, so two triangles that share it find the same crossing up to rounding. A pixel
centre within `EDGE` of it belongs to both: their spans meet without a gap, and depth and then the lowest number, not
rounding, decide which of them is seen there.

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
    """Projected triangles of many images.

    x, y, near: (P,) the corners on the screen; corner: (3, M) their numbers in each triangle;
    label: (M,) what a triangle writes into the picture, and ties go to the lowest; image: (M,) where it is drawn.
    """

    x: Tensor
    y: Tensor
    near: Tensor
    corner: Tensor
    label: Tensor
    image: Tensor


class Slabs(NamedTuple):
    """Triangles by the rows of pixels that they cross, corners from top to bottom.

    x, y, near: (3 * m,) the top corners, then the middle ones, then the bottom ones;
    turn: (m,) down to here the upper short edge bounds a row, below it the lower one;
    first, rows: (m,) the first row crossed, and how many there are;
    start, label: (m,) the picture's first pixel, and what to write.
    """

    x: Tensor
    y: Tensor
    near: Tensor
    turn: Tensor
    first: Tensor
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
        shown.scatter_reduce_(0, pixel, torch.add(label, hidden, alpha=NOTHING), "amin")
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
        for items in pieces(slabs.rows, budget):
            yield from _spans(slabs, items, size, budget)


def _slabs(triangles: Triangles, size: int) -> Slabs:
    """What all rows of a triangle have in common. One that has no area has no rows."""
    corner, y = _by_height(triangles.corner, triangles.y)
    x, near = (v.index_select(0, corner) for v in (triangles.x, triangles.near))
    (xa, xb, xc), (top, middle, bottom) = x.view(3, -1), y.view(3, -1)
    area = (xb - xa) * (bottom - top) - (xc - xa) * (middle - top)
    first = (top - EDGE).ceil_().clamp_(min=0)
    rows = (bottom + EDGE).floor_().clamp_(max=size - 1).sub_(first).add_(1).clamp_(min=0).mul_(area != 0)
    turn = middle.masked_fill(middle == top, -1)
    return Slabs(x, y, near, turn, first.int(), rows.int(), triangles.image * (size * size), triangles.label)


def _by_height(corner: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(3 * m,) the corners from top to bottom, and y there. (lerp by 0 or 1 is exact, and much faster than where.)"""
    level, order = [y.index_select(0, c) for c in corner], list(corner.to(y.dtype))
    for i, j in ((0, 1), (1, 2), (0, 1)):
        swap = (level[i] > level[j]).to(y.dtype)
        level[i], level[j] = torch.minimum(level[i], level[j]), torch.maximum(level[i], level[j])
        order[i], order[j] = torch.lerp(order[i], order[j], swap), torch.lerp(order[j], order[i], swap)
    return torch.cat(order).int(), torch.cat(level)


def _spans(slabs: Slabs, items: slice, size: int, budget: int) -> Iterator[Fragments]:
    """The runs of pixels of some triangles, row by row, taken apart into pixels."""
    count = slabs.rows[items]
    item = repeat(count)
    row = _numbers(count, item, slabs.first[items])
    item += items.start
    at = row.to(slabs.y.dtype)
    m = len(slabs.rows)
    # The short edge: from the top to the middle corner, or from there to the bottom.
    short = torch.add(item, at > slabs.turn.index_select(0, item), alpha=m)
    along = _along(slabs.y[:m], slabs.y[2 * m :], item, at)
    xa, near = (_between(v[:m], v[2 * m :], item, along) for v in (slabs.x, slabs.near))
    along = _along(slabs.y, slabs.y[m:], short, at)
    xb, nb = (_between(v, v[m:], short, along) for v in (slabs.x, slabs.near))
    left = torch.minimum(xa, xb).sub_(EDGE).ceil_().clamp_(min=0)
    length = torch.maximum(xa, xb).add_(EDGE).floor_().clamp_(max=size - 1).sub_(left).add_(1).clamp_(min=0).int()
    width = xb.sub_(xa).add_(TINY)
    slope = (nb - near).div_(width)
    # On a sliver the slope may be anything; a point between the ends has a depth between theirs.
    near.lerp_(nb, (left - xa).div_(width).clamp_(0, 1))
    pixel = row.mul_(size).add_(slabs.start.index_select(0, item)).add_(left.int())
    label = slabs.label.index_select(0, item)
    for runs in pieces(length, budget):
        count = length[runs]
        run = repeat(count)
        step = _numbers(count, run, 0)
        run += runs.start
        yield (
            (pixel.index_select(0, run) + step).long(),
            torch.addcmul(near.index_select(0, run), slope.index_select(0, run), step.to(near.dtype)),
            label.index_select(0, run),
        )


def _along(begin: Tensor, end: Tensor, edge: Tensor, at: Tensor) -> Tensor:
    """How far along an edge a row crosses it: exactly 0 and 1 at its ends."""
    begin = begin.index_select(0, edge)
    return (at - begin).div_(end.index_select(0, edge).sub_(begin).add_(TINY)).clamp_(0, 1)


def _between(begin: Tensor, end: Tensor, edge: Tensor, along: Tensor) -> Tensor:
    return torch.lerp(begin.index_select(0, edge), end.index_select(0, edge), along)


def repeat(counts: Tensor) -> Tensor:
    """torch.repeat_interleave(counts), twice as fast on a CPU: count the entries that have ended before each place."""
    ends = counts.cumsum(0)
    place = counts.new_zeros(int(ends[-1]) + 1)
    return place.scatter_add_(0, ends, torch.ones_like(counts)).cumsum_(0)[:-1]


def _numbers(counts: Tensor, item: Tensor, first: Tensor | int) -> Tensor:
    """first, first + 1 ... of each item that `repeat` gives."""
    less = counts.cumsum(0, dtype=counts.dtype).sub_(counts).sub_(first)
    return torch.arange(len(item), dtype=counts.dtype, device=item.device).sub_(less.index_select(0, item))


def pieces(counts: Tensor, budget: int) -> Iterator[slice]:
    """Consecutive slices with a sum of at most `budget` each (or of one entry)."""
    total = counts.cumsum(0)
    begin = done = 0
    while begin < len(counts):
        stop = len(counts)
        if int(total[-1]) > done + budget:
            stop = max(begin + 1, int(torch.searchsorted(total, done + budget, right=True)))
        yield slice(begin, stop)
        begin, done = stop, int(total[stop - 1])
