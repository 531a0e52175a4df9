"""Undirected edges and the symmetric pattern that they make, with one sort of half of its entries."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sparse import Pattern, grouped


def undirected(source: Tensor, target: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """low <= high (E,): the edges, each once, sorted; and the edge (N,) of each given one, source and target (N,)."""
    key, edge = torch.unique(torch.minimum(source, target) * size + torch.maximum(source, target), return_inverse=True)
    return key // size, key % size, edge


def symmetric_pattern(low: Tensor, high: Tensor, size: int, *, diagonal: bool = True) -> tuple[Pattern, Tensor]:
    """The matrix with entries at (low, high), (high, low) and, if asked for, on the diagonal.

    Gives the pattern and `place` (E + E + V,): where in it are the edges from high to low, those from low to high, and
    the diagonal. A row is its lower neighbours, itself, its higher neighbours; each part is sorted as it comes.

    Arguments: low < high (E,), sorted by low, then high.
    """
    edges = torch.arange(len(low), device=low.device)
    below, above = torch.bincount(high, minlength=size), torch.bincount(low, minlength=size)
    starts = [torch.cat([n.new_zeros(1), n.cumsum(0)]) for n in (below, above, below + above + int(diagonal))]
    start_below, start_above, rowptr = starts
    by_high = grouped(high, size)[1]
    rank = torch.empty_like(by_high).index_copy_(0, by_high, edges)
    down = (rowptr[:-1] - start_below[:-1]).index_select(0, high) + rank
    up = (rowptr[:-1] + below + int(diagonal) - start_above[:-1]).index_select(0, low) + edges
    here = (rowptr[:-1] + below) if diagonal else rowptr[:0]
    place = torch.cat([down, up, here])
    vertices = torch.arange(size, device=low.device)[: len(here)]

    def entries(*parts: Tensor) -> Tensor:
        return torch.empty_like(place).index_copy_(0, place, torch.cat(parts))

    row, col = entries(high, low, vertices), entries(low, high, vertices)
    return Pattern(rowptr, col, (rowptr, col, entries(up, down, here)), row), place
