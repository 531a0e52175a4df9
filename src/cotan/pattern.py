"""Where the entries of a sparse matrix are: a sorted CSR and that of its transpose, found once.

torch transposes a CSR matrix anew at each backward pass; here the transpose is kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils._pytree import tree_map_only

from .untraced import array, constant, outside

SORTED = 1024  # keys below which sorting is quicker than counting
Made = TypeVar("Made")


class Rows:
    """The rows of a sorted CSR: what sums need, and no more.

    Attributes: rowptr (R + 1,), col (E,), row (E,).
    """

    rowptr: Tensor
    col: Tensor
    row: Tensor
    columns: int
    _kept: dict[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C)."""
        return self.rowptr.size(0) - 1, self.columns

    @property
    def counts(self) -> Tensor:
        """(R,) how many entries each row has."""
        return self.rowptr[1:] - self.rowptr[:-1]

    @property
    def entries(self) -> Tensor:
        """(E,) the numbers of the entries."""
        return torch.arange(len(self.col), device=self.col.device)

    def index(self, name: str) -> Tensor:
        """One of the index tensors as the kernels read it: in 32 bits where these suffice, converted once and kept."""
        if is_compiling():
            return getattr(self, name)
        return self._once(name, lambda: self._short(getattr(self, name)))

    def _short(self, index: Tensor) -> Tensor:
        return index.int() if max(len(self.col), *self.shape) < 2**31 else index

    def pairs(self, count: int) -> Pairs:
        """The rows of `count` matrices on this pattern, made once: what multiplies them all is then one sum."""
        return self._once(f"pairs {count}", lambda: Pairs(self, count))

    def _once(self, key: str, make: Callable[[], Made]) -> Made:
        """What is kept under a key, made when first asked for; each time in a compiled function."""
        if is_compiling():
            return make()
        if key not in self._kept:
            self._kept[key] = _to_keep(make)
        return self._kept[key]


class Pattern(Rows):
    """Where the entries of a sparse matrix are: sorted CSR and the permutation that sorts them by column.

    Attributes:
        rowptr (R + 1,), col (E,): the rows. E entries, sorted by row, then column; duplicates are kept.
        t_rowptr (C + 1,), t_col (E,): the rows of the transpose; `t_perm` (E,): entry i of it is entry t_perm[i] here.
        row (E,): the row of each entry.
    """

    t_perm: Tensor
    _columns: int | None = None  # of a sketched one; else t_rowptr says it

    def __init__(
        self, rowptr: Tensor, col: Tensor, transpose: int | tuple[Tensor, Tensor, Tensor], row: Tensor | None = None
    ):
        """transpose: t_rowptr, t_col and t_perm where they are known, else the number of columns."""
        if not is_compiling() and torch._C._are_functorch_transforms_active():
            parts = tree_map_only(Tensor, constant, (rowptr, col, transpose, row))
            with outside():
                return Pattern.__init__(self, *parts)
        self.rowptr, self.col = rowptr, col
        self.row = row = rows_of(rowptr, len(col)) if row is None else row
        if not isinstance(transpose, tuple):
            t_rowptr, t_perm = grouped(col, transpose)
            transpose = t_rowptr, row.index_select(0, t_perm), t_perm
        self.t_rowptr, self.t_col, self.t_perm = transpose
        self._kept: dict[str, Any] = {}

    @classmethod
    def sketched(cls, rowptr: Tensor, col: Tensor, t_perm: Tensor, columns: int) -> Self:
        """One whose other tensors are made when first asked for: those of a shape are not, where its batch makes its own."""
        pattern = cls.__new__(cls)
        pattern.rowptr, pattern.col, pattern.t_perm, pattern._columns = rowptr, col, t_perm, columns
        pattern._kept = {}
        return pattern

    def whole(self) -> Self:
        """Itself with all tensors, as a compiled forward is to meet it."""
        _, self._columns = self.parts, None
        return self

    @cached_property
    def row(self) -> Tensor:  # type: ignore[override]
        return _to_keep(lambda: rows_of(self.rowptr, len(self.col)))

    @cached_property
    def t_rowptr(self) -> Tensor:
        return _to_keep(lambda: pointer(self.col, self.columns))

    @cached_property
    def t_col(self) -> Tensor:
        return _to_keep(lambda: self.row.index_select(0, self.t_perm))

    @property
    def columns(self) -> int:  # type: ignore[override]
        known = self._columns  # another thread may call `whole`
        return self.t_rowptr.size(0) - 1 if known is None else known

    @property
    def shape(self) -> tuple[int, int]:
        """(R, C), of tensors: a compiler follows their sizes from batch to batch, and would take a number for a constant."""
        return self.rowptr.size(0) - 1, self.t_rowptr.size(0) - 1

    @property
    def transposed(self) -> Pattern:
        return self._once("transposed", lambda: _Transposed(self))

    def part(self, rows: slice) -> tuple[Rows, slice]:
        """The rows alone, made once and kept; and which entries of this pattern they have."""
        if (rows.start, rows.stop) == (0, self.shape[0]):
            return self, slice(0, len(self.col))
        part = self._once(f"rows {rows.start} {rows.stop}", lambda: Part(self, rows))
        return part, part.of

    def to(self, device: torch.device | str) -> Pattern:
        if self.col.to(device) is self.col:  # at once: a transpose would make what only second derivatives need
            return self
        return self.map(lambda part: part.to(device))

    def map(self, function: Callable[[Tensor], Tensor]) -> Pattern:
        """With a function applied to each tensor that it was made of; itself where that changes none."""
        columns = self._columns
        before = self.parts if columns is None else [self.rowptr, self.col, self.t_perm]
        after = [function(part) for part in before]
        if all(a is b for a, b in zip(after, before, strict=True)):
            return self
        if columns is None:
            return Pattern.of(after)
        rowptr, col, t_perm = after
        return Pattern.sketched(rowptr, col, t_perm, columns)

    @property
    def parts(self) -> list[Tensor]:
        """All that it is made of: `of` puts it together again."""
        return [self.rowptr, self.col, self.t_rowptr, self.t_col, self.t_perm, self.row]

    @classmethod
    def of(cls, parts: Iterable[Tensor]) -> Pattern:
        rowptr, col, t_rowptr, t_col, t_perm, row = parts
        return Pattern(rowptr, col, (t_rowptr, t_col, t_perm), row)

    def __reduce__(self) -> Any:  # by the class, which torch.load knows
        rowptr, col, *transpose, row = self.parts
        return Pattern, (rowptr, col, tuple(transpose), row)


class _Transposed(Pattern):
    """The transpose of a pattern, on the same tensors. What only second derivatives need is computed when asked for."""

    def __init__(self, base: Pattern):
        self.rowptr, self.col, self.t_rowptr, self.t_col = base.t_rowptr, base.t_col, base.rowptr, base.col
        self._perm = base.t_perm
        self._kept: dict[str, Any] = {}
        if not is_compiling():
            # A strong reference would be a cycle, and keep a batch on the device until the collector runs.
            self._base = weakref.ref(base)

    @property
    def row(self) -> Tensor:  # type: ignore[override]
        return self._once("64 row", lambda: self.t_col.index_select(0, self._perm))

    @property
    def t_perm(self) -> Tensor:  # type: ignore[override]
        perm = self._perm
        return self._once(
            "64 t_perm", lambda: torch.empty_like(perm).scatter(0, perm, torch.arange(len(perm), device=perm.device))
        )

    @property
    def transposed(self) -> Pattern:
        base = None if is_compiling() else self._base()
        if base is not None:
            return base
        return Pattern(self.t_rowptr, self.t_col, (self.rowptr, self.col, self._perm))


def _to_keep(make: Callable[[], Made]) -> Made:
    if is_compiling():
        return make()
    # What is made in inference mode or in a transform could not be used later.
    with torch.inference_mode(False), outside():
        return make()


class Part(Rows):
    """Some rows of a pattern. of: which of its entries they have."""

    def __init__(self, base: Pattern, rows: slice):
        ends = base.index("rowptr")[rows.start : rows.stop + 1]
        self.of = slice(int(ends[0]), int(ends[-1]))
        self.columns = base.shape[1]
        self.rowptr, self.col, self.row = (
            ends - ends[0],
            base.index("col")[self.of],
            base.index("row")[self.of] - rows.start,
        )
        self._kept: dict[str, Any] = {}


class Pairs(Rows):
    """Joins (row, j) with (column, j) for each j < count: the rows of kron(A, 1).

    Attributes:
        place (E J,): the entry here of each of the values (E, J). order (E J,): which of those each entry here is.
    """

    def __init__(self, base: Rows, count: int):
        self.columns = base.shape[1] * count
        pointer, col, row = (base.index(name) for name in ("rowptr", "col", "row"))
        j = torch.arange(count, dtype=col.dtype, device=col.device)
        shift = pointer[:-1, None] * (count - 1) + pointer.diff()[:, None] * j  # (R, J)
        self.rowptr = torch.cat([(pointer[:-1, None] + shift).flatten(), pointer[-1:] * count])
        self.place = shift.index_select(0, row).add_(base.index("entries")[:, None]).flatten().long()
        self.order = torch.empty_like(self.place).scatter_(
            0, self.place, torch.arange(len(self.place), device=col.device)
        )
        self.col = (col[:, None] * count + j).flatten().index_select(0, self.order)
        self._kept: dict[str, Any] = {}

    @property
    def row(self) -> Tensor:  # type: ignore[override]
        return rows_of(self.rowptr, len(self.col))


def sorted_pattern(row: Tensor, col: Tensor, shape: tuple[int, int]) -> tuple[Pattern, Tensor]:
    """Entries sorted by row, then column, those of one place in the order given; and the order that sorts them."""
    order = sorted_order(row, col, shape)
    row, col = row.index_select(0, order), col.index_select(0, order)
    return Pattern(pointer(row, shape[0]), col, shape[1], row), order


def sorted_order(row: Tensor, col: Tensor, shape: tuple[int, int]) -> Tensor:
    """The order of entries by row, then column, those of one place as given. On the CPU what is sorted is not sorted again."""
    key = row * shape[1] + col
    if not is_compiling() and key.device.type == "cpu" and bool((key[1:] >= key[:-1]).all()):
        return torch.arange(len(key))
    return torch.argsort(key, stable=True)


def pointer(sorted_or_not: Tensor, size: int) -> Tensor:
    if is_compiling() or sorted_or_not.device.type != "cpu":  # bincount looks for the largest: a GPU is waited for
        counts = sorted_or_not.new_zeros(size).scatter_add(0, sorted_or_not, torch.ones_like(sorted_or_not))
    else:
        counts = torch.bincount(sorted_or_not, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def rows_of(rowptr: Tensor, entries: int) -> Tensor:
    """The row of each entry. On the CPU by numpy: torch wakes all threads for it, milliseconds where these are busy."""
    counts = rowptr[1:] - rowptr[:-1]
    wrapped = is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(counts)
    if rowptr.device.type == "cpu" and not wrapped:
        return torch.from_numpy(np.repeat(np.arange(len(counts)), counts.numpy()))
    return torch.repeat_interleave(torch.arange(len(counts), device=rowptr.device), counts, output_size=entries)


def grouped(key: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where each number below `size` begins (size + 1,), and the order that sorts the keys (E,), equal ones as given.

    Many on the CPU are counted rather than sorted, as scipy does where it transposes.
    """
    if is_compiling() or key.device.type != "cpu" or len(key) < SORTED:
        return pointer(key, size), torch.argsort(key, stable=True)
    from scipy.sparse import csr_array

    each = np.arange(len(key) + 1)
    columns = csr_array((np.empty(len(key), np.int8), array(key), each), shape=(len(key), size)).tocsc()
    return torch.from_numpy(columns.indptr).long(), torch.from_numpy(columns.indices).long()


def runs(begin: Tensor, end: Tensor) -> Tensor:
    """All numbers from each begin up to its end, one run after the other."""
    count = end - begin
    shift = end - count.cumsum(0)
    return torch.arange(int(count.sum()), device=begin.device) + shift.repeat_interleave(count)


def numbered(rows: Tensor) -> Tensor:
    """(N,) the number of each row (N, D) among the different ones, in their order.

    A column at a time: torch.unique of rows compares two of them number by number, and takes ten times as long.
    """
    size, number = _numbered(rows[:, 0])
    if size == len(rows):  # the first column tells all apart
        return number
    for column in rows[:, 1:].unbind(1):
        count, other = _numbered(column)
        if size * count > 2**62:
            size, number = _numbered(number)
        size, number = size * count, number * count + other
    return _numbered(number)[1]


def _numbered(values: Tensor) -> tuple[int, Tensor]:
    """How many different values there are, and the number of each. Floats on the CPU by numpy, which sorts them more quickly."""
    if values.device.type == "cpu" and values.is_floating_point():
        different, number = np.unique(array(values), return_inverse=True, equal_nan=False)
        return len(different), torch.from_numpy(number)
    different, number = torch.unique(values, return_inverse=True)
    return len(different), number


def first_alike(rows: Tensor) -> Tensor:
    """(N,) for each row (N, D) the first that equals it."""
    number = numbered(rows)
    return firsts(number)[number] if len(rows) else number


def firsts(number: Tensor) -> Tensor:
    """(P,) where each of the numbers 0 to P - 1 comes first in (N,)."""
    rows = torch.arange(len(number), device=number.device)
    return rows.new_full((int(number.max()) + 1,), len(number)).scatter_reduce(0, number, rows, "amin")
