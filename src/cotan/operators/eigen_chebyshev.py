"""Chebyshev-filtered subspace iteration: products with the matrix and nothing else, so it runs where the matrix lies.

A polynomial of degree d that is small on [c, b], b above all eigenvalues, multiplies what is wanted, below c, by up to
cosh(d arccosh(...)) (Zhou, Saad, Tiago and Chelikowsky 2006); the subspace is wider than k, so that no multiple
eigenvalue is missed, and c is its largest Ritz value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..sparse import Sparse

ROUNDS, DEGREES = 30, (20, 200)


def chebyshev_pairs(matrix: Sparse, mass: Tensor, k: int, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """The k smallest pairs: values (k,), vectors (V, k); None where the tolerance was not met."""
    scale = mass.double().rsqrt()
    A = Sparse(matrix.pattern, matrix.values.double() * scale[matrix.row] * scale[matrix.col])
    bound = float(A.with_values(A.values.abs()).sum_rows().max()) or 1.0  # Gershgorin
    size, width = len(scale), min(len(scale), k + max(16, k // 4))
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(size, width, dtype=torch.float64, generator=generator).to(scale.device)
    X = torch.linalg.qr(X).Q
    cut = bound / 4
    for _ in range(ROUNDS):
        low, high = DEGREES
        X = torch.linalg.qr(_filter(A, X, cut, bound, degree=int(min(high, max(low, 4 * (bound / cut) ** 0.5))))).Q
        AX = A @ X
        H = X.mT @ AX
        values, Y = torch.linalg.eigh((H + H.mT) / 2)
        X, AX = X @ Y, AX @ Y
        error = (AX - X * values)[:, :k].norm(dim=0)
        above = values[values > 1e-11 * bound]
        least = above[0] if len(above) else values.new_tensor(bound)
        if float((error / values[:k].clamp(min=float(least))).max()) <= tolerance:
            return values[:k].clamp(min=0), X[:, :k] * scale[:, None]
        cut = max(float(values[-1]), 1e-9 * bound)
    return None


def _filter(A: Sparse, X: Tensor, cut: float, bound: float, degree: int) -> Tensor:
    """T_degree((A - c) / e) X with c, e the middle and half width of [cut, bound], scaled to stay finite near 0."""
    half, middle = (bound - cut) / 2, (bound + cut) / 2
    sigma = -half / middle
    first = sigma
    Y = (A @ X - middle * X) * (sigma / half)
    for _ in range(degree - 1):
        after = 1 / (2 / first - sigma)
        X, Y = Y, (A @ Y - middle * Y) * (2 * after / half) - (sigma * after) * X
        sigma = after
    return Y
