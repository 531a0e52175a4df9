"""Spectral convolution by polynomials of the Laplacian, without eigenvectors."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import cotan
from cotan.blocks import by_blocks, empty
from cotan.dense import add_linear, cross
from cotan.errors import at_least
from cotan.sparse import ReverseMode, composed_gradients, replace_rows, reverse_mode_only

from .kernels import Polynomial
from .rescaled_laplacian import top

BESIDE = 160  # wide enough for the product with W, and not much to copy
WIDE = 32  # channels from which each W_k is worth a product of its own


@cotan.layer("chebyshev", invariant_to=("isometry", "scale"))
class Chebyshev(nn.Module):
    """y = sum_{k < order} T_k(L) x W_k + b, T_0 = 1, T_1 = L, T_k = 2 L T_{k-1} - T_{k-2} (ChebNet, Defferrard et al. 2016).

    L is the rescaled Laplacian. A vertex sees those at most order - 1 edges away.

    Arguments:
        order: the number of terms. bias: add b.
        kind: of `rescaled_laplacian`: "mesh" or "graph" (a mesh has both); by default what the data is.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim), B signals on one shape, -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, order: int = 5, bias: bool = True, kind: str | None = None):
        super().__init__()
        at_least(1, "chebyshev", order=order)
        if kind is not None:
            self.needs = {"rescaled_laplacian": cotan.node("rescaled_laplacian", kind=kind)}
        self.weight = nn.Parameter(torch.empty(order, in_dim, out_dim))
        bound = (6 / (in_dim + out_dim)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, rescaled_laplacian: cotan.Sparse) -> Tensor:
        if self.weight.shape[1] < self.weight.shape[2]:
            y = self.terms(x, rescaled_laplacian)
        elif self.in_place(x, rescaled_laplacian):
            # Asked for outside: there the transpose is kept for the next time.
            transposed = rescaled_laplacian.T if torch.is_grad_enabled() else None
            return _Clenshaw.apply(rescaled_laplacian, transposed, x, self.weight, self.bias)
        else:
            y = clenshaw(x, self.weight, rescaled_laplacian)
        return y if self.bias is None else y + self.bias

    def in_place(self, x: Tensor, laplacian: cotan.Sparse) -> bool:
        order, _, out_dim = self.weight.shape
        worth = order > 1 and out_dim >= WIDE
        return worth and reverse_mode_only(x, self.weight) and not laplacian.values.requires_grad

    def terms(self, x: Tensor, laplacian: cotan.Sparse) -> Tensor:
        """The terms side by side, some `BESIDE` channels at a time, then W: products of L with in_dim channels."""
        t = [x]
        for k in range(1, len(self.weight)):
            t.append(laplacian @ x if k == 1 else 2 * (laplacian @ t[-1]) - t[-2])
        few = max(1, BESIDE // x.shape[-1])
        parts = [torch.cat(t[i : i + few], -1) @ self.weight[i : i + few].flatten(0, 1) for i in range(0, len(t), few)]
        return sum(parts[1:], parts[0])

    def multipliers(self, u: Tensor, rescaled_laplacian: cotan.Sparse) -> Tensor:
        """The polynomials (N, in_dim, out_dim) at u (N,), eigenvalues of the Laplacian over its largest."""
        t = Polynomial(len(self.weight))(top(rescaled_laplacian) * u)  # (N, order)
        return torch.einsum("nk,kio->nio", t, self.weight)


def clenshaw(x: Tensor, weight: Tensor, laplacian: cotan.Sparse) -> Tensor:
    """W, then the same sum from its end (Clenshaw 1955): products of L with out_dim channels.

    b_k = x W_k + 2 L b_{k+1} - b_{k+2};  y = x W_0 + L b_1 - b_2. Nothing but x is kept for the gradient.
    """
    *parts, last = (x @ weight.transpose(0, 1).flatten(1)).split(weight.shape[2], -1)
    after = None
    for k in reversed(range(len(parts))):
        b = torch.add(parts[k], laplacian @ last, alpha=2 if k else 1)
        after, last = last, b if after is None else b - after
    return last


class _Clenshaw(ReverseMode):
    """`clenshaw` by blocks of rows, b_k in the place of b_{k+2}: nothing else is written.

    The gradients are x^T T_k(L^T) g for W_k and sum_k T_k(L^T) g W_k^T for x.
    """

    @staticmethod
    def forward(ctx: Any, laplacian: Any, transposed: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.matrices = laplacian, transposed
        ctx.save_for_backward(x, weight)
        order, in_dim, out_dim = weight.shape
        b = [empty((len(x), x.shape[1:].numel() // in_dim * out_dim), x) for _ in range(2)]
        twice = laplacian * 2

        def step(k: int, rows: slice) -> None:
            here = b[k % 2][rows]
            if k + 1 < order:
                replace_rows(here, twice if k else laplacian, b[(k + 1) % 2], rows, less=k + 2 < order)
            else:
                here.zero_()
            here = here.view(-1, out_dim)
            add_linear(here, _rows(x[rows]), weight[k].T)
            if bias is not None and not k:
                here += bias

        for k in reversed(range(order)):
            by_blocks(partial(step, k), x)
        return b[0].view(*x.shape[:-1], out_dim)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        laplacian, transposed = ctx.matrices
        g_bias = _rows(g).sum(0) if ctx.needs_input_grad[4] else None
        if torch.is_grad_enabled():  # a second derivative will be asked for
            y = clenshaw(x, weight, laplacian)
            return None, None, *composed_gradients(y, (x, weight), ctx.needs_input_grad[2:4], g), g_bias
        order, _, out_dim = weight.shape
        g = g.flatten(1).contiguous()
        # t_k = T_k(L^T) g, 2 L^T t_{k-1} - t_{k-2} in the place of t_{k-2}; but g stays.
        t = [g, *(empty(g.shape, g) for _ in range(min(2, order - 1)))]
        twice = transposed * 2
        g_x = empty((len(x), x.shape[1:].numel()), x) if ctx.needs_input_grad[2] else None

        def at(k: int) -> Tensor:
            return t[2 - k % 2 if k else 0]

        def step(k: int, rows: slice) -> Tensor:
            part = at(k)[rows]
            if k == 2:
                part.copy_(g[rows])
            if k:
                replace_rows(part, twice if k > 1 else transposed, at(k - 1), rows, less=k > 1)
            part = part.view(-1, out_dim)
            if g_x is not None:
                here = g_x[rows] if k else g_x[rows].zero_()
                add_linear(here.view(-1, x.shape[-1]), part, weight[k])
            return cross(_rows(x[rows]), part)

        g_weight = torch.stack([sum(by_blocks(partial(step, k), x)) for k in range(order)])
        return None, None, None if g_x is None else g_x.view(x.shape), g_weight, g_bias


def _rows(x: Tensor) -> Tensor:
    return x.flatten(0, -2)
