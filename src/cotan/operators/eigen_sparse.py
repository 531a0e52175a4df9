"""The smallest pairs of a large sparse matrix, by block Lanczos on the inverse of A + s, A = M^-1/2 L M^-1/2."""

from __future__ import annotations

from typing import Any

import numpy as np

from .eigen_factor import Array
from .eigen_lanczos import lanczos
from .eigen_refine import BLOCK, Shifted, polish

Found = tuple[Array, Array, float]  # values (k,), orthonormal rows (k, V), residual


def sparse_pairs(L: Any, m: Array, k: int, tolerance: float) -> Found:
    """The k smallest pairs of a connected matrix, with M^1/2 phi as rows.

    The residual that a basis in float32 leaves is checked; where it is too large come a float64 basis, then ARPACK.
    """
    shifted = Shifted(L, m)
    best = None
    for dtype in (np.float32, np.float64) if tolerance >= 1e-8 else (np.float64,):
        found = inverse_lanczos(shifted, k, tolerance, dtype)
        best = found if best is None or (found is not None and found[2] < best[2]) else best
        if best is not None and best[2] <= tolerance:
            return complete(shifted, best, tolerance)
    found = arpack(shifted, k, tolerance)
    return complete(shifted, found if best is None or found[2] < best[2] else best, tolerance)


def inverse_lanczos(
    shifted: Shifted, k: int, tolerance: float, dtype: Any = np.float32, known: Array | None = None
) -> Found | None:
    """The k smallest pairs, or those off orthonormal rows `known`; None where Lanczos did not converge."""
    locked = shifted.lowest if known is None else known

    def apply(x: Array) -> Array:
        y = shifted.solve(x)
        y -= (y @ locked.T) @ locked
        return y

    # Polishing applies the inverse once more, which turns this error into the residual that `tolerance` bounds.
    first = len(locked) if known is None else 0
    found = lanczos(apply, shifted.size, k - first, tolerance=tolerance / 3, locked=locked, block=BLOCK, dtype=dtype)
    if found is None:
        return None
    U = np.zeros((k, shifted.size))
    U[first:] = found[1]
    del found
    return polish(shifted, U, tolerance, known)


def complete(shifted: Shifted, found: Found, tolerance: float) -> Found:
    """Look for pairs that were missed: blocks of p vectors find p copies of a multiple eigenvalue, and no more.

    Where p values or more are equal, the next ones are found off those that are known, until none is below the largest.
    """
    values, U, left = found
    while multiplicity(values) >= BLOCK and len(values) + 2 * BLOCK < shifted.size:
        more = inverse_lanczos(shifted, BLOCK, tolerance, np.float64, U)
        if more is None or more[0][0] >= values[-1] * (1 - 1e-9):
            break
        order = np.argsort(np.concatenate([values, more[0]]), kind="stable")[: len(values)]
        values, U = np.concatenate([values, more[0]])[order], np.concatenate([U, more[1]])[order]
        left = max(left, more[2])
    return values, U, left


def multiplicity(values: Array) -> int:
    """The length of the longest run of values that are equal to 1e-6."""
    same = np.diff(values) <= 1e-6 * np.abs(values[1:]) + 1e-12 * np.abs(values[-1])
    ends = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    return int(np.diff(ends).max())


def arpack(shifted: Shifted, k: int, tolerance: float) -> Found:
    """By scipy: slower, in float64 throughout."""
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(0).standard_normal(shifted.size)
    values, psi = eigsh(shifted.A.tocsc(), k, sigma=-shifted.shift, v0=start)
    return polish(shifted, np.ascontiguousarray(psi[:, np.argsort(values)].T), tolerance)
