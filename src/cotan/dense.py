"""Products of many rows with small matrices, quickly on a CPU; differentiable in reverse any number of times.

torch has products made by MKL, which keeps to the narrow half of an AMD processor's vectors, and convolutions by oneDNN,
which does not: 100k rows times 64 x 64 took 11 ms and 4. So here each row is a pixel. A dilation means nothing to one pixel,
but without it one thread gets a loop of torch's own.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from .sums import reverse_mode_only

FEW = 10_000_000  # multiplications up to which the way there costs more than it saves
NARROW = 16  # columns below which `cross` is quicker by MKL
# At a time, so that they stay in the cache. Eight times a prime: for the gradient of weights oneDNN takes rows in blocks of
# the largest divisor from 7 to 16, and those of 8 take it half as long as those of 16.
ROWS = 8 * 2039


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: `torch.nn.functional.linear`, and equal to it up to rounding. x (..., in), W (out, in)."""
    if x.shape[-1] != weight.shape[1] or not _pays(x.numel() * len(weight), x, weight):
        return functional.linear(x, weight, bias)
    product: Any = _Linear.apply
    return cast(Tensor, product(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], len(weight)))


def add_linear(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """y += x W^T + b in place, for a Function: no derivatives, and no second y, which is dearer to map than to fill."""
    rows = ROWS if y.device.type == "cpu" else max(1, len(y))
    for part, some in zip(y.split(rows), x.split(rows), strict=True):
        part += linear(some, weight, bias)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """a^T b (A, B), a sum over many rows: a (V, A), b (V, B)."""
    if b.shape[1] < a.shape[1]:
        return cross(b, a).T  # MKL is up to seven times as quick with the narrow one first
    if len(a) != len(b) or a.shape[1] < NARROW or not _pays(a.numel() * b.shape[1], a, b):
        return a.T @ b
    product: Any = _Cross.apply
    return cast(Tensor, product(a, b))


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def _pays(multiplications: int, x: Tensor, y: Tensor) -> bool:
    many = multiplications > FEW and x.device.type == "cpu" and x.dtype == torch.float32
    return many and reverse_mode_only(x, y) and torch.backends.mkldnn.is_available()


def _image(x: Tensor) -> Tensor:
    """(1, channels, rows, 1), the channels last in memory."""
    return x[None, :, None].permute(0, 3, 1, 2)


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(_image(x), weight[..., None, None], bias, dilation=2)[0, :, :, 0].T

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need = ctx.needs_input_grad
        return (
            linear(g, weight.T) if need[0] else None,
            cross(g, x) if need[1] else None,
            g.sum(0) if need[2] else None,
        )


class _Cross(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        size = (a.shape[1], b.shape[1], 1, 1)
        parts = [conv2d_weight(_image(y), size, _image(x), dilation=2) for x, y in zip(a.split(ROWS), b.split(ROWS))]
        return torch.stack(parts).sum(0)[:, :, 0, 0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        need = ctx.needs_input_grad
        return linear(b, g) if need[0] else None, linear(a, g.T) if need[1] else None
