"""Products of many rows with small matrices, on a CPU at its full vector width.

torch multiplies float32 matrices by MKL, which keeps to 256 bits on processors that are not Intel's. oneDNN, in the same
torch, does not: on an EPYC of 2024 (Zen 5) it takes half the time.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as by_torch
from torch.nn.grad import conv2d_weight

from .blocks import ROWS, processor
from .errors import one_of
from .sums import ReverseMode, composed_gradients, reverse_mode_only

FEW, STEP, MANY = 512, 64, 2**14  # rows
WORTH = 2**22  # multiplications from which oneDNN is quicker, also in parts; twice as many of a sum over rows
NARROW, WIDE = 16, 128  # columns, and those of both, below which MKL sums over rows more quickly
WIDE_IN_HALVES = 320
AT_ONCE = 8 * 2039  # rows that `by_convolution` takes, so that they stay in the cache; eight times a prime, as ROWS
KNOWN = 32  # numbers of rows
_known = set(ROWS)
SCHEMA = "_linear_pointwise(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) -> Tensor Y"


class Step(nn.Module):
    """1 where x >= 0, else 0. Its gradient is zero everywhere, so nothing before it learns: for demonstration."""

    def forward(self, x: Tensor) -> Tensor:
        return (torch.sign(torch.sign(x) + 0.5) + 1) / 2  # of signs, since they have derivatives (zeros) in both modes


ACTIVATIONS = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": nn.Softmax,
    "step": Step,
}


def activation(name: str, channels: int = -1) -> nn.Module:
    """The function between affine maps: none, relu, gelu, elu, tanh, sigmoid, softmax (over the axis `channels`) or step."""
    one_of("activation", name, ACTIVATIONS)
    return nn.Softmax(channels) if name == "softmax" else ACTIVATIONS[name]()


class Linear(nn.Linear):
    """y = x W^T + b: torch's, and equal to it but for rounding."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b for x (V, in), W (out, in), b (out,)."""
    if x.ndim == 2 and x.shape[1] == weight.shape[1] and pays(x, weight, len(weight)):  # else torch says what is wrong
        if not torch.is_grad_enabled():
            return rows_times(x, weight, bias)
        return _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return by_torch(x, weight, bias)


def pays(x: Tensor, y: Tensor, each: float) -> bool:
    """Whether oneDNN is to multiply them: plain float32 on a CPU, many rows, and enough work.

    each: how many multiplications a number of x takes part in.
    """
    here = x.dtype == torch.float32 and x.device.type == y.device.type == "cpu"
    plain = here and reverse_mode_only(x, y)  # compiled code asks for no size
    return plain and len(x) >= FEW and x.numel() * each >= WORTH and wider()


class _Linear(ReverseMode):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return rows_times(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, bias = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a second derivative will be asked for
            return tuple(composed_gradients(by_torch(x, weight, bias), (x, weight, bias), ctx.needs_input_grad, g))
        return (
            rows_times(g, weight.T) if of_x else None,
            cross(g, x) if of_weight else None,
            g.sum(0) if of_bias else None,
        )


def rows_times(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, each row the same to the last digit, whether by itself or in parts."""
    if known(len(x)):
        return by_onednn(x, weight, bias)
    n = len(x) - len(x) % STEP
    tail = x.new_zeros(STEP, x.shape[1])
    tail[: len(x) - n] = x[n:]
    return torch.cat([by_onednn(x[:n], weight, bias), by_onednn(tail, weight, bias)[: len(x) - n]])


def add_linear(out: Tensor, x: Tensor, weight: Tensor) -> None:
    """out + x W^T in the place of `out`, for a Function."""
    if pays(x, weight, len(weight)):
        out += rows_times(x, weight)
    else:
        out.addmm_(x, weight.T)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """a^T b (A, B), a sum over many rows, for a Function: a (V, A), b (V, B)."""
    if a.shape[1] > b.shape[1]:
        return cross(b, a).T  # the narrower one first: quicker by MKL too
    convolved = len(a) >= MANY or (len(a) in ROWS and not in_halves())
    both = a.shape[1] + b.shape[1]
    narrow = a.shape[1] < NARROW if convolved else both < (WIDE_IN_HALVES if in_halves() else WIDE)
    if narrow or not pays(a, b, b.shape[1] / 2):
        return a.T @ b
    if convolved:
        return by_convolution(a, b)
    n = len(a) - len(a) % STEP  # whatever came before, so that numbers repeat
    out = by_onednn(a[:n].T.contiguous(), b[:n].T)
    return out.addmm_(a[n:].T, b[n:]) if n < len(a) else out


def by_convolution(a: Tensor, b: Tensor) -> Tensor:
    """a^T b as the gradient of the weights of a convolution whose pixels are the rows.

    oneDNN need not transpose them then: the quickest way for many rows, or for few that are in the cache. The dilation changes
    nothing for filters of one pixel, but without it torch takes a loop of its own on one thread.
    """
    size = (a.shape[1], b.shape[1], 1, 1)
    each = zip(a.split(AT_ONCE), b.split(AT_ONCE), strict=True)
    return torch.stack([conv2d_weight(pixels(y), size, pixels(x), dilation=2)[:, :, 0, 0] for x, y in each]).sum(0)


def pixels(x: Tensor) -> Tensor:
    """(1, channels, rows, 1), the channels last in memory."""
    return x[None, :, None].permute(0, 3, 1, 2)


def known(rows: int) -> bool:
    """Whether oneDNN may get so many rows in one piece.

    It compiles a kernel for each new number of rows, which takes 0.5 ms. That is worth it for many rows, and for the first
    few numbers met, which come again where shapes are alike.
    """
    if rows < MANY and rows % STEP and len(_known) < KNOWN:
        _known.add(rows)
    return rows >= MANY or rows % STEP == 0 or rows in _known


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if not (weight.is_contiguous() or weight.T.is_contiguous()):  # with other strides it takes a thousand times as long
        weight = weight.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def wider() -> bool:
    """Whether oneDNN is there, takes the call made here, and uses 512 bits where MKL does not."""
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not there or SCHEMA not in str(torch.ops.mkldnn._linear_pointwise.default._schema):
        return False
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and torch.backends.mkl.is_available() and "AuthenticAMD" in processor()


@cache
def in_halves() -> bool:
    """Whether 512 bits are two times 256, as in AMD's family 25 (Zen 4): what is copied for oneDNN then seldom pays."""
    return re.search(r"family\s*:? *25\b", processor(), re.IGNORECASE) is not None
