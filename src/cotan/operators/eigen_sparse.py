"""The smallest pairs of a large sparse matrix, by block Lanczos on the inverse of A + s, A = M^-1/2 L M^-1/2."""

from __future__ import annotations

from typing import Any

import numpy as np

from .eigen_factor import factorise
from .eigen_lanczos import Apply, Array, lanczos

BLOCK = 8


def sparse_pairs(L: Any, m: Array, k: int, tolerance: float) -> tuple[Array, Array]:
    """The k smallest pairs of L phi = lambda M phi of a connected matrix: values (k,), vectors (V, k).

    The residual that a basis in float32 leaves is checked; where it is too large come a float64 basis, then ARPACK.
    """
    from scipy.sparse import diags_array

    scale = diags_array(m**-0.5)
    A = (scale @ L @ scale).tocsr()
    A = (A + A.T) / 2
    shift = 1e-8 * float(np.median(A.diagonal()))
    solve = factorise(A, shift)
    for dtype in (np.float32, np.float64) if tolerance >= 1e-8 else (np.float64,):
        found = inverse_lanczos(A, solve, shift, k, tolerance, dtype)
        if found is not None:
            break
    else:
        found = arpack(A, k, shift)
    values, psi = complete(A, solve, shift, *found, tolerance)
    return values, psi.T * (m**-0.5)[:, None]


def complete(A: Any, solve: Apply, shift: float, values: Array, U: Array, tolerance: float) -> tuple[Array, Array]:
    """Look for pairs that were missed: blocks of p vectors find p copies of a multiple eigenvalue, and no more.

    Where p values or more are equal, the next ones are found off those that are known, until none is below the largest.
    """
    while multiplicity(values) >= BLOCK and len(values) + 2 * BLOCK < A.shape[0]:
        more = inverse_lanczos(A, solve, shift, BLOCK, tolerance, np.float64, U)
        if more is None or more[0][0] >= values[-1] * (1 - 1e-9):
            break
        order = np.argsort(np.concatenate([values, more[0]]), kind="stable")[: len(values)]
        values, U = np.concatenate([values, more[0]])[order], np.concatenate([U, more[1]])[order]
    return values, U


def multiplicity(values: Array) -> int:
    """The length of the longest run of values that are equal to 1e-6."""
    same = np.diff(values) <= 1e-6 * np.abs(values[1:]) + 1e-12 * np.abs(values[-1])
    ends = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    return int(np.diff(ends).max())


def inverse_lanczos(
    A: Any, solve: Apply, shift: float, k: int, tolerance: float, dtype: Any = np.float32, known: Array | None = None
) -> tuple[Array, Array] | None:
    """The k smallest pairs of A, rows (k, V), by Lanczos on (A + shift)^-1; None where the tolerance was not met.

    With orthonormal rows `known`, the k smallest off these.
    """
    size = A.shape[0]
    zero = lowest(solve, size) if known is None else np.empty((0, size))
    locked, first = (zero if known is None else known), len(zero)

    def apply(x: Array) -> Array:
        y = solve(x)
        y -= (y @ locked.T) @ locked
        return y

    # One more application of the inverse follows, which turns this error into the residual that `tolerance` bounds.
    found = lanczos(apply, size, k - first, tolerance=tolerance / 3, locked=locked, block=BLOCK, dtype=dtype)
    if found is None:
        return None
    U = np.empty((k, size))
    U[first:] = found[1]
    del found
    for _ in range(3):
        V = np.empty_like(U)
        V[:first] = zero
        U[:first] = product(A, zero) + shift * zero
        for rows in blocks(k, first):
            U[rows] -= (U[rows] @ locked.T) @ locked
            V[rows] = apply(U[rows])
        values, U = rayleigh_ritz(V, U, shift)
        if residual(A, values, U) <= tolerance:
            return values, U
    return None


def lowest(solve: Apply, size: int) -> Array:
    """The lowest vector (1, V) if a few inverse iterations find it, else none (0, V).

    With a tiny shift the constants outweigh all else in the inverse by far; locked, they cost no digits.
    """
    z = np.random.default_rng(1).standard_normal((1, size))
    z /= np.linalg.norm(z)
    for _ in range(6):
        y = solve(z)
        theta = float((z @ y.T)[0, 0])
        if np.linalg.norm(y - theta * z) <= 1e-12 * abs(theta):
            return y / np.linalg.norm(y)
        z = y / np.linalg.norm(y)
    return np.empty((0, size))


def rayleigh_ritz(V: Array, image: Array, shift: float) -> tuple[Array, Array]:
    """The eigenpairs of A within the span of the rows of V, given image = V (A + shift)."""
    from scipy.linalg import eigh

    H, G = V @ image.T, V @ V.T
    scale = G.diagonal() ** -0.5  # the inverse scales vectors by very different factors, which are taken out first
    values, Y = eigh((H + H.T) / 2 * np.outer(scale, scale), G * np.outer(scale, scale))
    return values - shift, np.matmul((scale[:, None] * Y).T, V, out=image)


def residual(A: Any, values: Array, U: Array) -> float:
    """The largest ||A u - lambda u|| / max(lambda, first non-zero lambda)."""
    each = [np.linalg.norm(product(A, U[r]) - values[r, None] * U[r], axis=1) for r in blocks(len(U))]
    return float((np.concatenate(each) / np.maximum(values, first_nonzero(values))).max())


def product(A: Any, U: Array) -> Array:
    """A times each row of U."""
    return np.asarray((A @ np.ascontiguousarray(U.T)).T)


def blocks(count: int, first: int = 0) -> list[slice]:
    """Rows a few at a time: a solve or a product of all at once takes more memory, and more time in cache misses."""
    return [slice(start, min(start + BLOCK, count)) for start in range(first, count, BLOCK)]


def first_nonzero(values: Array) -> float:
    """The smallest value that is no rounded zero."""
    above = values[values > 1e-9 * values[-1]]
    return float(above[0]) if len(above) else 1.0


def arpack(A: Any, k: int, shift: float) -> tuple[Array, Array]:
    from scipy.sparse.linalg import eigsh

    values, psi = eigsh(A.tocsc(), k, sigma=-shift, v0=np.random.default_rng(0).standard_normal(A.shape[0]))
    order = np.argsort(values)
    return values[order], psi[:, order].T
