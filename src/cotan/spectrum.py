"""The eigenpairs of a shape as a value, and its ragged batch.

In a batch the vectors are block-diagonal and the values follow each other, so code written for one shape,
`spectrum.vectors @ (f(spectrum.values)[:, None] * (spectrum.vectors.T @ x))`, is right for a batch as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .errors import CotanError
from .traceable import Traceable, register


class BlockDiagonal(Traceable):
    """B dense blocks (V_b, K_b) along a diagonal; knows `@`, `.T` and nothing else, so that no shape leaks into another.

    `rows` (sum V_b, max K_b) holds the blocks under each other, padded with zero columns.
    """

    def __init__(self, rows: Tensor, heights: tuple[int, ...], widths: tuple[int, ...], transposed: bool = False):
        self.rows, self.heights, self.widths, self.transposed = rows, heights, widths, transposed

    @property
    def shape(self) -> tuple[int, int]:
        size = sum(self.heights), sum(self.widths)
        return size[::-1] if self.transposed else size

    @property
    def T(self) -> BlockDiagonal:
        return BlockDiagonal(self.rows, self.heights, self.widths, not self.transposed)

    def blocks(self) -> list[Tensor]:
        """The blocks (V_b, K_b), not transposed."""
        cut = self.rows.split(self.heights)
        return [block[:, :width] for block, width in zip(cut, self.widths, strict=True)]

    def times(self, x: Tensor) -> Tensor:
        if x.shape[0] != self.shape[1]:
            raise CotanError(f"block-diagonal vectors of shape {self.shape} times a signal of {x.shape[0]} rows")
        if equal(self.heights) and equal(self.widths):  # one batched product
            dense = self.rows.view(len(self.heights), self.heights[0], self.widths[0])
            dense = dense.mT if self.transposed else dense
            side = x.reshape(len(self.heights), dense.shape[2], prod(x.shape[1:]))
            return (dense @ side).reshape(self.shape[0], *x.shape[1:])
        blocks, flat = self.blocks(), x.flatten(1) if x.ndim > 2 else x
        if self.transposed:
            parts = [b.T @ part for b, part in zip(blocks, flat.split(self.heights), strict=True)]
        else:
            parts = [b @ part for b, part in zip(blocks, flat.split(self.widths), strict=True)]
        return torch.cat(parts).reshape(self.shape[0], *x.shape[1:])

    def to(self, *args: Any, **kwargs: Any) -> BlockDiagonal:
        return BlockDiagonal(self.rows.to(*args, **kwargs), self.heights, self.widths, self.transposed)


class Spectrum:
    """The K smallest eigenpairs of L phi = lambda M phi, ascending, phi^T M phi = I.

    Attributes:
        values (K,), vectors (V, K). In a batch: values (sum K_b,), vectors block-diagonal (sum V_b, sum K_b).
        sizes: the number of pairs of each shape, (K,) for one.
        index (sum K_b,): the place of each pair in its own shape's spectrum, 0 the smallest.
        eigenspaces (sum K_b,): the number of each pair's. simple: whether each has one pair.
    """

    _simple: tuple[Tensor, bool] | None = None  # of which values, and what

    def __init__(self, values: Tensor, vectors: Tensor | BlockDiagonal, sizes: tuple[int, ...] | None = None):
        self.values, self.vectors = values, vectors
        self.sizes = sizes if sizes is not None else (len(values),)

    @property
    def index(self) -> Tensor:
        if equal(self.sizes):
            return torch.arange(self.sizes[0], device=self.values.device).repeat(len(self.sizes))
        return torch.cat([torch.arange(size, device=self.values.device) for size in self.sizes])

    @property
    def eigenspaces(self) -> Tensor:
        """(sum K_b,) the number of each pair's eigenspace: eigenvalues of a shape within 1e-6 of each other are one."""
        values = self.values.detach()
        if torch.finfo(values.dtype).eps > 1e-6:  # half precision cannot tell close eigenvalues from equal ones
            return torch.arange(len(values), device=values.device)
        return ((self.index == 0) | (values - values.roll(1) > 1e-6 * values)).cumsum(0) - 1

    @property
    def simple(self) -> bool:
        """Whether each eigenspace has one pair. A GPU is waited for once a shape, and not again for its batches."""
        if self._simple is None or self._simple[0] is not self.values:
            self._simple = self.values, int(self.eigenspaces[-1:].sum()) + 1 == len(self.values)
        return self._simple[1]

    def first(self, k: int) -> Spectrum:
        """The k smallest pairs of a single shape."""
        if isinstance(self.vectors, BlockDiagonal):
            raise CotanError("first(k) is for the spectrum of one shape, not of a batch")
        return Spectrum(self.values[:k], self.vectors[:, :k].contiguous())

    @classmethod
    def block_diagonal(cls, spectra: Sequence[Spectrum]) -> Spectrum:
        """The batch of several shapes' spectra. One is itself."""
        if len(spectra) == 1:
            return spectra[0]
        if any(isinstance(s.vectors, BlockDiagonal) for s in spectra):
            raise CotanError("a batch of batches: give the spectra of single shapes")
        blocks: list[Any] = [s.vectors for s in spectra]
        widths = tuple(block.shape[1] for block in blocks)
        width = max(widths)
        padded = [torch.nn.functional.pad(b, (0, width - b.shape[1])) if b.shape[1] < width else b for b in blocks]
        vectors = BlockDiagonal(torch.cat(padded), tuple(len(b) for b in blocks), widths)
        out = cls(torch.cat([s.values for s in spectra]), vectors, widths)
        if not is_compiling():
            out._simple = out.values, all(shape.simple for shape in spectra)
        return out

    def to(self, *args: Any, **kwargs: Any) -> Spectrum:
        return Spectrum(self.values.to(*args, **kwargs), self.vectors.to(*args, **kwargs), self.sizes)

    def __repr__(self) -> str:
        return f"Spectrum({len(self.values)} pairs, {self.vectors.shape[0]} vertices, {self.values.dtype})"


def equal(sizes: tuple[int, ...]) -> bool:
    """Whether all are one number."""
    return max(sizes) * len(sizes) == sum(sizes)  # one question: each comparison may be compiled both ways


register(
    BlockDiagonal,
    lambda b: ([b.rows], (b.heights, b.widths, b.transposed)),
    lambda parts, context: BlockDiagonal(next(iter(parts)), *context),
)
register(Spectrum, lambda s: ([s.values, s.vectors], s.sizes), lambda parts, sizes: Spectrum(*[*parts, sizes]))
