"""Reductions over the entries of each row of a sparse pattern: sum, mean, max, min, softmax; derivatives as in `sums`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from . import kernels
from .errors import CotanError
from .pattern import Pattern
from .sums import apply, collect, flat, forward_too, spread


class _TracedMax(Function):
    """Entries that tie for the largest share its derivative evenly, as in torch's scatter_reduce."""

    @staticmethod
    def forward(pattern: Pattern, s: Tensor) -> Tensor:
        return kernels.largest(pattern, s)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(inputs[1], output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        best, ties = _best(ctx.pattern, *ctx.saved_tensors)
        return None, spread(ctx.pattern, g / ties) * best


def _max_tangents(ctx: Any, _: Any, d: Tensor) -> Any:
    best, ties = _best(ctx.pattern, *ctx.saved_tensors)
    return collect(ctx.pattern, d * best) / ties


_Max: Any = forward_too(
    _TracedMax, _max_tangents, lambda _, dims, pattern, s: (segment_max(s.movedim(dims[1], 1), pattern), 1)
)


def _best(pattern: Pattern, s: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """(E, C) a one for each entry that is the largest of its row; and how many these are, (R, C), at least 1."""
    best = (s.detach() == spread(pattern, top.detach())).to(s.dtype)
    return best, collect(pattern, best).clamp(min=1)


class _TracedSoftmax(Function):
    @staticmethod
    def forward(pattern: Pattern, s: Tensor) -> Tensor:
        return kernels.softmax(pattern, s)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None, _softmax_derivative(ctx.pattern, ctx.saved_tensors[0], g)


_Softmax: Any = forward_too(
    _TracedSoftmax,
    lambda ctx, _, d: _softmax_derivative(ctx.pattern, ctx.saved_tensors[0], d),
    lambda _, dims, pattern, s: (segment_softmax(s.movedim(dims[1], 1), pattern), 1),
)


def _softmax_derivative(pattern: Pattern, p: Tensor, d: Tensor) -> Tensor:
    """p (d - sum p d): the Jacobian is symmetric, so this is both its product and its transpose's."""
    weighted = p * d
    return torch.addcmul(weighted, p, spread(pattern, collect(pattern, weighted)), value=-1)


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


def segment_variance(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the variance of each row, 0 where it is empty."""
    return segment_mean((s - spread(pattern, segment_mean(s, pattern))).square(), pattern)


def segment_max(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the largest of each row, 0 where it is empty."""
    rows = flat(_checked(s, pattern))
    out = apply(_TracedMax, _Max, pattern, rows)
    return out.reshape(pattern.shape[0], *s.shape[1:])


def segment_min(s: Tensor, pattern: Pattern) -> Tensor:
    """(R, ...) the smallest of each row, 0 where it is empty."""
    return -segment_max(-s, pattern)


def segment_softmax(s: Tensor, pattern: Pattern) -> Tensor:
    """(E, ...) softmax over the entries of each row: p_e = exp(s_e) / sum over its row of exp(s)."""
    rows = flat(_checked(s, pattern))
    out = apply(_TracedSoftmax, _Softmax, pattern, rows)
    return out.reshape(s.shape)
