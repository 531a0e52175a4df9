"""(M + t L)^-1 b: one factorisation on the CPU, conjugate gradients on CUDA; with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import CotanError
from ..sparse import Pattern, Sparse


def shifted_solve(laplacian: Sparse, mass: Tensor, time: float | Tensor, right: Tensor) -> Tensor:
    """Solve (M + t L) y = b for a symmetric L.

    Arguments:
        laplacian: (V, V). mass: (V,). time: t > 0. right: b (V, C), in float64.
    """
    matrix = laplacian * time
    solve = _factorised if laplacian.device.type == "cpu" else _iterated
    return _solve(matrix.values, mass, right, matrix.pattern, solve(matrix, mass.detach()))


def _solve(values: Tensor, mass: Tensor, right: Tensor, pattern: Pattern, solve: Callable[[Tensor], Tensor]) -> Tensor:
    solution: Tensor = _Solve.apply(values, mass, right, pattern, solve)  # type: ignore[no-untyped-call]
    return solution


class _Solve(torch.autograd.Function):
    """y(A, m, b) with (diag(m) + A) y = b, so dy = (diag(m) + A)^-1 (db - dm y - dA y)."""

    @staticmethod
    def forward(
        values: Tensor, mass: Tensor, right: Tensor, pattern: Pattern, solve: Callable[[Tensor], Tensor]
    ) -> Tensor:
        return solve(right.detach())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        values, mass, _, ctx.pattern, ctx.solve = inputs
        ctx.save_for_backward(values, mass, output)
        ctx.save_for_forward(values, mass, output)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        values, mass, y = ctx.saved_tensors
        back = _solve(values, mass, grads[0], ctx.pattern, ctx.solve)
        along = -(back[ctx.pattern.row] * y[ctx.pattern.col]).sum(1)
        return along, -(back * y).sum(1), back, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        values, mass, y = ctx.saved_tensors
        d_values, d_mass, d_right = tangents[:3]
        right = torch.zeros_like(y) if d_right is None else d_right
        if d_mass is not None:
            right = right - d_mass[:, None] * y
        if d_values is not None:
            right = right - Sparse(ctx.pattern, d_values) @ y
        return _solve(values, mass, right, ctx.pattern, ctx.solve)


def _factorised(matrix: Sparse, mass: Tensor) -> Callable[[Tensor], Tensor]:
    from scipy.sparse import csc_array, diags_array
    from scipy.sparse.linalg import splu

    # Symmetric: the CSR of the matrix is the CSC that is asked for.
    factor = splu(csc_array(matrix.to_scipy().T + diags_array(mass.cpu().numpy())).astype("float64"))
    return lambda b: torch.from_numpy(factor.solve(b.double().numpy())).to(b.dtype)


def _iterated(matrix: Sparse, mass: Tensor) -> Callable[[Tensor], Tensor]:
    values = Sparse(matrix.pattern, matrix.values.detach())
    inverse = 1 / (values.diagonal() + mass)[:, None]

    def solve(b: Tensor) -> Tensor:
        """Conjugate gradients scaled by the diagonal, each column by itself, to 1e-10 of |b|."""
        x, r = torch.zeros_like(b), b.clone()
        d = inverse * r
        rho = (r * d).sum(0)
        enough = 1e-10 * b.norm(dim=0)
        for step in range(20 * len(b) + 100):
            if step % 20 == 0 and bool((r.norm(dim=0) <= enough).all()):
                return x
            image = mass[:, None] * d + values @ d
            alpha = rho / (d * image).sum(0).clamp_min(torch.finfo(b.dtype).tiny)
            x, r = x + alpha * d, r - alpha * image
            scaled = inverse * r
            rho, before = (r * scaled).sum(0), rho
            d = scaled + rho / before.clamp_min(torch.finfo(b.dtype).tiny) * d
        raise CotanError(
            "heat_diffusion: conjugate gradients did not converge; shorten the time, or compute on the CPU"
        )

    return solve
