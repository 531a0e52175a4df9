"""Pooling on grids of one, two and three dimensions."""

from torch import Tensor, nn
from torch.nn import functional

import cotan
from cotan.errors import at_least, one_of

from .conv import CONV

POOL = {
    "max": {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d},
    "mean": {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d},
}


def pool(x: Tensor, kind: str = "max", size: int = 2) -> Tensor:
    """(B, C, N, ...) to (B, C, N / size, ...): the max or mean of each cell of `size` pixels a side.

    Pixels left over at the end of a side, too few for a cell, are dropped; a side shorter than a cell is one cell.
    """
    cell = [min(size, side) for side in x.shape[2:]]
    return POOL[kind][len(cell)](x, cell)


class Pool(nn.Module):
    """y = P pool(x), P the identity where the widths agree, else a learned map of the channels.

    Arguments:
        kind: max or mean. size: of a cell, in pixels along each side (see `pool`).

    Shape: x (B, in_dim, N, ...) -> (B, out_dim, N / size, ...).
    """

    dims = 2

    def __init__(self, in_dim: int, out_dim: int, *, kind: str = "max", size: int = 2):
        super().__init__()
        check_pooling(kind)
        at_least(1, "pool", size=size)
        self.kind, self.size = kind, size
        self.project = nn.Identity() if in_dim == out_dim else CONV[self.dims](in_dim, out_dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(pool(x, self.kind, self.size))


def check_pooling(kind: str) -> None:
    one_of("pooling", kind, POOL)


@cotan.layer("pool1d", signal="sequence")
class Pool1d(Pool):
    __doc__ = Pool.__doc__
    dims = 1


@cotan.layer("pool2d", signal="image")
class Pool2d(Pool):
    __doc__ = Pool.__doc__
    dims = 2


@cotan.layer("pool3d", signal="volume")
class Pool3d(Pool):
    __doc__ = Pool.__doc__
    dims = 3
