"""Derivatives in both directions on the same graph.

Forward mode carries one tangent from the inputs to the outputs in one traversal; reverse mode carries one cotangent back.
A Jacobian of f: R^n -> R^m takes n traversals forward or m in reverse, so `jacobian` takes the cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from .errors import CotanError
from .nodes import Request
from .values import is_live as is_live

Function = Callable[[Tensor], Tensor]


class Jacobian(NamedTuple):
    """d f / d x with the shape of f(x) followed by that of x; the direction taken; the derivative traversals it cost."""

    matrix: Tensor
    mode: str
    traversals: int


def forward(f: Function, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J tangent, by one forward traversal (jvp).

    >>> value, change = cotan.autodiff.forward(torch.sin, x, torch.ones_like(x))
    """
    if tangent.shape != x.shape:
        raise CotanError(f"tangent of shape {tuple(tangent.shape)} for an input of shape {tuple(x.shape)}")
    with torch.inference_mode(False), forward_ad.dual_level():
        value, change = forward_ad.unpack_dual(_tensor(f(forward_ad.make_dual(x.detach().clone(), tangent.to(x)))))
        return value.detach(), torch.zeros_like(value) if change is None else change.detach()


def reverse(f: Function, x: Tensor, cotangent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """f(x) and J^T cotangent, by one traversal back (vjp). A scalar f needs no cotangent.

    >>> value, gradient = cotan.autodiff.reverse(lambda x: x.square().sum(), x)
    """
    x, value = _recorded(f, x)
    if cotangent is None:
        if value.numel() != 1:
            raise CotanError(f"f(x) has shape {tuple(value.shape)}: give a cotangent of that shape")
        cotangent = torch.ones_like(value)
    return value.detach(), _pull(value, x, cotangent.to(value), keep=False)


def jacobian(f: Function, x: Tensor, *, mode: str = "auto") -> Jacobian:
    """The Jacobian, by the direction that takes fewer traversals ("auto"), or "forward" or "reverse".

    >>> J = cotan.autodiff.jacobian(f, x)
    >>> J.matrix, J.mode, J.traversals
    """
    if mode not in ("auto", "forward", "reverse"):
        raise CotanError(f"mode={mode!r}, expected auto, forward or reverse")
    if mode != "forward":
        x, value = _recorded(f, x)
        n, m = x.numel(), value.numel()
        if mode == "reverse" or m <= n:
            rows = [_pull(value, x, basis.view_as(value), keep=True) for basis in torch.eye(m).to(value)]
            matrix = torch.stack(rows) if rows else value.new_zeros(0, *x.shape)
            return Jacobian(matrix.reshape(*value.shape, *x.shape), "reverse", m)
    columns = [forward(f, x, basis.view_as(x))[1] for basis in torch.eye(x.numel()).to(x)]
    matrix = torch.stack(columns, -1)
    return Jacobian(matrix.reshape(*columns[0].shape, *x.shape), "forward", x.numel())


def along(what: Request | nn.Module, data: Any, *, wrt: str = "pos", **options: Any) -> Function:
    """A node or a model on a shape, as a function of one of its sources.

    >>> area = cotan.autodiff.along("mass", d)
    >>> cotan.autodiff.reverse(lambda pos: area(pos).sum(), d.pos)
    """
    if data.get(wrt) is None:
        raise CotanError(f"the data has no {wrt!r}; it has: {', '.join(data.keys())}")

    def function(value: Tensor) -> Any:
        from .application import apply
        from .evaluation import compute

        moved = data.clone() if value is data[wrt] else type(data)(**{**dict(data), wrt: value})
        if isinstance(what, nn.Module):
            return apply(what, moved)
        return compute(moved, what, dtype=value.dtype, **options)

    return function


def refuse_derivatives(pos: Tensor, what: str) -> None:
    """Raise where derivatives are asked of an operator that has none. `what` it is, for the message.

    >>> cotan.autodiff.refuse_derivatives(pos, "torus")
    """
    if is_live(pos):
        raise CotanError(f"{what} has no derivative with respect to pos; detach it")


def _recorded(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """A copy of x and f of it, with what autograd keeps: also in inference mode, where it would keep nothing."""
    with torch.inference_mode(False):
        x = x.detach().clone().requires_grad_()
        return x, _tensor(f(x))


def _pull(value: Tensor, x: Tensor, cotangent: Tensor, keep: bool) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(value, x, cotangent, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(x) if gradient is None else gradient


def _tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise CotanError(
            f"f gives a {type(value).__name__}; a derivative is taken of a tensor (for a Spectrum, of its values)"
        )
    return value
