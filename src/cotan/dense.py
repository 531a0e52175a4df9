"""Affine maps of many rows, with a product that a CPU does quickly."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from .sums import reverse_mode_only

FEW = 10_000_000  # products of numbers up to which the way there costs more than it saves

ROWS = 16_384  # that stay in the cache between two steps


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b: `torch.nn.functional.linear`, and equal to it up to rounding. x (..., in), W (out, in)."""
    many = x.numel() * len(weight) > FEW and x.shape[-1] == weight.shape[1]
    if many and x.device.type == "cpu" and x.dtype == torch.float32 and reverse_mode_only(x, weight):
        product: Any = _Linear.apply
        y = cast(Tensor, product(x.flatten(0, -2), weight, bias))
        return y.view(*x.shape[:-1], len(weight))
    return functional.linear(x, weight, bias)


def add_linear(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """y += x W^T + b in place, for a Function: without derivatives, and without a second y, which is dearer to map than to fill."""
    rows = ROWS if y.device.type == "cpu" else max(1, len(y))
    for part, some in zip(y.split(rows), x.split(rows), strict=True):
        part += linear(some, weight, bias)


class Linear(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _Linear(Function):
    """As a convolution of the rows, each a pixel.

    torch has products made by MKL, which keeps to the narrow half of an AMD processor's vectors, and convolutions by oneDNN,
    which does not: 100k rows times 64 x 64 took 11 ms and 4. A dilation means nothing to one pixel, but without it one
    thread gets a loop of torch's own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        image = x[None, :, None].permute(0, 3, 1, 2)  # (1, in, rows, 1), the channels last in memory
        return functional.conv2d(image, weight[..., None, None], bias, dilation=2)[0, :, :, 0].T

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        need = ctx.needs_input_grad
        return (
            linear(g, weight.T) if need[0] else None,
            g.T @ x if need[1] else None,
            g.sum(0) if need[2] else None,
        )
