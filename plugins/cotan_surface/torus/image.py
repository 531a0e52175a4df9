"""Drawing the four copies of a flattened sphere as an image with periodic boundary."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cut import Disc
from .embed import places

# Places are rounded to multiples of this: of the torus, not of a pixel.
STEP = 2.0**-24


def on_lattice(value: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return np.round(value / STEP) * STEP


def draw(value: NDArray[np.complex128], disc: Disc, resolution: int) -> tuple[Tensor, Tensor]:
    """The face under each pixel centre, (R, R) int64, and its barycentric coordinates there, (R, R, 3).

    Pixel (i, j) has its centre at (i + 1/2, j + 1/2) / R. All is exact for R = 2^n: a centre on an edge belongs to one
    side of it, and each centre to one face. Vertices are rounded before they are copied, so that the banks of the cut
    still match.
    """
    r = resolution
    corner = places(on_lattice(value), disc) * r
    count = corner.shape[1]
    turned = torch.from_numpy(np.concatenate([corner * turn for turn in (1, 1j, -1, -1j)], axis=1))
    x, y = turned.real, turned.imag  # (3, 4F)
    low_x, high_x = (x.amin(0) - 0.5).ceil(), (x.amax(0) - 0.5).floor()
    low_y, high_y = (y.amin(0) - 0.5).ceil(), (y.amax(0) - 0.5).floor()
    wide, high = (high_x - low_x + 1).clamp(min=0).long(), (high_y - low_y + 1).clamp(min=0).long()
    row = torch.repeat_interleave(wide * high)
    number = torch.arange(len(row)) - ((wide * high).cumsum(0) - wide * high)[row]
    i = low_x[row] + torch.div(number, high[row], rounding_mode="floor")
    j = low_y[row] + number % high[row]
    x, y, px, py = x[:, row], y[:, row], i + 0.5, j + 0.5
    dx, dy = x.roll(-1, 0) - x, y.roll(-1, 0) - y  # (3, N): along the edge that starts at each corner
    left = dx * (py - y) - dy * (px - x)
    owns = (dy < 0) | ((dy == 0) & (dx > 0))
    hit = ((left > 0) | ((left == 0) & owns)).all(0).nonzero().squeeze(1)
    pixel = (i[hit].long() % r) * r + j[hit].long() % r
    # A face so small that it turned over on the lattice is drawn over by its neighbours: take one of them, always.
    first = torch.full((r * r,), len(row)).scatter_reduce_(0, pixel, hit, "amin")
    if int(first.max()) == len(row):
        raise RuntimeError("a pixel of the torus is covered by no face: its places are not on one lattice")
    across = left[:, first].roll(-1, 0)  # the edge across from a corner starts at the next one
    share = (across / across.sum(0)).t().reshape(r, r, 3)
    return (row[first] % count).view(r, r), share.contiguous()
