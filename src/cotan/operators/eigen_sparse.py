"""The smallest pairs of a large sparse matrix, by block Lanczos on the inverse of A + s, A = M^-1/2 L M^-1/2."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CotanError
from .eigen_dense import dense_pairs
from .eigen_inertia import missed
from .eigen_lanczos import lanczos
from .eigen_refine import BLOCK, Found, Shifted, polish, residual, typical
from .factor import Array
from .threads import one_thread

AT_ONCE = 4000  # vertices up to which all pairs at once take seconds
COUNTABLE = 5000  # and up to which counting eigenvalues is quicker than looking for more of them
HUBS = 4  # how far above the typical diagonal the largest is where conjugate gradients are quicker than a filter
MOST = 10**9  # numbers of a basis, of four bytes


@one_thread()
def sparse_pairs(L: Any, m: Array, k: int, tolerance: float) -> Found:
    """The k smallest pairs of a connected matrix, with M^1/2 phi as rows.

    The residual that a basis in float32 leaves is checked; where it is too large comes a float64 basis. Where neither
    will do (eigenvalues that lie too close together, say) come all pairs at once, or ARPACK if they are too many.
    """
    shifted = Shifted(L, m)
    best: Found | None = None
    least = np.inf
    for dtype in (np.float32, np.float64) if tolerance >= 1e-8 else (np.float64,):
        found = inverse_lanczos(shifted, k, tolerance, dtype)
        if found is None:  # another precision would not converge either
            break
        worst = residual(found[0], found[2], shifted.tiny)
        if worst < least:
            best, least = found, worst
        if worst <= tolerance:
            return complete(shifted, found, tolerance)
    if shifted.size <= AT_ONCE:
        return dense_pairs(L, m, k, tolerance)
    _, U = arpack(shifted.A.tocsc(), k, sigma=-shifted.shift)
    last = polish(shifted, U[len(shifted.lowest) :], tolerance)
    if best is None or residual(last[0], last[2], shifted.tiny) < least:
        best = last
    return complete(shifted, best, tolerance)


def inverse_lanczos(
    shifted: Shifted, k: int, tolerance: float, dtype: Any = np.float32, known: Array | None = None
) -> Found | None:
    """The k smallest pairs, or those off orthonormal rows `known`; None where Lanczos did not converge."""
    locked = shifted.lowest if known is None else known

    def apply(x: Array) -> Array:
        return shifted.without(shifted.solve(x), locked)

    # Polishing applies the inverse once more, which turns this error into the residual that `tolerance` bounds.
    want = k - len(shifted.lowest) if known is None else k
    most = None if shifted.inexact is None else dimensions(k)
    found = lanczos(apply, shifted.size, want, tolerance=tolerance / 3, locked=locked, most=most, dtype=dtype)
    if found is None:
        return None
    U = found[1].astype(np.float64)
    del found
    return polish(shifted, U, tolerance, known)


def complete(shifted: Shifted, found: Found, tolerance: float) -> Found:
    """Look for pairs that were missed: blocks of p vectors find p copies of a multiple eigenvalue, and no more.

    Where p values or more are equal, or half as many and a count of the smaller ones says so, the next ones are found
    off those that are known, until none is below the largest.
    """
    values, U, errors = found
    while len(values) + 2 * BLOCK < shifted.size:
        most = multiplicity(values)
        costly = shifted.size > COUNTABLE or shifted.inexact is not None
        suspicious = most >= BLOCK // 2 and (costly or missed(shifted.L, shifted.m, values))
        if most < BLOCK and not suspicious:
            break
        more = inverse_lanczos(shifted, BLOCK, tolerance, np.float64, U)
        if more is None or more[0][0] >= values[-1] * (1 - 1e-9):
            break
        # The first stays first, also among rounded zeros: it may be the constants, exactly.
        rank = np.maximum(np.concatenate([values, more[0]]), values[0])
        order = np.argsort(rank, kind="stable")[: len(values)]
        values, U, errors = (np.concatenate(pair)[order] for pair in zip((values, U, errors), more, strict=True))
    return values, U, errors


def fills(L: Any) -> bool:
    """Whether elimination would fill a connected L in Cuthill-McKee order: where no cut across it is as narrow as a solid's.

    The cuts are those between a vertex and the next, of what is left without vertices of one or two neighbours, which fill
    nothing.
    """
    for _ in range(20):
        branching = np.diff(L.indptr) > 3  # the diagonal is one
        if branching.all() or not branching.any():
            break
        L = L[branching][:, branching]
    size = L.shape[0]
    if not np.diff(L.indptr).all():
        return False
    across = np.maximum.accumulate(np.maximum.reduceat(L.indices, L.indptr[:-1])) - np.arange(size)
    return bool(across[size // 5 : size - size // 5].min(initial=size) > 2 * size ** (2 / 3))


def has_hubs(L: Any, m: Array) -> bool:
    """Whether the diagonal of M^-1 L has entries far above the typical one, as of power laws."""
    diagonal = L.diagonal() / m
    return bool(diagonal.max() > HUBS * typical(diagonal))


def dimensions(k: int) -> int:
    """Of a basis, at most, where no factor is: 64 pairs of 12,000 nodes of a power law take 1032."""
    return 5 * k + 2000


@one_thread()
def hub_pairs(L: Any, m: Array, k: int, tolerance: float) -> Found | None:
    """By Lanczos too, but conjugate gradients apply the inverse. Scaled by the diagonal they take few steps, where the
    hubs set the degree of a Chebyshev filter.

    None where that did not converge, or would take a basis of most dimensions.
    """
    if 10 * k > len(m) or len(m) * dimensions(k) > MOST:
        return None
    shifted = Shifted(L, m, inexact=max(tolerance / 10, 1e-13))
    dtype = np.float32 if tolerance >= 1e-8 else np.float64
    try:
        found = inverse_lanczos(shifted, k, tolerance, dtype)
        if found is None or residual(found[0], found[2], shifted.tiny) > tolerance:
            return None
        return complete(shifted, found, tolerance)
    except np.linalg.LinAlgError:
        return None


def unfactorised(L: Any, m: Array, k: int, tolerance: float) -> Found:
    """By scipy, with products alone: the last resort where elimination would fill the matrix."""
    from scipy.sparse.linalg import ArpackNoConvergence

    shifted = Shifted(L, m)
    try:
        values, U = arpack(shifted.A, k, which="SA", tol=tolerance / 10)
    except ArpackNoConvergence as reason:
        raise CotanError(f"spectrum: {reason}; the graph has no narrow cuts, so it cannot be factorised") from reason
    return values, U, shifted.errors(values, U)


def multiplicity(values: Array) -> int:
    """The length of the longest run of values that are equal to 1e-6."""
    same = np.diff(values) <= 1e-6 * np.abs(values[1:]) + 1e-12 * np.abs(values[-1])
    ends = np.flatnonzero(np.concatenate([[True], ~same, [True]]))
    return int(np.diff(ends).max())


def arpack(A: Any, k: int, **options: Any) -> tuple[Array, Array]:
    """k values, ascending, and vectors as rows, by scipy: slower, in float64 throughout."""
    from scipy.sparse.linalg import eigsh

    values, psi = eigsh(A, k, v0=np.random.default_rng(0).standard_normal(A.shape[0]), **options)
    order = np.argsort(values)
    return values[order], np.ascontiguousarray(psi[:, order].T)
