"""Maxima and variances over neighbours, some rows at a time, so that no tensor (E, C) of messages is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import kernels
from .pattern import Pattern
from .segments import segment_max, segment_variance
from .sums import ReverseMode, composed_gradients, reverse_mode_only, spread


def neighbour_max(x: Tensor, pattern: Pattern) -> Tensor:
    """(R, C) the largest x_col over the entries of each row, 0 where it is empty. x (N, C)."""
    return _either(_Max, _max, x, pattern)


def neighbour_variance(x: Tensor, pattern: Pattern) -> Tensor:
    """(R, C) the variance of x_col over the entries of each row, 0 where it is empty. x (N, C)."""
    return _either(_Variance, _variance, x, pattern)


def _either(
    some_at_a_time: Any, by_messages: Callable[[Tensor, Pattern], Tensor], x: Tensor, pattern: Pattern
) -> Tensor:
    here = x.ndim == 2 and x.device.type == pattern.col.device.type == "cpu"
    if here and reverse_mode_only(x, x) and len(x) == pattern.shape[1] and x.shape[1] >= kernels.VECTOR:
        return some_at_a_time.apply(x, pattern)
    return by_messages(x, pattern)


def _max(x: Tensor, pattern: Pattern) -> Tensor:
    return segment_max(spread(pattern, x, columns=True), pattern)


def _variance(x: Tensor, pattern: Pattern) -> Tensor:
    return segment_variance(spread(pattern, x, columns=True), pattern)


class _Max(ReverseMode):
    """Entries that tie share the derivative evenly, as in `segment_max`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pattern: Pattern) -> Tensor:
        top = kernels.row_maxima(pattern, pattern.index("col"), x)
        ctx.pattern = pattern
        ctx.save_for_backward(x, top)
        return top

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        pattern, (x, top) = ctx.pattern, ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative will be asked for
            return *composed_gradients(_max(x, pattern), (x,), (True,), g), None
        ties = kernels.between(pattern, Tensor.eq_, x, top)
        return kernels.between(pattern.transposed, Tensor.eq_, top, x, g / ties.clamp_(min=1)), None


class _Variance(ReverseMode):
    @staticmethod
    def forward(ctx: Any, x: Tensor, pattern: Pattern) -> Tensor:
        count = pattern.counts.clamp(min=1).to(x.dtype)[:, None]
        mean = kernels.product(pattern, x.new_ones(len(pattern.col)), x, False) / count
        ctx.pattern = pattern
        ctx.save_for_backward(x, mean, count)
        return kernels.between(pattern, lambda a, b: a.sub_(b).square_(), x, mean) / count

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        pattern, (x, mean, count) = ctx.pattern, ctx.saved_tensors
        if torch.is_grad_enabled():
            return *composed_gradients(_variance(x, pattern), (x,), (True,), g), None
        return kernels.between(pattern.transposed, Tensor.sub_, mean, x, g * (-2 / count)), None
