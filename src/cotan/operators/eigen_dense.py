"""Small matrices: their k smallest pairs by way of a tridiagonal matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .eigen_refine import Found, Shifted, has_constants, polish, residual, residuals, rounded_zero, scaled
from .factor import Array
from .lapack import lapack

FEW = 1024  # vertices up to which an inverse takes half a second
MIXED = 1e-8  # how much of the constants the other vectors may hold
WORK = 64  # columns that LAPACK treats at once
ORTHONORMAL = 1e-11  # what products of the vectors may miss


def dense_pairs(L: Any, m: Array, k: int, tolerance: float) -> Found:
    """The k smallest pairs of A = M^-1/2 L M^-1/2, L CSR: values (k,), orthonormal rows (k, V), errors (k,).

    Where entries differ by many orders of magnitude, LAPACK's error, relative to the largest of them, is too much for
    the smallest eigenvalues: these pairs are polished.
    """
    A = scaled(L, m)
    dense = A.toarray()
    return polished(L, m, A, *(some_pairs(dense, k) or all_pairs(dense, k)), tolerance)


def polished(L: Any, m: Array, A: Any, values: Array, U: Array, tolerance: float) -> Found:
    """The pairs of A that a dense solver found, polished where they have to be."""
    errors, constant = np.linalg.norm(A @ U.T - U.T * values, axis=0), has_constants(L)
    tiny = rounded_zero(A.diagonal())
    if constant:
        values[0], errors[0] = 0, 0
    mixed = constant & (abs(U @ m**0.5) > MIXED * float(m.sum()) ** 0.5)
    mixed[0] = False
    left = residuals(values, errors, tiny)
    bad = (left > tolerance) | mixed
    if bad.any() and len(m) > 1:
        shifted = Shifted(L, m)
        known = len(shifted.lowest)
        if len(m) <= FEW:
            low = max(int(bad.nonzero()[0][-1]), known) + 1
            start = smallest_by_inverse(shifted, low - known)
        else:
            low, start = len(U), U[known:]
        better = beside(A, polish(shifted, start, tolerance), U[low:])
        if mixed.any() or residual(better[0], better[2], tiny) < left.max():
            return better
    return values, U, errors


def smallest_by_inverse(shifted: Shifted, k: int) -> Array:
    """The rows (k, V) that belong to the k largest eigenvalues of the inverse, off the lowest one.

    Where the largest eigenvalue of A is 1e12 times the smallest, its rounding mixes the smallest ones by more than rounds
    of inverse iteration take out. In the inverse these are the largest.
    """
    off = np.eye(shifted.size) - shifted.lowest.T @ shifted.lowest
    inverse = off @ shifted.solve(off)
    psi = torch.linalg.eigh(torch.from_numpy(inverse + inverse.T)).eigenvectors.numpy()
    return np.ascontiguousarray(psi[:, ::-1][:, :k].T)


def beside(A: Any, found: Found, rest: Array) -> Found:
    """The pairs found, and those of the rows `rest`, which were good: only their part along the ones found is taken out."""
    values, U, errors = found
    for _ in range(2):
        rest = np.linalg.qr((rest - (rest @ U.T) @ U).T)[0].T
    image = A @ rest.T
    more = np.einsum("kv,vk->k", rest, image)
    apart = np.linalg.norm(image - rest.T * more, axis=0)
    values, U, errors = (np.concatenate(p) for p in ((values, more), (U, rest), (errors, apart)))
    order = np.argsort(values, kind="stable")
    return values[order], U[order], errors[order]


def all_pairs(A: Array, k: int) -> tuple[Array, Array]:
    """The first k of all pairs of A (V, V): values (k,), rows (k, V)."""
    values, psi = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(A)))
    return values[:k], np.ascontiguousarray(psi[:, :k].T)


def some_pairs(A: Array, k: int) -> tuple[Array, Array] | None:
    """The k smallest pairs of A (V, V) alone; None where they are most of all pairs, or LAPACK does not find them.

    A = Q T Q^T with T tridiagonal. All eigenvalues of T cost little, and so does a vector by inverse iteration.
    """
    size = len(A)
    if size < 3 or 2 * k > size:
        return None
    T, work = A.copy(), np.empty(WORK * size)
    diagonal, off, tau = np.empty(size), np.empty(size - 1), np.empty(size - 1)
    lapack("dsytrd", "L", size, T, size, diagonal, off, tau, work, len(work))
    most = float(np.abs(diagonal).max()) or 1.0
    diagonal /= most
    off /= most
    values, rest = diagonal.copy(), off.copy()
    if lapack("dsterf", size, values, rest):
        return None
    one, blocks, failed = np.ones(size, np.int32), np.full(size, size, np.int32), np.empty(size, np.int32)
    V, scratch = np.empty((k, size)), np.empty(size, np.int32)
    args = (size, diagonal, off, k, values, one, blocks, V, size, work, scratch, failed)
    if lapack("dstein", *args):
        return None
    if not np.abs(V @ V.T - np.eye(k)).max() < ORTHONORMAL:
        return None
    # Q leaves the first row as it is.
    lapack(
        "dormqr",
        "L",
        "N",
        size - 1,
        k,
        size - 1,
        T.reshape(-1)[1:],
        size,
        tau,
        V.reshape(-1)[1:],
        size,
        work,
        len(work),
    )
    return most * values[:k], V
