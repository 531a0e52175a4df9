"""Block Lanczos with full reorthogonalisation: the largest pairs of an operator that is costly to apply.

What costs is the passes over the basis, so the basis is kept in float32. The three-term recurrence runs in float64 on
the last two blocks; against all the others only what rounding has let in, about 1e-8, is taken out, and float32 is
enough for that. A basis orthogonal to the square root of the rounding unit gives the projected matrix to full precision
(Simon 1984); the vectors made of it are good to 1e-7, and the caller's Rayleigh-Ritz step in float64 does the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .columns import Columns
from .eigen_refine import BLOCK
from .factor import Apply, Array

ORTHONORMAL = 1e-9  # what products of the rows may miss


def lanczos(
    apply: Apply,
    size: int,
    k: int,
    *,
    tolerance: float,
    locked: Array,
    most: int | None = None,
    dtype: Any = np.float32,
) -> tuple[Array, Array] | None:
    """The k largest pairs of a symmetric operator off the rows of `locked`: values (k,) and orthonormal rows (k, V).

    None where `most` dimensions (5 k + 128 by default) were not enough for ||B u - theta u|| <= tolerance theta.

    An eigenvalue is found as often as it is multiple, up to `BLOCK` times.

    Arguments: locked (l, V) orthonormal rows.
    """
    most = min(most or 5 * k + 128, size - len(locked) - BLOCK)
    random, columns = np.random.default_rng(0), Columns(size)
    start = len(locked)
    basis = np.empty((start + most + BLOCK, size), dtype=dtype)
    basis[:start] = locked
    T = np.zeros((most + 2 * BLOCK, most + 2 * BLOCK))
    previous, R = np.zeros((BLOCK, size)), np.zeros((BLOCK, BLOCK))
    q = _fill(np.empty((0, size)), BLOCK, basis[:start], random, columns)
    done, check = 0, min(-(-int(2.75 * k) // BLOCK) * BLOCK, most // BLOCK * BLOCK)
    errors: list[tuple[int, float]] = []
    while True:
        basis[start + done : start + done + BLOCK] = q
        W = apply(q)
        columns.subtract(W, R, previous)
        a = columns.dot(q, W)
        columns.subtract(W, a.T, q)
        T[done : done + BLOCK, done : done + BLOCK] = (a + a.T) / 2
        done += BLOCK
        previous = q
        q, R = _next(W, basis[: start + done], random, columns)
        T[done : done + BLOCK, done - BLOCK : done] = R
        T[done - BLOCK : done, done : done + BLOCK] = R.T
        if done >= check:
            theta, S = np.linalg.eigh(T[:done, :done])
            theta, S = theta[::-1][:k], S[:, ::-1][:, :k]
            error = float((np.linalg.norm(R @ S[-BLOCK:], axis=0) / np.abs(theta)).max())
            if error <= tolerance:
                return theta, columns.times(S.T.astype(dtype), basis[start : start + done])
            if done + BLOCK > most:
                return None
            errors.append((done, error))
            check = min(_next_check(errors, tolerance), most // BLOCK * BLOCK)


def _next_check(errors: list[tuple[int, float]], tolerance: float) -> int:
    """When the error, falling ever faster on a logarithmic scale, may be small enough; each look costs."""
    if len(errors) < 2 or errors[-1][1] >= errors[-2][1]:
        return errors[-1][0] + 4 * BLOCK
    (m0, e0), (m1, e1) = errors[-2:]
    steps = np.log(e1 / tolerance) / (np.log(e0 / e1) / (m1 - m0)) / BLOCK
    return int(m1 + BLOCK * np.clip(np.floor(0.8 * steps), 1, 8))


def _next(W: Array, basis: Array, random: np.random.Generator, columns: Columns) -> tuple[Array, Array]:
    """Orthonormal rows q off the basis, and R with W = R^T q: q carries on where W leaves the basis."""
    q, R = _orthonormal(W, columns.dot(W, W), columns)
    for _ in range(3):
        columns.subtract(q, columns.dot(q, basis), basis)
        G = columns.dot(q, q)
        if np.abs(G - np.eye(len(q))).max(initial=0) < ORTHONORMAL:  # next to nothing was taken out
            break
        q, R2 = _orthonormal(q, G, columns)
        R = R2 @ R
        if G.diagonal().min(initial=1) > 0.5:  # little was taken out, so what rounding has left of it is little
            break
    if len(q) < len(W):  # an invariant subspace: the recurrence goes on from new directions, uncoupled
        R = np.concatenate([R, np.zeros((len(W) - len(q), len(W)))])
        q = _fill(q, len(W), basis, random, columns)
    return q, R


def _orthonormal(W: Array, G: Array, columns: Columns) -> tuple[Array, Array]:
    """Rows q that span the rows of W, fewer where these are dependent, and R with W = R^T q; G = W W^T."""
    scale = np.sqrt(np.maximum(G.diagonal(), np.finfo(float).tiny)) ** -1
    e, U = np.linalg.eigh(scale[:, None] * G * scale)
    good = e > 1e-11
    X = (U[:, good] / np.sqrt(e[good])).T * scale
    return columns.times(X, W), X @ G


def _fill(q: Array, count: int, basis: Array, random: np.random.Generator, columns: Columns) -> Array:
    """q with random rows added, orthonormal and off the basis."""
    for _ in range(3):
        new = random.standard_normal((count - len(q), basis.shape[1]))
        for _ in range(3):
            columns.subtract(new, columns.dot(new, basis), basis)
            columns.subtract(new, columns.dot(new, q), q)
            new = _orthonormal(new, columns.dot(new, new), columns)[0]
        q = np.concatenate([q, new])
        if len(q) == count:
            break
    return q
