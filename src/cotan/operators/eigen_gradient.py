"""First-order derivatives of eigenpairs, forward and backward, hung onto pairs that were found without autograd.

With L phi = lambda M phi and phi^T M phi = I,

    d lambda_i = phi_i^T r_i,    r_i = dL phi_i - lambda_i dM phi_i
    d phi_i = sum_{j != i} phi_j (phi_j^T r_i) / (lambda_i - lambda_j) - phi_i (phi_i^T dM phi_i) / 2

where j runs over all V pairs. What lies off the K that are known is the solution of (L - lambda_i M) y = -r_i there,
which conjugate gradients find. Equal eigenvalues are left out of the sum.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import CotanError
from ..sparse import ReverseMode, Sparse
from ..values import is_live

EQUAL = 1e-7  # relative gap below which two eigenvalues are one


def attach(matrix: Sparse, mass: Tensor, values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs as functions of the matrix's entries and the mass, to first order."""
    values, vectors = values.to(matrix.dtype), vectors.to(matrix.dtype)
    if not (is_live(matrix.values) or is_live(mass)):
        return values, vectors
    L, m = matrix, mass.to(matrix.dtype)
    r = L @ vectors - m[:, None] * vectors * values  # (V, K), zero but for its derivative
    norm = (m[:, None] * vectors**2).sum(0)  # (K,) one but for its derivative
    fixed = Sparse(L.pattern, _plain(L.values)), _plain(m)
    return _Pairs.apply(r, norm, values, vectors, *fixed)  # type: ignore[no-untyped-call]


class _Pairs(ReverseMode):
    @staticmethod
    def forward(
        r: Tensor, norm: Tensor, values: Tensor, vectors: Tensor, L: Sparse, mass: Tensor
    ) -> tuple[Tensor, Tensor]:
        return values.clone(), vectors.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        r, _, values, vectors, ctx.L, mass = inputs
        ctx.save_for_backward(values, vectors, mass, r)
        ctx.save_for_forward(values, vectors, mass, r)

    @staticmethod
    def backward(ctx: Any, d_values: Tensor, d_vectors: Tensor) -> Any:
        values, phi, mass, r = ctx.saved_tensors
        with torch.no_grad():
            along = phi.mT @ d_vectors  # (K, K)
            d_r = phi * d_values + phi @ (along * _gaps(values)) - _off(ctx.L, mass, values, phi, d_vectors)
            d_norm = -0.5 * along.diagonal()
        return *_Once.apply(d_r, d_norm, r, d_values, d_vectors), None, None, None, None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, d_r: Tensor, d_norm: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        values, phi, mass, r = ctx.saved_tensors
        with torch.no_grad():
            along = phi.mT @ d_r  # (K, K)
            d_phi = phi @ (along * _gaps(values)) - _off(ctx.L, mass, values, phi, d_r) - 0.5 * phi * d_norm
        return _Once.apply(along.diagonal(), d_phi, r, d_r, d_norm)  # type: ignore[no-untyped-call, no-any-return]


class _Once(torch.autograd.Function):
    """What it is given first, refusing derivatives with respect to all that this was computed of."""

    @staticmethod
    def forward(a: Tensor, b: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        return a.clone(), b.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise CotanError("spectrum: a second derivative, expected first ones alone: its pairs have no others")

    jvp = backward


def _gaps(values: Tensor) -> Tensor:
    """(K, K) 1 / (lambda_i - lambda_j) in row j, column i; 0 between equal eigenvalues."""
    gap = values[None, :] - values[:, None]
    apart = gap.abs() > EQUAL * values.abs().max().clamp(min=torch.finfo(values.dtype).tiny)
    return torch.where(apart, 1 / torch.where(apart, gap, 1), 0)


def _off(L: Sparse, mass: Tensor, values: Tensor, phi: Tensor, b: Tensor) -> Tensor:
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


def _plain(x: Tensor) -> Tensor:
    return torch.autograd.forward_ad.unpack_dual(x).primal.detach()
