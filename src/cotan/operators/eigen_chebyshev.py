"""Chebyshev-filtered subspace iteration: products with the matrix and nothing else, so it runs where the matrix lies.

A polynomial of degree d that is small on [c, b], b above all eigenvalues, multiplies what is wanted, below c, by up to
cosh(d arccosh(...)) (Zhou, Saad, Tiago and Chelikowsky 2006); the subspace is wider than k, so that no multiple
eigenvalue is missed, and c is its largest Ritz value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..sparse import Sparse
from .eigen_refine import Found, Shifted, residual
from .factor import Array

ROUNDS, DEGREES = 60, (20, 200)


def chebyshev_pairs(L: Any, m: Array, k: int, tolerance: float, device: torch.device) -> Found | None:
    """The k smallest pairs of A = M^-1/2 L M^-1/2: values (k,), orthonormal rows (k, V), errors (k,), all on the host.

    None where the tolerance was not met.
    """
    shifted = Shifted(L, m)
    A = Sparse.from_scipy(shifted.A).to(device)
    bound = float(A.with_values(A.values.abs()).sum_rows().max()) or 1.0  # Gershgorin
    lowest = shifted.lowest if shifted.constant else np.empty((0, len(m)))  # another would take a factor to find
    known = torch.from_numpy(lowest).to(device).mT  # (V, 1) or (V, 0)
    want, size = k - known.shape[1], len(m)
    width = min(size - known.shape[1], want + max(16, k // 4))
    X = torch.randn(size, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    cut = bound / 4
    for _ in range(ROUNDS):
        low, high = DEGREES
        X = _filter(A, X, cut, bound, degree=int(min(high, max(low, 4 * (bound / cut) ** 0.5))))
        X = torch.linalg.qr(torch.cat([known, X], 1)).Q[:, known.shape[1] :]
        AX = A @ X
        H = X.mT @ AX
        ritz, Y = torch.linalg.eigh((H + H.mT) / 2)
        X, AX = X @ Y, AX @ Y
        errors = (AX - X * ritz)[:, :want].norm(dim=0)
        if residual(ritz.cpu().numpy(), errors.cpu().numpy(), shifted.tiny) <= tolerance:
            U = torch.cat([known, X[:, :want]], 1).mT.contiguous().cpu().numpy()
            values = np.concatenate([np.zeros(len(lowest)), ritz[:want].cpu().numpy()])
            return values, U, shifted.errors(values, U)
        cut = max(float(ritz[-1]), 1e-9 * bound)
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
