"""Sums over the entries of a sparse pattern, differentiable in both directions and any number of times.

Two pairs close under differentiation, so none needs more than itself for the second derivative:

    product  y_r = sum_e v_e x_{col e}        sampled  s_e = <a_{row e}, b_{col e}>     (e: the entries of row r)
    collect  y_r = sum_e s_e                  spread   s_e = x_{row e}                  (or of a column)

Each row is summed by one worker in the order of its entries: nothing is added atomically, and no E x C message is made.
torch's embedding bag is the kernel of choice: on a CPU it is ahead of the CSR product, and it has one on CUDA. There
Triton's (`triton_kernels`) come before it, where Triton is installed and no compiler traces.

Every function has two classes. In torch 2.13 one with a `jvp` does not compile in one graph, and one without raises in
forward mode: the traced class has none, its child adds it.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling

from .errors import CotanError

if TYPE_CHECKING:
    from .sparse import Pattern

aten = torch.ops.aten


# --- without derivatives ----------------------------------------------------------------------------------------------


@cache
def _accept_beta() -> None:
    """torch says once per process that CSR tensors are in beta; a caller who makes none should not read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = torch.zeros(1, dtype=torch.int32)
        torch.sparse_csr_tensor(index, index[:0], torch.zeros(0), (0, 1), check_invariants=False)


def _csr(pointer: Tensor, col: Tensor, values: Tensor, columns: int) -> Tensor:
    _accept_beta()
    return torch.sparse_csr_tensor(pointer, col, values, (len(pointer) - 1, columns), check_invariants=False)


HAS_TRITON = find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # Triton's interpreter, for tests: it reads the CPU's tensors


def _triton(x: Tensor) -> Any:
    """The module of Triton's kernels where it can take x, else None."""
    if not HAS_TRITON or not (x.is_cuda or INTERPRETED) or is_compiling():
        return None
    return importlib.import_module("cotan.triton_kernels")


def _bag(pointer: Tensor, index: Tensor, weights: Tensor | None, x: Tensor) -> Tensor:
    """(R, C): y_r = sum over i in pointer[r]:pointer[r + 1] of weights_i x_{index i}, x of shape (N, C)."""
    if ours := _triton(x):
        return cast(Tensor, ours.total(pointer, index, weights, x))
    if x.dtype == torch.float64 and x.device.type == "cpu" and not is_compiling():
        # The bag runs on one thread in float64.
        weights = x.new_ones(len(index)) if weights is None else weights
        return cast(Tensor, torch.sparse.mm(_csr(pointer, index, weights, len(x)), x.contiguous(), "sum"))
    if not x.shape[1]:  # on some processors the bag refuses it
        return x.new_zeros(len(pointer) - 1, 0)
    weights = None if weights is None else weights.contiguous()
    out: Tensor = aten._embedding_bag_forward_only(x.contiguous(), index, pointer, False, 0, False, weights, True)[0]
    return out


def _product(pattern: Pattern, values: Tensor, x: Tensor) -> Tensor:
    pointer, col = pattern.index("rowptr"), pattern.index("col")
    if values.ndim == 1:
        return _bag(pointer, col, values, x)
    kernels = values.shape[1]
    if ours := _triton(x):
        return cast(Tensor, (ours.each if x.ndim == 2 else ours.total)(pointer, col, values, x))
    if x.ndim == 2:
        if is_compiling():
            return torch.stack([_bag(pointer, col, values[:, j], x) for j in range(kernels)], 1)
        out = x.new_empty(pattern.shape[0], kernels, x.shape[1])
        for j in range(kernels):
            out[:, j] = _bag(pointer, col, values[:, j], x)
        return out
    # sum_j A_j x_j is one product with the matrix whose columns are the pairs (column, j).
    if len(col) * kernels >= 2**31 or pattern.shape[1] * kernels >= 2**31:
        pointer, col = pattern.rowptr, pattern.col
    pairs = (col[:, None] * kernels + torch.arange(kernels, dtype=col.dtype, device=col.device)).flatten()
    return _bag(pointer * kernels, pairs, values.flatten(), x.flatten(0, 1))


def _sampled(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
    if ours := _triton(a):
        return cast(Tensor, ours.sampled(pattern.index("row"), pattern.index("col"), a, b))
    if a.ndim == 3 or b.ndim == 3:
        kernels = a.shape[1] if a.ndim == 3 else b.shape[1]
        slices = [
            _sampled(pattern, a[:, j] if a.ndim == 3 else a, b[:, j] if b.ndim == 3 else b) for j in range(kernels)
        ]
        return torch.stack(slices, 1) if slices else a.new_zeros(len(pattern.col), 0)
    if not a.shape[1]:
        return a.new_zeros(len(pattern.col))
    pointer, col = pattern.index("rowptr"), pattern.index("col")
    fits = len(col) <= pattern.shape[0] * pattern.shape[1]  # torch refuses more entries than places: duplicates
    if a.device.type == "cpu" and a.dtype in (torch.float32, torch.float64) and fits and not is_compiling():
        here = _csr(pointer, col, a.new_zeros(len(col)), pattern.shape[1])
        return cast(Tensor, torch.sparse.sampled_addmm(here, a.contiguous(), b.contiguous().T, beta=0.0).values())
    backward = aten._embedding_bag_per_sample_weights_backward
    out: Tensor = backward(a.contiguous(), b.contiguous(), col, pointer, pattern.index("row"), 0)
    return out


def _collected(pattern: Pattern, s: Tensor, columns: bool) -> Tensor:
    if columns:
        return _bag(pattern.index("t_rowptr"), pattern.index("t_perm"), None, s)
    return _bag(pattern.index("rowptr"), pattern.index("entries"), None, s)


def _largest(pattern: Pattern, s: Tensor) -> Tensor:
    """(R, H) the largest of each row, 0 where the row is empty."""
    if is_compiling():
        index = pattern.row[:, None].expand_as(s)
        return s.new_zeros(pattern.shape[0], s.shape[1]).scatter_reduce(0, index, s, "amax", include_self=False)
    top = torch.segment_reduce(s.contiguous(), "max", offsets=pattern.rowptr, unsafe=True)
    return torch.where(pattern.counts[:, None] > 0, top, 0)


def reverse_mode_only() -> bool:
    """Whether nothing but autograd's reverse mode may watch: no compiler, no torch.func, no forward mode.

    Then a Function needs neither `jvp` nor `vmap`.
    """
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    return not (is_compiling() or forward_mode or torch._C._are_functorch_transforms_active())


# --- with derivatives -------------------------------------------------------------------------------------------------


def _apply(traced: type[Function], both_ways: type[Function], *args: Any) -> Tensor:
    function: Any = traced if is_compiling() else both_ways
    return cast(Tensor, function.apply(*args))


def _sum_of(*terms: Tensor | None) -> Tensor | None:
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0]) if there else None


def _looped(function: Callable[..., Tensor], size: int, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
    """The rule of vmap for everything: one call each."""

    def pick(i: int) -> list[Any]:
        return [arg if dim is None else arg.select(dim, i) for arg, dim in zip(args, in_dims, strict=True)]

    return torch.stack([function(*pick(i)) for i in range(size)]), 0


class _TracedProduct(Function):
    """`t_values`, if given, are the values in the order of the transpose; derivatives treat both as inputs."""

    @staticmethod
    def forward(pattern: Pattern, values: Tensor, t_values: Tensor | None, x: Tensor) -> Tensor:
        return _product(pattern, values, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        values, t_values, x = ctx.saved_tensors
        pattern, g_values, g_x = ctx.pattern, None, None
        if ctx.needs_input_grad[1]:
            g_values = sampled(pattern, g, x)
        if ctx.needs_input_grad[3]:
            if t_values is None:
                t_values = values.index_select(0, pattern.t_perm)
            g_x = product(pattern.transposed, t_values, g, values)
        return None, g_values, None, g_x


class _Product(_TracedProduct):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _TracedProduct.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        return (None,) * 4 if g is None else _TracedProduct.backward(ctx, g)

    @staticmethod
    def jvp(ctx: Any, _: Any, d_values: Tensor | None, __: Any, d_x: Tensor | None) -> Any:
        values, t_values, x = ctx.saved_tensors
        return _sum_of(
            None if d_values is None else product(ctx.pattern, d_values, x),
            None if d_x is None else product(ctx.pattern, values, d_x, t_values),
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, pattern: Pattern, values: Tensor, t_values: Tensor | None, x: Tensor) -> Any:
        if in_dims[1] is None and in_dims[2] is None and values.ndim == 1:
            x = x.movedim(in_dims[3], 1)
            return product(pattern, values, x.flatten(1), t_values).reshape(-1, *x.shape[1:]), 1
        return _looped(_Product.apply, info.batch_size, in_dims, pattern, values, t_values, x)


def product(pattern: Pattern, values: Tensor, x: Tensor, t_values: Tensor | None = None) -> Tensor:
    """The product of the matrix of these values (E,) with x (C, channels): (R, channels).

    With values (E, J), x (C, channels) gives all A_j x (R, J, channels), and x (C, J, channels) gives sum_j A_j x_j.
    """
    return _apply(_TracedProduct, _Product, pattern, values, t_values, x)


class _TracedSampled(Function):
    @staticmethod
    def forward(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
        return _sampled(pattern, a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        pattern, g_a, g_b = ctx.pattern, None, None
        if ctx.needs_input_grad[1]:
            g_a = product(pattern, g, b)
        if ctx.needs_input_grad[2]:
            g_b = product(pattern.transposed, g.index_select(0, pattern.t_perm), a, g)
        return None, g_a, g_b


class _Sampled(_TracedSampled):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _TracedSampled.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        return (None,) * 3 if g is None else _TracedSampled.backward(ctx, g)

    @staticmethod
    def jvp(ctx: Any, _: Any, d_a: Tensor | None, d_b: Tensor | None) -> Any:
        a, b = ctx.saved_tensors
        return _sum_of(
            None if d_a is None else sampled(ctx.pattern, d_a, b),
            None if d_b is None else sampled(ctx.pattern, a, d_b),
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return _looped(_Sampled.apply, info.batch_size, in_dims, *args)


def sampled(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
    """(E,) the inner products <a_row, b_col> at the entries: the entries of a b^T that the pattern has.

    a (R, channels), b (C, channels). One of them may be (.., J, channels): then (E, J).
    """
    if a.shape[0] != pattern.shape[0] or b.shape[0] != pattern.shape[1] or a.shape[-1] != b.shape[-1]:
        raise CotanError(
            f"expected a (R, C), b (S, C) for a {pattern.shape} pattern, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    if a.dtype != b.dtype or a.device != b.device or a.device != pattern.col.device:
        raise CotanError(
            f"sampled: a is {a.dtype} on {a.device}, b {b.dtype} on {b.device}, the pattern on {pattern.col.device}"
        )
    if is_compiling() and a is b:
        b = b.view_as(b)  # torch 2.13 traces no Function that takes one tensor twice
    return _apply(_TracedSampled, _Sampled, pattern, a, b)


class _TracedCollect(Function):
    @staticmethod
    def forward(pattern: Pattern, columns: bool, s: Tensor) -> Tensor:
        return _collected(pattern, s, columns)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern, ctx.columns = inputs[:2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, None, spread(ctx.pattern, g, columns=ctx.columns)


class _Collect(_TracedCollect):
    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, d: Tensor) -> Any:
        return collect(ctx.pattern, d, columns=ctx.columns)

    @staticmethod
    def vmap(info: Any, in_dims: Any, pattern: Pattern, columns: bool, s: Tensor) -> Any:
        return collect(pattern, s.movedim(in_dims[2], 1), columns=columns), 1


class _TracedSpread(Function):
    @staticmethod
    def forward(pattern: Pattern, columns: bool, x: Tensor) -> Tensor:
        return x.index_select(0, pattern.index("col" if columns else "row"))

    setup_context = _TracedCollect.setup_context

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, None, collect(ctx.pattern, g, columns=ctx.columns)


class _Spread(_TracedSpread):
    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, d: Tensor) -> Any:
        return spread(ctx.pattern, d, columns=ctx.columns)

    @staticmethod
    def vmap(info: Any, in_dims: Any, pattern: Pattern, columns: bool, x: Tensor) -> Any:
        return spread(pattern, x.movedim(in_dims[2], 1), columns=columns), 1


def collect(pattern: Pattern, s: Tensor, *, columns: bool = False) -> Tensor:
    """The sum of the entries' s (E, ...) in each row, (R, ...), or in each column, (C, ...)."""
    out = _apply(_TracedCollect, _Collect, pattern, columns, _flat(s))
    return out.reshape(pattern.shape[columns], *s.shape[1:])


def spread(pattern: Pattern, x: Tensor, *, columns: bool = False) -> Tensor:
    """What each entry finds in x at its row, (R, ...) -> (E, ...), or at its column, (C, ...) -> (E, ...).

    `x[pattern.col]` with a backward that sums in sorted order instead of scattering.
    """
    if len(x) != pattern.shape[columns] or x.device != pattern.col.device:
        where = "columns" if columns else "rows"
        raise CotanError(
            f"expected {pattern.shape[columns]} {where} on {pattern.col.device}, got {len(x)} on {x.device}"
        )
    out = _apply(_TracedSpread, _Spread, pattern, columns, _flat(x))
    return out.reshape(len(pattern.col), *x.shape[1:])


def _flat(s: Tensor) -> Tensor:
    return s[:, None] if s.ndim == 1 else s.flatten(1)


class _TracedMax(Function):
    """Entries that tie for the largest share its derivative evenly, as in torch's scatter_reduce."""

    @staticmethod
    def forward(pattern: Pattern, s: Tensor) -> Tensor:
        return _largest(pattern, s)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(inputs[1], output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, spread(ctx.pattern, g) * _shares(ctx.pattern, *ctx.saved_tensors)


class _Max(_TracedMax):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _TracedMax.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[1], output)

    @staticmethod
    def jvp(ctx: Any, _: Any, d: Tensor) -> Any:
        return collect(ctx.pattern, d * _shares(ctx.pattern, *ctx.saved_tensors))

    @staticmethod
    def vmap(info: Any, in_dims: Any, pattern: Pattern, s: Tensor) -> Any:
        s = s.movedim(in_dims[1], 1)
        return segment_max(s, pattern), 1


def _shares(pattern: Pattern, s: Tensor, top: Tensor) -> Tensor:
    s, top = s.detach(), top.detach()
    best = (s == spread(pattern, top)).to(s.dtype)
    return best / spread(pattern, collect(pattern, best)).clamp(min=1)


class _TracedSoftmax(Function):
    @staticmethod
    def forward(pattern: Pattern, s: Tensor) -> Tensor:
        if ours := _triton(s):
            return cast(Tensor, ours.softmax(pattern.index("rowptr"), s))
        s = (s - _largest(pattern, s).index_select(0, pattern.index("row"))).exp()
        return s / _collected(pattern, s, False).index_select(0, pattern.index("row"))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, _softmax_derivative(ctx.pattern, ctx.saved_tensors[0], g)


class _Softmax(_TracedSoftmax):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _TracedSoftmax.setup_context(ctx, inputs, output)
        ctx.save_for_forward(output)

    @staticmethod
    def jvp(ctx: Any, _: Any, d: Tensor) -> Any:
        return _softmax_derivative(ctx.pattern, ctx.saved_tensors[0], d)

    @staticmethod
    def vmap(info: Any, in_dims: Any, pattern: Pattern, s: Tensor) -> Any:
        return segment_softmax(s.movedim(in_dims[1], 1), pattern), 1


def _softmax_derivative(pattern: Pattern, p: Tensor, d: Tensor) -> Tensor:
    """p (d - sum p d): the Jacobian is symmetric, so this is both its product and its transpose's."""
    weighted = p * d
    return weighted - p * spread(pattern, collect(pattern, weighted))


# --- reductions over the entries of each row --------------------------------------------------------------------------


def _checked(s: Tensor, pattern: Pattern) -> Tensor:
    if len(s) != len(pattern.col):
        raise CotanError(f"expected one value for each of {len(pattern.col)} entries, got shape {tuple(s.shape)}")
    if s.device != pattern.col.device:
        raise CotanError(f"the values are on {s.device}, the pattern on {pattern.col.device}")
    if not s.is_floating_point():
        raise CotanError(f"expected floating-point values, got {s.dtype}")
    return s


def segment_sum(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the sum over each row of s (E, ...), the entries in sorted order."""
    return collect(pattern, _checked(s, pattern))


def segment_mean(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the mean over each row, 0 where it is empty."""
    total = segment_sum(s, pattern)
    return total / pattern.counts.clamp(min=1).to(s.dtype).reshape(-1, *[1] * (s.ndim - 1))


def segment_max(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the largest of each row, 0 where it is empty."""
    flat = _flat(_checked(s, pattern))
    out = _apply(_TracedMax, _Max, pattern, flat)
    return out.reshape(pattern.shape[0], *s.shape[1:])


def segment_min(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the smallest of each row, 0 where it is empty."""
    return -segment_max(-s, pattern)


def segment_softmax(s: Tensor, pattern: Pattern) -> Tensor:
    """(E, ...) softmax over the entries of each row: p_e = exp(s_e) / sum over its row of exp(s)."""
    flat = _flat(_checked(s, pattern))
    out = _apply(_TracedSoftmax, _Softmax, pattern, flat)
    return out.reshape(s.shape)
