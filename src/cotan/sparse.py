"""Sparse matrices on the edges of the shared graph: one immutable sorted CSR, its transpose kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from . import kernels
from .errors import CotanError
from .neighbourhoods import neighbour_max as neighbour_max
from .neighbourhoods import neighbour_variance as neighbour_variance
from .pattern import Pattern as Pattern
from .pattern import first_alike as first_alike
from .pattern import firsts as firsts
from .pattern import grouped as grouped
from .pattern import numbered as numbered
from .pattern import pointer as pointer
from .pattern import rows_of
from .pattern import sorted_pattern as sorted_pattern
from .segments import segment_max as segment_max
from .segments import segment_mean as segment_mean
from .segments import segment_min as segment_min
from .segments import segment_softmax as segment_softmax
from .segments import segment_sum as segment_sum
from .segments import segment_variance as segment_variance
from .sums import ReverseMode as ReverseMode
from .sums import collect as collect
from .sums import composed_gradients as composed_gradients
from .sums import flat, product, watched
from .sums import reverse_mode_only as reverse_mode_only
from .sums import sampled as sampled
from .sums import spread as spread
from .traceable import Traceable, register
from .untraced import array as array

NARROW = 8  # channels up to which a product with copies of one matrix runs with the copies beside the channels


class Sparse(Traceable):
    """An immutable sparse matrix: a `Pattern` and its values (E,), or (E, J) for J matrices on one pattern.

    `A @ x` multiplies with x of shape (C,) or (C, channels) or more; with values (E, J) it gives the J products
    (R, J, channels), `multiply_sum` and `multiply_each` take an x for each. `A.T` is the transpose.

    >>> A = Sparse.from_coo(row, col, values, (3, 3))
    """

    def __init__(self, pattern: Pattern, values: Tensor):
        self.pattern, self.values = pattern, values
        self._t_values: Tensor | None = None
        self._block: Sparse | None = None  # the matrix that this one is copies of
        self._copies: dict[int, Sparse] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("pattern", "values") and name in self.__dict__:  # transposes that are kept would have the old ones
            raise CotanError(f"a Sparse keeps its {name}: A.with_values(values) is another with the same pattern")
        super().__setattr__(name, value)

    def __reduce__(self) -> Any:
        return Sparse, (self.pattern, self.values)

    @classmethod
    def from_coo(
        cls, row: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int], *, sum_duplicates: bool = False
    ) -> Sparse:
        """From entries in any order. Duplicates stay entries of their own unless `sum_duplicates`."""
        if not is_compiling() and not len(row) == len(col) == len(values):
            raise CotanError(f"{len(row)} rows, {len(col)} columns and {len(values)} values, expected as many of each")
        check_range("row", row, shape[0], "indices")
        check_range("column", col, shape[1], "indices")
        row, col = row.long(), col.long()  # in 32 bits, row * columns + column would overflow
        if sum_duplicates:
            key, entry = torch.unique(row * shape[1] + col, return_inverse=True)
            row, col = key // max(shape[1], 1), key % max(shape[1], 1)
            summed = values.new_zeros((len(key), *values.shape[1:])).index_add(0, entry, values)
            return cls(Pattern(pointer(row, shape[0]), col, shape[1], row), summed)
        pattern, order = sorted_pattern(row, col, shape)
        return cls(pattern, values[order])

    @classmethod
    def from_scipy(cls, matrix: Any) -> Sparse:
        """From a matrix of scipy's; duplicates are summed."""
        coo = matrix.tocoo()
        row, col, values = (torch.from_numpy(part) for part in (coo.row, coo.col, coo.data))
        return cls.from_coo(row, col, values, tuple(coo.shape), sum_duplicates=True)

    @classmethod
    def block_diagonal(cls, blocks: Sequence[Sparse], pattern: Pattern | None = None) -> Sparse:
        """The matrix with the blocks along its diagonal: the batch of several shapes' matrices. One block is itself.

        Of one and the same object it is made once, and its products with few channels take each row of it only once.
        `pattern` is that of the result, where it is known from other matrices on the blocks' patterns.
        """
        if not blocks:
            raise CotanError("a block-diagonal matrix of no blocks")
        first = blocks[0]
        if len(blocks) == 1:
            first.pattern.whole()
            return first
        if not first.values.requires_grad and all(block is first for block in blocks):
            return first._repeated(len(blocks))
        return cls._along_diagonal(blocks, pattern)

    def _repeated(self, copies: int) -> Sparse:
        """The matrix of so many copies of this one, kept for the last two numbers: an epoch's batches have at most two sizes."""
        if copies not in self._copies:
            with torch.inference_mode(False):
                out = self._along_diagonal([self] * copies)
            out._block = Sparse(self.pattern, self.values)  # not self, which would be a cycle
            while len(self._copies) > 1:
                self._copies.pop(next(iter(self._copies)))
            self._copies[copies] = out
        return self._copies[copies]

    @classmethod
    def _along_diagonal(cls, blocks: Sequence[Sparse], pattern: Pattern | None = None) -> Sparse:
        kinds = {(block.dtype, block.device, block.values.shape[1:]) for block in blocks}
        if len(kinds) > 1:
            raise CotanError(
                f"blocks of one dtype, device and number of weight sets expected, got {sorted(map(str, kinds))}"
            )
        if pattern is not None:
            return cls(pattern, torch.cat([block.values for block in blocks]))
        patterns = [block.pattern for block in blocks]
        rows, cols, entries = zip(*((len(p.rowptr) - 1, p.columns, len(p.col)) for p in patterns), strict=True)
        starts = [list(accumulate(sizes[:-1], initial=0)) for sizes in (cols, entries)]
        numbers = torch.tensor([*starts, rows, entries, range(len(blocks))])
        # (5, B); `device=` would wait for a GPU's work
        col_start, start, height, length, which = numbers.to(patterns[0].col.device, non_blocking=True)

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(p, name) for p in patterns])

        def at_rows(number: Tensor) -> Tensor:
            return torch.repeat_interleave(number, height, output_size=sum(rows))

        def at_entries(number: Tensor) -> Tensor:
            return torch.repeat_interleave(number, length, output_size=sum(entries))

        ends = at_rows(which).add_(torch.arange(1, sum(rows) + 1, device=which.device))  # a pointer begins with a zero
        pointers = joined("rowptr")
        rowptr = torch.cat([pointers[:1], pointers.index_select(0, ends).add_(at_rows(start))])
        col, t_perm = joined("col").add_(at_entries(col_start)), joined("t_perm").add_(at_entries(start))
        row = rows_of(rowptr, len(col))
        pattern = Pattern(rowptr, col, (pointer(col, sum(cols)), row.index_select(0, t_perm), t_perm), row)
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
        values = self._transposed_values()
        if values is None:
            values = self.values.index_select(0, self.pattern.t_perm)
        out = Sparse(self.pattern.transposed, values)
        if not is_compiling() and not self.values.requires_grad:
            out._t_values = self.values
        return out

    def _transposed_values(self) -> Tensor | None:
        """The values in the order of the transpose, computed once; None for values that learn, where each backward does it."""
        if watched() or self.values.requires_grad or not torch.is_grad_enabled():
            return self._t_values
        if self._t_values is None:
            self._t_values = self.values.index_select(0, self.pattern.t_perm)
        return self._t_values

    def with_values(self, values: Tensor) -> Sparse:
        """The same pattern with other values, in the order of the sorted entries."""
        if len(values) != len(self.pattern.col):
            raise CotanError(f"{len(values)} values for a pattern of {len(self.pattern.col)} entries")
        return Sparse(self.pattern, values)

    def to(self, *args: Any, **kwargs: Any) -> Sparse:
        """The matrix on a device, in a dtype, or both, as `Tensor.to` takes them."""
        values = self.values.to(*args, **kwargs)
        return Sparse(self.pattern.to(values.device), values)

    def times(self, x: Tensor) -> Tensor:
        """A x: (R, ...) for x (C, ...). J weight sets (E, J) on one pattern: all A_j x, (R, J, ...).

        No message of size E x channels is made, forward or backward.
        """
        values, x = _agreeing(self, x)
        columns = flat(x)
        if values.ndim == 1 and columns.shape[1] <= NARROW and values is self.values and self._block is not None:
            return _beside(self._block, columns).reshape(self.shape[0], *x.shape[1:])
        t_values = self._transposed_values() if x.requires_grad and values is self.values else None
        out = product(self.pattern, values, columns, t_values)
        return out.reshape(self.shape[0], *values.shape[1:], *x.shape[1:])

    def scaled(self, factor: Tensor | float) -> Sparse:
        """The matrix times a number."""
        if isinstance(factor, Tensor) and factor.numel() != 1:
            raise CotanError(
                f"a sparse matrix * a tensor of shape {tuple(factor.shape)}: expected a number; `@` multiplies with a signal"
            )
        return Sparse(self.pattern, self.values * factor)

    __mul__ = __rmul__ = scaled

    def sum_rows(self) -> Tensor:
        """(R,) the sum of each row."""
        return segment_sum(self.values, self.pattern)

    def diagonal(self) -> Tensor:
        """(min(R, C),) the diagonal."""
        here = (self.row == self.col).reshape(-1, *[1] * (self.values.ndim - 1))
        return segment_sum(torch.where(here, self.values, 0), self.pattern)[: min(self.shape)]

    def to_dense(self) -> Tensor:
        """(R, C), or (R, C, J) of J matrices; duplicates are summed."""
        out = self.values.new_zeros((*self.shape, *self.values.shape[1:]))
        return out.index_put((self.row, self.col), self.values, accumulate=True)

    def to_scipy(self) -> Any:
        """A `csr_array`, without derivatives."""
        from scipy.sparse import csr_array

        parts = tuple(map(array, (self.values, self.col, self.pattern.rowptr)))
        return csr_array(parts, shape=self.shape)

    def __repr__(self) -> str:
        return f"Sparse({self.shape[0]} x {self.shape[1]}, {len(self.values)} entries, {self.dtype}, {self.device})"


def multiply_rows(matrix: Sparse, x: Tensor, rows: slice) -> Tensor:
    """Some rows of A x, x of shape (C, channels), for use in a Function: no derivatives."""
    part, entries = matrix.pattern.part(rows)
    return kernels.product(part, matrix.values[entries], x, False)


def replace_rows(out: Tensor, matrix: Sparse, x: Tensor, rows: slice, less: bool) -> None:
    """Those rows of A x in the place of `out`, less what was there or not: for a Function."""
    part, entries = matrix.pattern.part(rows)
    kernels.replace(out, part, matrix.values[entries], x, less)


def sampled_rows(pattern: Pattern, a: Tensor, b: Tensor, rows: slice) -> Tensor:
    """`sampled` at the entries of some rows, a of these rows alone, for a Function: no derivatives."""
    return kernels.sampled(pattern.part(rows)[0], a, b)


def _beside(block: Sparse, x: Tensor) -> Tensor:
    """The block times each of the B parts of x (B C, channels), as one product with (C, B channels)."""
    (rows, columns), channels = block.shape, x.shape[1]
    copies = len(x) // max(columns, 1)
    side = x.reshape(copies, columns, channels).transpose(0, 1).flatten(1)  # (C, B channels)
    t_values = block._transposed_values() if x.requires_grad else None
    out = product(block.pattern, block.values, side, t_values)
    return out.view(rows, copies, channels).transpose(0, 1).flatten(0, 1)


def multiply_sum(matrix: Sparse, x: Tensor) -> Tensor:
    """sum_j A_j x_j: (R, channels) for values (E, J) and x (C, J, channels), as one product."""
    return product(matrix.pattern, *_paired("multiply_sum", matrix, x))


def multiply_each(matrix: Sparse, x: Tensor) -> Tensor:
    """A_j x_j for each j: (R, J, channels) for values (E, J) and x (C, J, channels)."""
    return product(matrix.pattern, *_paired("multiply_each", matrix, x), each=True)


def _paired(name: str, matrix: Sparse, x: Tensor) -> tuple[Tensor, Tensor]:
    values, x = _agreeing(matrix, x)
    if x.ndim != 3 or values.ndim != 2 or x.shape[1] != values.shape[1]:
        raise CotanError(
            f"{name}: expected values (E, J) and x (C, J, channels), got {tuple(values.shape)} and {tuple(x.shape)}"
        )
    return values, x


def adjacency(edge_index: Tensor, num_nodes: int, weight: Tensor | None = None) -> tuple[Sparse, Tensor]:
    """The matrix of a graph whose edges run source -> target, and the order (E,) in which its entries hold the edges.

    Row = target = `edge_index[1]`, column = source = `edge_index[0]`: `A @ x` sums over the edges that come in.
    Entry i is edge order[i], so `edge_attr[order]` goes with the entries. Without weights (E,) or (E, J) they are 1.
    """
    source, target = check_edges(edge_index, num_nodes)
    if weight is not None and len(weight) != len(source):
        raise CotanError(f"expected a weight for each of {len(source)} edges, got {len(weight)}")
    pattern, order = sorted_pattern(target, source, (num_nodes, num_nodes))
    values = torch.ones(len(order), device=order.device) if weight is None else weight[order]
    return Sparse(pattern, values), order


def edge_weights(edge_index: Tensor, weight: Tensor | None, *, signed: bool = False) -> Tensor:
    """(E,) in float64: the weights of the edges, or ones. Negative ones are refused unless they may be `signed`."""
    count = edge_index.shape[1]
    if weight is None:
        return torch.ones(count, dtype=torch.float64, device=edge_index.device)
    if weight.shape not in ((count,), (count, 1)):
        raise CotanError(f"edge_weight: expected {count} numbers, one for each edge, got {tuple(weight.shape)}")
    wrong = ~weight.isfinite() if signed else ~((weight >= 0) & (weight < math.inf))
    if wrong.any():
        least = "" if signed else " of at least 0"
        got = float(weight.detach()[wrong][0])
        instead = "; edge_weight.abs() counts both signs alike, edge_weight.clamp(min=0) leaves one out" * (got < 0)
        raise CotanError(f"edge_weight: expected finite numbers{least}, got {got:g}{instead}")
    return weight.reshape(-1).double()


def _agreeing(matrix: Sparse, x: Tensor) -> tuple[Tensor, Tensor]:
    """The values and x, of one floating dtype on one device, or an error that says which differ."""
    if not (isinstance(matrix, Sparse) and isinstance(x, Tensor)):
        raise CotanError(f"expected a Sparse times a Tensor, got a {type(matrix).__name__} and a {type(x).__name__}")
    values = matrix.values
    if x.ndim == 0 or x.shape[0] != matrix.shape[1]:
        raise CotanError(f"a sparse matrix of shape {matrix.shape} times a signal of {len(x) if x.ndim else 'no'} rows")
    if values.device != x.device or matrix.pattern.col.device != x.device:
        raise CotanError(
            f"a sparse matrix with values on {values.device}, pattern on {matrix.pattern.col.device}, "
            f"times a signal on {x.device}: move one by .to(device)"
        )
    if values.dtype != x.dtype and torch.is_autocast_enabled(x.device.type):
        both = torch.promote_types(values.dtype, x.dtype)
        values, x = values.to(both), x.to(both)
    if values.dtype != x.dtype or not x.is_floating_point():
        raise CotanError(
            f"a sparse matrix of {values.dtype} times a signal of {x.dtype}: expected one floating-point dtype, "
            "use .to(dtype=...)"
        )
    return values, x


def check_range(name: str, index: Tensor, size: int | None, what: str = "vertex numbers") -> None:
    """Raise where a tensor is not of whole numbers from 0 to size - 1, or of any from 0 where the size is not known."""
    if index.is_floating_point() or index.dtype == torch.bool:
        raise CotanError(f"{name} holds {index.dtype}, expected {what} (int64)")
    if is_compiling() or not index.numel():  # a traced graph has one path for all data
        return
    low, high = (int(bound) for bound in index.long().aminmax())  # torch has none of uint16, as of Matlab's files
    if low < 0 or (size is not None and high >= size):
        expected = "0 and up" if size is None else f"0 to {size - 1}"
        raise CotanError(f"{name} out of range: {what} {low} to {high}, expected {expected}")


def check_edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    """edge_index (2, E) in int64, with vertex numbers from 0 to num_nodes - 1. E may be 0."""
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise CotanError(f"edge_index: expected shape (2, E), got {tuple(edge_index.shape)}")
    check_range("edge_index", edge_index, num_nodes)
    return edge_index.long()


def symmetric_lu(matrix: Any) -> Any:
    """scipy's factors of a symmetric or Hermitian matrix of scipy's, whose pivots stay on the diagonal where they can.

    `symmetric_lu(A).solve(b)` is A^-1 b, b (V,) or (V, C). With supernodes as relaxed as SuperLU has them by itself it
    fills meshes made by subdivision with zeros: 41,000 vertices take 11 s for 0.17.
    """
    from scipy.sparse.linalg import splu

    symmetric = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, relax=1, options=symmetric)


def _unflatten(parts: Any, context: None) -> Sparse:
    values, *pattern = parts
    return Sparse(Pattern.of(pattern), values)


register(Sparse, lambda matrix: ([matrix.values, *matrix.pattern.parts], None), _unflatten, parts=[Pattern])
