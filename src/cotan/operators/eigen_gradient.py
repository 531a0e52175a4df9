"""Derivatives of eigenpairs, forward and backward, hung onto pairs that were found without autograd.

With L phi = lambda M phi and phi^T M phi = I,

    d lambda_i = phi_i^T r_i,    r_i = dL phi_i - lambda_i dM phi_i
    d phi_i = sum_{j != i} phi_j (phi_j^T r_i) / (lambda_i - lambda_j) - phi_i (phi_i^T dM phi_i) / 2

where j runs over all V pairs. What lies off the K that are known is the solution of (L - lambda_i M) y = -r_i there,
which conjugate gradients find. Equal eigenvalues are left out of the sum. All of it is made of what has derivatives, so
that where eigenvalues are simple there are second ones, and further.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..errors import CotanError
from ..sparse import Pattern, ReverseMode, Sparse, sampled
from ..sums import below, looped
from ..values import is_live

EQUAL = 1e-7  # relative gap below which two eigenvalues are one


def attach(matrix: Sparse, mass: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs as functions of the matrix's entries and the mass."""
    values, vectors = values.to(matrix.dtype), vectors.to(matrix.dtype)
    if not (is_live(matrix.values) or is_live(mass)):
        return values, vectors
    return _Pairs.apply(matrix.pattern, matrix.values, mass.to(matrix.dtype), values, vectors)  # type: ignore[no-any-return, no-untyped-call]


class _Pairs(ReverseMode):
    @staticmethod
    def forward(pattern: Pattern, L: Tensor, mass: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return values.clone(), vectors.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.pattern, *live = inputs[:3]
        ctx.save_for_backward(*live, *output)
        ctx.save_for_forward(*live, *output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, d_values: Tensor | None, d_vectors: Tensor | None) -> Any:
        L, mass, values, phi = ctx.saved_tensors
        d_r, d_mass = torch.zeros_like(phi), torch.zeros_like(mass)
        if d_values is not None:
            d_r = phi * d_values
        if d_vectors is not None:
            along = phi.mT @ d_vectors  # (K, K)
            d_r = d_r + phi @ (along * _gaps(values)) - _off(ctx.pattern, L, mass, values, phi, d_vectors)
            d_mass = -0.5 * (phi**2 @ along.diagonal())
        d_L, d_mass = sampled(ctx.pattern, d_r, phi), d_mass - (d_r * phi) @ values
        return None, *_simple(values, d_L, d_mass), None, None

    @staticmethod
    @below
    def jvp(ctx: Any, _: Any, d_L: Tensor | None, d_mass: Tensor | None, *__: Any) -> tuple[Tensor, Tensor]:
        L, mass, values, phi = ctx.saved_tensors
        r, d_phi = torch.zeros_like(phi), torch.zeros_like(phi)
        if d_L is not None:
            r = Sparse(ctx.pattern, d_L) @ phi
        if d_mass is not None:
            r = r - d_mass[:, None] * phi * values
            d_phi = -0.5 * phi * (d_mass @ phi**2)
        along = phi.mT @ r  # (K, K)
        d_phi = d_phi + phi @ (along * _gaps(values)) - _off(ctx.pattern, L, mass, values, phi, r)
        return _simple(values, along.diagonal(), d_phi)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return looped(_Pairs.apply, info.batch_size, in_dims, *args)


def _gaps(values: Tensor) -> Tensor:
    """(K, K) 1 / (lambda_i - lambda_j) in row j, column i; 0 between equal eigenvalues."""
    gap, apart = values[None, :] - values[:, None], _apart(values)
    return torch.where(apart, 1 / torch.where(apart, gap, 1), 0)


def _apart(values: Tensor) -> Tensor:
    """(K, K) whether two eigenvalues are two."""
    gap = values[None, :] - values[:, None]
    return gap.abs() > EQUAL * values.abs().max().clamp(min=torch.finfo(values.dtype).tiny)


def _simple(values: Tensor, *derivatives: Tensor) -> Any:
    """Derivatives, whose own are refused where eigenvalues are equal."""
    equal = (~_apart(values)).sum() > len(values)
    return _Once.apply(*derivatives, values) if bool(equal) else derivatives  # type: ignore[no-untyped-call]


class _Once(Function):
    """What it is given first, refusing derivatives with respect to all that this was computed of."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        return a.clone(), b.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise CotanError("spectrum: a second derivative where eigenvalues are equal, expected first ones alone")

    jvp = backward


def _off(pattern: Pattern, L: Tensor, mass: Tensor, values: Tensor, phi: Tensor, b: Tensor) -> Tensor:
    """(L - lambda_i M)^-1 b_i off the known pairs."""
    return _Off.apply(pattern, L, mass, mass[:, None] * phi, values, phi, b)  # type: ignore[no-any-return, no-untyped-call]


class _Off(ReverseMode):
    """y_i with A_i y_i + W z_i = b_i and W^T y_i = 0, where A_i = L - lambda_i M and W = M phi: then z = phi^T b.

    At the eigenpairs the inverse of these equations takes a right-hand side (b, c) to y = S b + phi c, S as in `_solved`,
    which gives all derivatives: of (db - dA y - dW z, -dW^T y).
    """

    @staticmethod
    def forward(pattern: Pattern, L: Tensor, mass: Tensor, W: Tensor, values: Tensor, phi: Tensor, b: Tensor) -> Tensor:
        return _solved(Sparse(pattern, L), mass, values, phi, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.pattern, *live = inputs
        ctx.save_for_backward(*live, output)
        ctx.save_for_forward(*live, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        L, mass, _, values, phi, b, y = ctx.saved_tensors
        u = _off(ctx.pattern, L, mass, values, phi, g)
        g_W = -u @ (b.mT @ phi) - y @ (g.mT @ phi)
        g_values = (mass[:, None] * u * y).sum(0)
        return None, -sampled(ctx.pattern, u, y), (u * y) @ values, g_W, g_values, None, u

    @staticmethod
    @below
    def jvp(
        ctx: Any, _p: Any, d_L: Tensor, d_mass: Tensor, d_W: Tensor, d_values: Tensor, _phi: Any, d_b: Tensor
    ) -> Any:
        L, mass, _, values, phi, b, y = ctx.saved_tensors
        d_Ay = Sparse(ctx.pattern, d_L) @ y - (d_mass[:, None] * values + mass[:, None] * d_values) * y
        right = d_b - d_Ay - d_W @ (phi.mT @ b)
        return _off(ctx.pattern, L, mass, values, phi, right) - phi @ (d_W.mT @ y)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        return looped(_Off.apply, info.batch_size, in_dims, *args)


def _solved(L: Sparse, mass: Tensor, values: Tensor, phi: Tensor, b: Tensor) -> Tensor:
    """(L - lambda_i M)^-1 b_i off the known pairs, where it is positive definite.

    Conjugate gradients for all columns at once, preconditioned by the diagonal of L.
    """
    if phi.shape[0] == phi.shape[1] or not bool(b.any()):
        return torch.zeros_like(b)

    def off(x: Tensor) -> Tensor:  # a vector, made M-orthogonal to the known pairs
        return x - phi @ (phi.mT @ (mass[:, None] * x))

    def dual(x: Tensor) -> Tensor:  # a right-hand side, likewise
        return x - mass[:, None] * (phi @ (phi.mT @ x))

    diagonal = L.diagonal()
    inverse = 1 / torch.where(diagonal > 0, diagonal, diagonal.abs().mean() + mass)[:, None]
    x, residual = torch.zeros_like(b), dual(b)
    z = off(inverse * residual)
    p, rho = z, (residual * z).sum(0)
    goal = 1e-20 * rho
    for _ in range(10 * len(b)):
        Ap = dual(L @ p - mass[:, None] * p * values)
        curvature = (p * Ap).sum(0)
        step = torch.where((rho > goal) & (curvature > 0), rho / torch.where(curvature > 0, curvature, 1), 0)
        if not bool(step.any()):
            break
        x, residual = x + step * p, residual - step * Ap
        z = off(inverse * residual)
        after = (residual * z).sum(0)
        p, rho = z + torch.where(rho > 0, after / torch.where(rho > 0, rho, 1), 0) * p, after
    return off(x)
