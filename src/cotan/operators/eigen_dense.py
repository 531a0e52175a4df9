"""Small matrices: their k smallest pairs by way of a tridiagonal matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.linalg.lapack import dgtsv, dormqr, dsterf, dsytrd

from .eigen_factor import Array
from .eigen_refine import Found, Shifted, has_constants, polish, residual, zero

MIXED = 1e-8  # how much of the constants the other vectors may hold
WORK = 64  # columns that LAPACK treats at once
PARALLEL = 0.01  # product of two vectors found one by one from which they are not told apart


def dense_pairs(L: Any, m: Array, k: int, tolerance: float) -> Found:
    """The k smallest pairs of A = M^-1/2 L M^-1/2: values (k,), orthonormal rows (k, V), errors (k,).

    Where entries differ by many orders of magnitude, LAPACK's error, relative to the largest of them, is too much for
    the smallest eigenvalues: these pairs are polished.
    """
    scale = (2 * m) ** -0.5
    A = L.toarray()
    A *= scale
    A *= scale[:, None]
    A += A.T.copy()
    values, U = some_pairs(A, k) or all_pairs(A, k)
    errors = np.linalg.norm(U @ A - values[:, None] * U, axis=1)
    tiny = zero(A.diagonal())
    worst, constant = residual(values, errors, tiny), has_constants(L)
    mixed = constant and float(abs(U[1:] @ m**0.5).max(initial=0)) > MIXED * float(m.sum()) ** 0.5
    if (worst > tolerance or mixed) and len(m) > 1:
        better = polish(Shifted(L, m), U[int(constant) :], tolerance)
        if mixed or residual(better[0], better[2], tiny) < worst:
            return better
    return values, U, errors


def all_pairs(A: Array, k: int) -> tuple[Array, Array]:
    """The first k of all pairs of A (V, V): values (k,), rows (k, V)."""
    values, psi = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(A)))
    return values[:k], np.ascontiguousarray(psi[:, :k].T)


def some_pairs(A: Array, k: int) -> tuple[Array, Array] | None:
    """The k smallest pairs of A alone; None where eigenvalues lie so close that their vectors are not told apart.

    A = Q T Q^T with T tridiagonal. All eigenvalues of T cost little, and one solve with T - lambda_i, in O(V), gives a
    vector: inverse iteration from an eigenvalue as exact as it gets ends after a step, which is done twice.
    """
    size = len(A)
    if size < 3 or 2 * k > size:
        return None
    reflections, diagonal, off, tau, _ = dsytrd(A.T, lower=1, lwork=WORK * size)
    most = float(np.abs(diagonal).max()) or 1.0
    diagonal, off = diagonal / most, off / most
    values = dsterf(diagonal, off)[0][:k]
    start = np.random.default_rng(0).standard_normal(size)
    V = np.empty((k, size))
    for i, value in enumerate(values):
        y = start
        for _ in range(2):
            *_, y, singular = dgtsv(off, diagonal - value, off, y)
            if singular:
                return None
        V[i] = y
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    G = V @ V.T
    G.flat[:: k + 1] -= 1
    if not np.abs(G).max() < PARALLEL:
        return None
    for _ in range(3):  # the orthonormal vectors nearest to these (Newton and Schulz): V - (V V^T - 1) V / 2 ...
        V -= G @ V / 2
        G = V @ V.T
        G.flat[:: k + 1] -= 1
        if np.abs(G).max() < 1e-14:
            break
    V[:, 1:] = dormqr("L", "N", reflections[1:, :-1], tau, V[:, 1:].T, WORK * size)[0].T
    return most * values, V
