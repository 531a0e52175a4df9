"""Sparse matrices on the edges of the shared graph: one immutable sorted CSR, its transpose kept.

torch transposes a CSR matrix anew at each backward pass; here the transpose is found once and multiplied with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .errors import CotanError
from .traceable import Traceable


class Pattern:
    """Where the entries of a sparse matrix are: sorted CSR and the permutation that sorts them by column.

    Attributes:
        rowptr (R + 1,), col (E,): the rows. E entries, sorted by row, then column; duplicates are kept.
        t_rowptr (C + 1,), t_col (E,): the rows of the transpose; `t_perm` (E,): entry i of it is entry t_perm[i] here.
        row (E,): the row of each entry.
    """

    def __init__(
        self,
        rowptr: Tensor,
        col: Tensor,
        shape: tuple[int, int],
        t_rowptr: Tensor | None = None,
        t_col: Tensor | None = None,
        t_perm: Tensor | None = None,
        row: Tensor | None = None,
    ):
        self.shape, self.rowptr, self.col = shape, rowptr, col
        if row is None:
            counts = rowptr[1:] - rowptr[:-1]
            row = torch.repeat_interleave(torch.arange(shape[0], device=col.device), counts, output_size=len(col))
        self.row = row
        if t_perm is None or t_rowptr is None or t_col is None:
            t_perm = torch.argsort(col, stable=True)
            t_col = row[t_perm]
            t_rowptr = _pointer(col, shape[1])
        self.t_rowptr, self.t_col, self.t_perm = t_rowptr, t_col, t_perm

    @cached_property
    def transposed(self) -> Pattern:
        inverse = torch.empty_like(self.t_perm)
        inverse[self.t_perm] = torch.arange(len(inverse), device=inverse.device)
        other = Pattern(
            self.t_rowptr, self.t_col, (self.shape[1], self.shape[0]), self.rowptr, self.col, inverse, self.col[self.t_perm]
        )
        other.__dict__["transposed"] = self
        return other

    def to(self, device: torch.device | str) -> Pattern:
        if self.col.device == torch.device(device):
            return self
        moved = (getattr(self, n).to(device) for n in ("rowptr", "col", "t_rowptr", "t_col", "t_perm", "row"))
        rowptr, col, t_rowptr, t_col, t_perm, row = moved
        return Pattern(rowptr, col, self.shape, t_rowptr, t_col, t_perm, row)


class Sparse(Traceable):
    """An immutable sparse matrix: a `Pattern` and its values (E,), or (E, J) for J matrices on one pattern.

    `A @ x` multiplies with x of shape (C,) or (C, channels); `A.T` is the transpose.

    >>> A = Sparse.from_coo(row, col, values, (3, 3))
    """

    def __init__(self, pattern: Pattern, values: Tensor):
        self.pattern, self.values = pattern, values

    @classmethod
    def from_coo(
        cls, row: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int], *, sum_duplicates: bool = False
    ) -> Sparse:
        """From entries in any order. Duplicates stay entries of their own unless `sum_duplicates`."""
        for name, index, size in (("row", row, shape[0]), ("column", col, shape[1])):
            if index.numel() and (int(index.min()) < 0 or int(index.max()) >= size):
                raise CotanError(
                    f"{name} index out of range: {int(index.min())} to {int(index.max())}, expected 0 to {size - 1}"
                )
        key = row * shape[1] + col
        if sum_duplicates:
            key, inverse = torch.unique(key, return_inverse=True)
            values = values.new_zeros(key.shape + values.shape[1:]).index_add(0, inverse, values)
        else:
            key, order = torch.sort(key, stable=True)
            values = values[order]
        columns = max(shape[1], 1)
        row, col = key // columns, key % columns
        return cls(Pattern(_pointer(row, shape[0]), col, shape, row=row), values)

    @classmethod
    def from_scipy(cls, matrix: Any) -> Sparse:
        coo = matrix.tocoo()
        row, col = torch.from_numpy(coo.row).long(), torch.from_numpy(coo.col).long()
        return cls.from_coo(row, col, torch.from_numpy(coo.data), tuple(coo.shape), sum_duplicates=True)

    @classmethod
    def block_diagonal(cls, blocks: Sequence[Sparse]) -> Sparse:
        """The matrix with the blocks along its diagonal: the batch of several shapes' matrices. One block is itself."""
        if len(blocks) == 1:
            return blocks[0]
        patterns = [block.pattern for block in blocks]

        def offsets(sizes: list[int]) -> list[int]:
            total, out = 0, []
            for size in sizes:
                out.append(total)
                total += size
            return [*out, total]

        rows, cols = offsets([p.shape[0] for p in patterns]), offsets([p.shape[1] for p in patterns])
        entries = offsets([len(p.col) for p in patterns])

        def joined(name: str, shift: list[int], pointer: bool = False) -> Tensor:
            parts = [getattr(p, name) for p in patterns]
            if pointer:
                parts = [part if i == 0 else part[1:] for i, part in enumerate(parts)]
            return torch.cat([part + by for part, by in zip(parts, shift, strict=False)])

        pattern = Pattern(
            joined("rowptr", entries, True),
            joined("col", cols),
            (rows[-1], cols[-1]),
            joined("t_rowptr", entries, True),
            joined("t_col", rows),
            joined("t_perm", entries),
            joined("row", rows),
        )
        return cls(pattern, torch.cat([block.values for block in blocks]))

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    @property
    def row(self) -> Tensor:
        return self.pattern.row

    @property
    def col(self) -> Tensor:
        return self.pattern.col

    @property
    def T(self) -> Sparse:
        return Sparse(self.pattern.transposed, self.values[self.pattern.t_perm])

    def with_values(self, values: Tensor) -> Sparse:
        """The same pattern with other values, in the order of the sorted entries."""
        if len(values) != len(self.pattern.col):
            raise CotanError(f"{len(values)} values for a pattern of {len(self.pattern.col)} entries")
        return Sparse(self.pattern, values)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Sparse:
        pattern = self.pattern if device is None else self.pattern.to(device)
        return Sparse(pattern, self.values.to(device=device, dtype=dtype))

    def times(self, x: Tensor) -> Tensor:
        if x.shape[0] != self.shape[1]:
            raise CotanError(f"a sparse matrix of shape {self.shape} times a signal of {x.shape[0]} rows")
        return multiply(self, x)

    def scaled(self, factor: Tensor | float) -> Sparse:
        """The matrix times a number."""
        return Sparse(self.pattern, self.values * factor)

    def __mul__(self, factor: Tensor | float) -> Sparse:
        return self.scaled(factor)

    __rmul__ = __mul__

    def sum_rows(self) -> Tensor:
        """(R,) the sum of each row."""
        return self.values.new_zeros((self.shape[0], *self.values.shape[1:])).index_add(0, self.row, self.values)

    def diagonal(self) -> Tensor:
        """(min(R, C),) the diagonal."""
        here = self.row == self.col
        out = self.values.new_zeros((min(self.shape), *self.values.shape[1:]))
        return out.index_add(0, self.row[here], self.values[here])

    def to_dense(self) -> Tensor:
        out = self.values.new_zeros((*self.shape, *self.values.shape[1:]))
        return out.index_put((self.row, self.col), self.values, accumulate=True)

    def to_scipy(self) -> Any:
        from scipy.sparse import csr_array

        parts = (t.detach().cpu().numpy() for t in (self.values, self.col, self.pattern.rowptr))
        return csr_array(tuple(parts), shape=self.shape)

    def __repr__(self) -> str:
        return f"Sparse({self.shape[0]} x {self.shape[1]}, {len(self.values)} entries, {self.dtype}, {self.device})"


def multiply(matrix: Sparse, x: Tensor) -> Tensor:
    """A x: (R,) or (R, channels)."""
    values = matrix.values if x.ndim == 1 else matrix.values[:, None]
    return x.new_zeros((matrix.shape[0], *x.shape[1:])).index_add(0, matrix.row, values * x[matrix.col])


def _pointer(sorted_or_not: Tensor, size: int) -> Tensor:
    counts = torch.bincount(sorted_or_not, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


_PATTERN = ("rowptr", "col", "t_rowptr", "t_col", "t_perm", "row")


def _flatten(matrix: Sparse) -> tuple[list[Any], Any]:
    return [matrix.values, *(getattr(matrix.pattern, name) for name in _PATTERN)], matrix.shape


def _unflatten(parts: Any, shape: Any) -> Sparse:
    values, rowptr, col, t_rowptr, t_col, t_perm, row = parts
    return Sparse(Pattern(rowptr, col, shape, t_rowptr, t_col, t_perm, row), values)


torch.utils._pytree.register_pytree_node(Sparse, _flatten, _unflatten, serialized_type_name="cotan.Sparse")
