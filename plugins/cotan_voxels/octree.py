"""The cells of an octree that hold triangles, beside the blocks of voxels that they are seen from."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .grid import chunks, ragged

# Triangles beyond so many voxels share the outermost cells; three coordinates have to fit into 63 bits.
BITS = 20
FAR = 1 << (BITS - 1)


class Cells(NamedTuple):
    """The cells of one level.

    Attributes:
        first, size: a cell holds `size` cells of the level below, from number `first`; on the lowest level, triangles.
        centre, radius: of a ball that holds all triangles in a cell. closest: the least distance of the middle of one of
            them from the centre.
        moment: the sum of their normals, each as long as the area.
        normal, height: the direction of the moment, and how far triangles rise from the plane through the centre.
    """

    first: Tensor
    size: Tensor
    centre: Tensor
    radius: Tensor
    closest: Tensor
    moment: Tensor
    normal: Tensor
    height: Tensor


def half_diagonal(level: int) -> float:
    """How far the centres of voxels lie from the middle of their block."""
    return (2.0**level - 1) / 2 * math.sqrt(3)


class Octree:
    """Cells and blocks of level l have sides of 2^l voxels; a block is numbered by its place in the Morton order.

    So block b holds the blocks 8 b to 8 b + 7 of the level below, and the voxels from 8^l b.
    """

    def __init__(self, triangles: Tensor, resolution: int) -> None:
        device = triangles.device
        self.resolution, self.top = resolution, (resolution - 1).bit_length()
        corner = torch.cartesian_prod(*[torch.arange(2, dtype=torch.int16, device=device)] * 3)
        self.place = corner.new_zeros(1, 3)  # of each voxel
        for _ in range(self.top):
            self.place = (2 * self.place[:, None] + corner).view(-1, 3)
        home = triangles.mean(1).floor().clamp(-FAR, FAR - 1).long() + FAR
        code = home.new_zeros(len(home))
        for bit in range(BITS):
            for axis in range(3):
                code |= (home[:, axis] >> bit & 1) << (3 * bit + 2 - axis)
        code, order = code.sort()
        self.triangles = triangles[order]
        self.levels = list(_levels(self.triangles, code, self.top))

    def middle(self, level: int, block: Tensor) -> Tensor:
        return self.place[block << 3 * level].double() + 2**level / 2

    def walk(
        self, closer: Callable[[int, Tensor, Cells, Tensor], Tensor], meet: Callable[[Tensor, Tensor], None]
    ) -> None:
        """Call `closer(level, block, cells, cell)` on pairs of a block and a cell, all those of a block together.

        Pairs that it marks are taken apart, by turns the block and the cell, down to pairs of a voxel and a triangle, on
        which `meet(voxel, triangle)` is called.
        """

        def visit(level: int, depth: int, block: Tensor, cell: Tensor) -> None:
            cells = self.levels[depth]
            keep = closer(level, block, cells, cell).nonzero().squeeze(1)
            block, cell = block[keep], cell[keep]
            split = level == depth > 0
            fan = torch.full_like(cell, 8) if split else cells.size[cell]
            _, size = torch.unique_consecutive(block, return_counts=True)
            end = size.cumsum(0)
            total = torch.nn.functional.pad(fan.cumsum(0)[end - 1], (1, 0)).diff()
            for part in chunks(total):
                run = slice(int(end[part.start] - size[part.start]), int(end[part.stop - 1]))
                if split:
                    own = 8 * block[run] + torch.arange(8, device=block.device)[:, None]
                    shown = (self.place[own << 3 * (level - 1)] < self.resolution).all(-1)
                    visit(level - 1, depth, own[shown], cell[run].expand(8, -1)[shown])
                else:
                    row, number = ragged(fan[run])
                    own, below = block[run][row], cells.first[cell[run]][row] + number
                    visit(level, depth - 1, own, below) if depth else meet(own, below)

        cell = torch.arange(len(self.levels[-1].size), device=self.place.device)
        visit(self.top, self.top, torch.zeros_like(cell), cell)

    def grid(self, value: Tensor) -> Tensor:
        """What each voxel has, (8^top,) in Morton order, as (R, R, R)."""
        shown = (self.place < self.resolution).all(1)
        out = value.new_empty([self.resolution] * 3)
        out[self.place[shown].long().unbind(1)] = value[shown]
        return out


def _levels(triangles: Tensor, code: Tensor, top: int) -> Iterator[Cells]:
    a, b, c = triangles.unbind(1)
    normal = torch.linalg.cross(b - a, c - a) / 2
    # A face without area has some weight as well, lest a cell have none.
    weight = normal.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    middle = triangles.mean(1)
    below = code
    for level in range(top + 1):
        cell, number = torch.unique_consecutive(code >> 3 * level, return_inverse=True)
        _, count = torch.unique_consecutive(below >> (3 if level else 0), return_counts=True)
        zero = middle.new_zeros(len(cell), 3)
        moment = zero.index_add(0, number, normal)
        centre = zero.index_add(0, number, weight * middle) / zero[:, :1].index_add(0, number, weight)
        reach = (triangles - centre[number, None]).norm(dim=-1).amax(1)
        radius = zero[:, 0].scatter_reduce(0, number, reach, "amax")
        gap = (middle - centre[number]).norm(dim=-1)
        closest = zero[:, 0].scatter_reduce(0, number, gap, "amin", include_self=False)
        direction = torch.nn.functional.normalize(moment, dim=1, eps=1e-30)
        rise = ((triangles - centre[number, None]) * direction[number, None]).sum(-1).abs().amax(1)
        height = zero[:, 0].scatter_reduce(0, number, rise, "amax")
        yield Cells(count.cumsum(0) - count, count, centre, radius, closest, moment, direction, height)
        below = cell
