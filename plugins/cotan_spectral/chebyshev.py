"""Spectral convolution by polynomials of the Laplacian, without eigenvectors."""

from typing import Any

import torch
from torch import Tensor, nn

import cotan
from cotan.dense import add_linear, cross
from cotan.sparse import composed_gradients, reverse_mode_only

BESIDE = 160  # wide enough for the product with W, and not much to copy
WIDE = 32  # channels from which each W_k is worth a product of its own


@cotan.layer("chebyshev", invariant_to=("isometry", "scale"))
class Chebyshev(nn.Module):
    """y = sum_{k < order} T_k(L) x W_k + b, T_0 = 1, T_1 = L, T_k = 2 L T_{k-1} - T_{k-2} (Defferrard et al. 2016).

    L is the rescaled Laplacian. A vertex sees those at most order - 1 edges away.

    Arguments:
        order: the number of terms. bias: add b.
        kind: of `rescaled_laplacian`: "mesh" or "graph" (a mesh has both); by default what the data is.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim), B signals on one shape, -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, order: int = 5, bias: bool = True, kind: str | None = None):
        super().__init__()
        if order < 1:
            raise cotan.CotanError(f"chebyshev: order={order}, expected a positive whole number")
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
            t.append(times(laplacian, x) if k == 1 else 2 * times(laplacian, t[-1]) - t[-2])
        few = max(1, BESIDE // x.shape[-1])
        parts = [torch.cat(t[i : i + few], -1) @ self.weight[i : i + few].flatten(0, 1) for i in range(0, len(t), few)]
        return sum(parts[1:], parts[0])

    def multipliers(self, u: Tensor) -> Tensor:
        """The polynomials (N, in_dim, out_dim) at u (N,), eigenvalues over the largest, 2 u - 1 of the rescaled Laplacian."""
        t = [torch.ones_like(u), 2 * u - 1]
        for _ in range(len(self.weight) - 2):
            t.append(2 * (2 * u - 1) * t[-1] - t[-2])
        return torch.einsum("kn,kio->nio", torch.stack(t[: len(self.weight)]), self.weight)


def clenshaw(x: Tensor, weight: Tensor, laplacian: cotan.Sparse) -> Tensor:
    """W, then the same sum from its end (Clenshaw 1955): products of L with out_dim channels.

    b_k = x W_k + 2 L b_{k+1} - b_{k+2};  y = x W_0 + L b_1 - b_2. Nothing but x is kept for the gradient.
    """
    *parts, last = (x @ weight.transpose(0, 1).flatten(1)).split(weight.shape[2], -1)
    after = None
    for k in reversed(range(len(parts))):
        b = torch.add(parts[k], times(laplacian, last), alpha=2 if k else 1)
        after, last = last, b if after is None else b - after
    return last


class _Clenshaw(torch.autograd.Function):
    """`clenshaw` in place: each product with W_k is added to what L gave, so a step touches memory only once.

    The gradients are x^T T_k(L^T) g for W_k and sum_k T_k(L^T) g W_k^T for x.
    """

    @staticmethod
    def forward(ctx: Any, laplacian: Any, transposed: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.matrices = laplacian, transposed
        ctx.save_for_backward(x, weight)
        after, last = None, cotan.linear(x, weight[-1].T)
        for k in reversed(range(len(weight) - 1)):
            b = times(laplacian, last)
            if k and after is not None:
                b.lerp_(after, -1)  # 2 L b_{k+1} - b_{k+2}
            elif k:
                b.mul_(2)
            elif after is not None:
                b.sub_(after)
            add_linear(b, x, weight[k].T, None if k else bias)
            after, last = last, b
        return last

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        laplacian, transposed = ctx.matrices
        g_bias = _rows(g).sum(0) if ctx.needs_input_grad[4] else None
        if torch.is_grad_enabled():  # a second derivative will be asked for
            y = clenshaw(x, weight, laplacian)
            return None, None, *composed_gradients(y, (x, weight), ctx.needs_input_grad[2:4], g), g_bias
        before, last = None, g.contiguous()
        g_x = cotan.linear(last, weight[0]) if ctx.needs_input_grad[2] else None
        g_weight = torch.empty_like(weight)
        for k, w in enumerate(weight):  # last = T_k(L^T) g
            if k and g_x is not None:
                add_linear(g_x, last, w)
            g_weight[k] = cross(_rows(x), _rows(last))
            if k + 1 < len(weight):
                after = times(transposed, last)
                before, last = last, after if before is None else after.lerp_(before, -1)
        return None, None, g_x, g_weight, g_bias


def _rows(x: Tensor) -> Tensor:
    return x.flatten(0, -2)


def times(matrix: cotan.Sparse, x: Tensor) -> Tensor:
    """A x for a signal with any number of trailing dimensions."""
    return matrix @ x if x.ndim < 3 else (matrix @ x.flatten(1)).view(-1, *x.shape[1:])
