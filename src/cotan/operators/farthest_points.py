"""A sample of points that covers a shape evenly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from .checks import check_pos
from .threads import one_thread


@operator(per="vertex", index="vertex", invariant_to=("rigid", "scale"), numbers=("start",))
def farthest_points(pos: Tensor, *, size: int = 1024, start: int = 0) -> Tensor:
    """p_0 = start, p_n = the point farthest from p_0 ... p_(n-1), of equals the first. (min(size, V),) vertex numbers.

    Each vertex at most once. The points come in order, so a shorter sample is the beginning of a longer one.

    Arguments:
        pos: (V, 3). size: number of points. start: the first.
    """
    pos = check_pos(pos).detach()
    at_least(1, "farthest_points", size=size)
    if not 0 <= start < len(pos):
        raise CotanError(f"farthest_points: start={start}, expected a vertex number from 0 to {len(pos) - 1}")
    size = min(size, len(pos))
    chosen = torch.empty(size, dtype=torch.long, device=pos.device)
    columns = pos.T.contiguous()  # sums along rows of three are slow
    distance = pos.new_full((len(pos),), math.inf)
    last = torch.tensor(start, device=pos.device)
    with one_thread():
        for n in range(size):
            chosen[n] = last
            x, y, z = columns - columns[:, last, None]
            distance = torch.minimum(distance, x.square_().add_(y.square_()).add_(z.square_()))
            distance[last] = -1  # points at one place: another of them before the same again
            last = distance.argmax()
    return chosen
