"""Sums over the entries of a sparse pattern, without derivatives: `sums` and `segments` add these.

Each row is summed by one worker in the order of its entries: nothing is added atomically, and no E x C message is made.
torch's embedding bag is the kernel of choice: on a CPU it is ahead of the CSR product, and it has one on CUDA. There
Triton's (`triton_kernels`) come before it, where Triton is installed and no compiler traces.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .blocks import by_blocks, processor
from .pattern import Pattern, Rows

aten = torch.ops.aten
AT_ONCE = 2**20  # entries of all matrices on one pattern
VECTOR = 8  # channels from which torch's maxima by a sparse product are quicker


@cache
def _accept_beta() -> None:
    """Take torch's warning that CSR tensors are in beta, given once a process: the caller made none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = torch.zeros(1, dtype=torch.int32)
        torch.sparse_csr_tensor(index, index[:0], torch.zeros(0), (0, 1), check_invariants=False)


def _csr(pointer: Tensor, col: Tensor, values: Tensor, columns: int) -> Tensor:
    _accept_beta()
    return torch.sparse_csr_tensor(pointer, col, values, (len(pointer) - 1, columns), check_invariants=False)


HAS_TRITON = find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's interpreter, for tests: it reads the CPU's tensors


def _triton(x: Tensor, weights: Tensor | None = None) -> Any:
    """The module of Triton's kernels where it can take these, else None."""
    if not HAS_TRITON or not (x.is_cuda or INTERPRETED) or is_compiling():
        return None
    if any(t is not None and t._is_zerotensor() for t in (x, weights)):  # a tangent of forward mode, without memory
        return None
    return triton_runs()


@cache
def triton_runs() -> Any:
    """The module if a kernel of it runs here: Triton compiles a launcher in C, and not every machine has a compiler."""
    if not (torch.cuda.is_available() or INTERPRETED):
        return None
    from . import triton_kernels

    one = torch.zeros(1, dtype=torch.int32, device="cpu" if INTERPRETED else "cuda")
    try:
        triton_kernels.total(torch.stack([one, one + 1]).flatten(), one, None, one[:, None].float())
    except Exception as reason:  # whatever its compilers raise
        warnings.warn(f"Triton's kernels do not run here ({reason}); torch's do the sums", RuntimeWarning, stacklevel=2)
        return None
    return triton_kernels


def total(pointer: Tensor, index: Tensor, weights: Tensor | None, x: Tensor) -> Tensor:
    """(R, C): y_r = sum over i in pointer[r]:pointer[r + 1] of weights_i x_{index i}, x of shape (N, C)."""
    if ours := _triton(x, weights):
        return ours.total(pointer, index, weights, x)
    if x.dtype == torch.float64 and x.device.type == "cpu" and not is_compiling():
        # The bag runs on one thread in float64.
        weights = x.new_ones(len(index)) if weights is None else weights
        return torch.sparse.mm(_csr(pointer, index, weights, len(x)), x.contiguous(), "sum")
    if not x.shape[1]:  # on some processors the bag refuses it
        return x.new_zeros(len(pointer) - 1, 0)
    weights = None if weights is None else weights.contiguous()
    return aten._embedding_bag_forward_only(x.contiguous(), index, pointer, False, 0, False, weights, True)[0]


def replace(out: Tensor, pattern: Rows, values: Tensor, x: Tensor, less: bool) -> None:
    """A x, or with `less` A x - out, in the place of out."""
    pointer, col = pattern.index("rowptr"), pattern.index("col")
    if out.is_contiguous() and (ours := _triton(x, values)):
        ours.total(pointer, col, values, x, out=out, less=less)
        return
    here = x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and col.dtype == torch.int32
    if here and writes_in_place():
        torch.addmm(out, _csr(pointer, col, values.contiguous(), len(x)), x, beta=-1 if less else 0, out=out)
    elif less:
        torch.sub(total(pointer, col, values, x), out, out=out)
    else:
        out.copy_(total(pointer, col, values, x))


@cache
def writes_in_place() -> bool:
    """Whether torch has MKL on a processor of Intel's, where it is as quick as the bag and makes no copy."""
    return torch.backends.mkl.is_available() and "GenuineIntel" in processor()


def product(pattern: Rows, values: Tensor, x: Tensor, each: bool) -> Tensor:
    """A x; with values (E, J), all A_j x for x (C, channels), and for x (C, J, channels) all A_j x_j or their sum."""
    pointer, col = pattern.index("rowptr"), pattern.index("col")
    if values.ndim == 1:
        return total(pointer, col, values, x)
    kernels = values.shape[1]
    if ours := _triton(x, values):
        return ours.each(pointer, col, values, x) if x.ndim == 2 else ours.total(pointer, col, values, x, each=each)
    if each and x.ndim == 3 and _at_once(pattern, kernels):
        pairs = pattern.pairs(kernels)
        weights = values.flatten().index_select(0, pairs.order)
        return total(pairs.rowptr, pairs.col, weights, x.flatten(0, 1)).view(pattern.shape[0], kernels, x.shape[2])
    if x.ndim == 2 or each:
        xs = [x] * kernels if x.ndim == 2 else x.unbind(1)
        if is_compiling():
            return torch.stack([total(pointer, col, values[:, j], y) for j, y in enumerate(xs)], 1)
        out = x.new_empty(pattern.shape[0], kernels, x.shape[-1])
        for j, y in enumerate(xs):
            replace(out[:, j], pattern, values[:, j], y, less=False)
        return out
    # sum_j A_j x_j is one product with the matrix whose columns are the pairs (column, j).
    if len(col) * kernels >= 2**31 or pattern.shape[1] * kernels >= 2**31:
        pointer, col = pattern.rowptr, pattern.col
    columns = (col[:, None] * kernels + torch.arange(kernels, dtype=col.dtype, device=col.device)).flatten()
    return total(pointer * kernels, columns, values.flatten(), x.flatten(0, 1))


def _at_once(pattern: Rows, count: int) -> bool:
    """Whether `count` matrices are multiplied as one of `pairs`: fewer calls, but too many would leave the cache."""
    return count > 1 and len(pattern.col) * count <= AT_ONCE and not is_compiling()


def sampled(pattern: Rows, a: Tensor, b: Tensor) -> Tensor:
    if ours := _triton(a, b):
        return ours.sampled(pattern.index("row"), pattern.index("col"), a, b)
    if a.ndim == b.ndim == 3 and _at_once(pattern, a.shape[1]):
        pairs = pattern.pairs(a.shape[1])
        return sampled(pairs, a.flatten(0, 1), b.flatten(0, 1)).index_select(0, pairs.place).view(-1, a.shape[1])
    if a.ndim == 3 or b.ndim == 3:
        kernels = a.shape[1] if a.ndim == 3 else b.shape[1]
        slices = [
            sampled(pattern, a[:, j] if a.ndim == 3 else a, b[:, j] if b.ndim == 3 else b) for j in range(kernels)
        ]
        return torch.stack(slices, 1) if slices else a.new_zeros(len(pattern.col), 0)
    if not a.shape[1]:
        return a.new_zeros(len(pattern.col))
    if a.dtype == torch.bfloat16 and a.device.type != "cpu":  # torch's kernel on CUDA is not for it (issue 185808)
        return sampled(pattern, a.float(), b.float()).to(a.dtype)
    pointer, col = pattern.index("rowptr"), pattern.index("col")
    fits = len(col) <= pattern.shape[0] * pattern.shape[1]  # torch refuses more entries than places: duplicates
    if a.device.type == "cpu" and a.dtype in (torch.float32, torch.float64) and fits and not is_compiling():
        here = _csr(pointer, col, a.new_zeros(len(col)), pattern.shape[1])
        return torch.sparse.sampled_addmm(here, a.contiguous(), b.contiguous().T, beta=0.0).values()
    backward = aten._embedding_bag_per_sample_weights_backward
    return backward(a.contiguous(), b.contiguous(), col, pointer, pattern.index("row"), 0)


def collected(pattern: Pattern, s: Tensor, columns: bool) -> Tensor:
    if columns:
        return total(pattern.index("t_rowptr"), pattern.index("t_perm"), None, s)
    return total(pattern.index("rowptr"), pattern.index("entries"), None, s)


def largest(pattern: Pattern, s: Tensor) -> Tensor:
    """(R, H) the largest of each row, 0 where the row is empty."""
    if is_compiling():
        index = pattern.row[:, None].expand_as(s)
        return s.new_zeros(pattern.shape[0], s.shape[1]).scatter_reduce(0, index, s, "amax", include_self=False)
    return _tops(pattern, s).masked_fill_(pattern.counts[:, None] == 0, 0)


def _tops(pattern: Pattern, s: Tensor) -> Tensor:
    """(R, H) the largest of each row; anything where it is empty."""
    if s.device.type == "cpu" and s.shape[1] >= VECTOR:
        return row_maxima(pattern, pattern.index("entries"), s)
    return torch.segment_reduce(s.contiguous(), "max", offsets=pattern.rowptr, unsafe=True)


def row_maxima(pattern: Rows, index: Tensor, x: Tensor) -> Tensor:
    """(R, H) the largest over each row of what its entries find in x (N, H) by `index`, 0 where it is empty; on a CPU."""
    ones = x.new_ones(len(index))
    return torch.sparse.mm(_csr(pattern.index("rowptr"), index, ones, len(x)), x.contiguous(), "amax")


def between(
    pattern: Pattern, f: Callable[[Tensor, Tensor], Tensor], there: Tensor, here: Tensor, weights: Tensor | None = None
) -> Tensor:
    """(R, H): y_r = sum over the entries e of row r of w_{col e} f(there_{col e}, here_r), some rows at a time; on a CPU.

    f may write into its first argument.
    """

    def work(rows: slice) -> Tensor:
        part = pattern.part(rows)[0]
        col = part.index("col")
        s = f(there.index_select(0, col), here[rows].index_select(0, part.index("row")))
        if weights is not None:
            s.mul_(weights.index_select(0, col))
        return total(part.index("rowptr"), part.index("entries"), None, s)

    return torch.cat(by_blocks(work, here, len(pattern.col) // max(len(here), 1)))


def softmax(pattern: Pattern, s: Tensor) -> Tensor:
    """(E, H) softmax over the entries of each row."""
    if ours := _triton(s):
        return ours.softmax(pattern.index("rowptr"), s)
    row = pattern.index("row")
    top = largest(pattern, s) if is_compiling() else _tops(pattern, s)
    s = top.index_select(0, row).neg_().add_(s).exp_()
    return s.div_(collected(pattern, s, False).index_select(0, row))
