"""From good vectors to pairs of full accuracy: inverse iteration and Rayleigh-Ritz, and the residual that judges them.

Vectors are rows here, (k, V): a few at a time lie together in memory.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .eigen_factor import Apply, Array, factorise

BLOCK = 8


class Shifted:
    """A = M^-1/2 L M^-1/2, and (A + s)^-1 with an s so small that it moves nothing.

    Attributes: A (V, V) CSR; shift; tiny, below which an eigenvalue is a rounded zero.
    """

    def __init__(self, L: Any, m: Array):
        from scipy.sparse import csr_array, diags_array

        scale = diags_array(m**-0.5)
        A = csr_array(scale @ L @ scale)
        self.A = (A + A.T) / 2
        self.size = len(m)
        diagonal = self.A.diagonal()
        typical = float(np.median(diagonal)) or float(diagonal.max()) or 1.0
        self.shift, self.tiny = 1e-8 * typical, 1e-12 * typical

    @cached_property
    def solve(self) -> Apply:
        return factorise(self.A, self.shift)

    @cached_property
    def lowest(self) -> Array:
        """The lowest vector (1, V) if a few inverse iterations find it, else none (0, V).

        In the inverse the constants outweigh all else by far; known and taken out, they cost no digits.
        """
        z = np.random.default_rng(1).standard_normal((1, self.size))
        z /= np.linalg.norm(z)
        for _ in range(6):
            y = self.solve(z)
            theta = float((z @ y.T)[0, 0])
            if np.linalg.norm(y - theta * z) <= 1e-12 * abs(theta):
                return np.asarray(y / np.linalg.norm(y))
            z = y / np.linalg.norm(y)
        return np.empty((0, self.size))

    def product(self, U: Array) -> Array:
        """A times each row of U."""
        return np.asarray((self.A @ np.ascontiguousarray(U.T)).T)

    def residual(self, values: Array, U: Array) -> float:
        """The largest ||A u - lambda u|| / max(lambda, first non-zero lambda)."""
        above = values[values > self.tiny]
        least = float(above[0]) if len(above) else 1e6 * self.tiny
        each = [np.linalg.norm(self.product(U[r]) - values[r, None] * U[r], axis=1) for r in blocks(len(U))]
        worst = float((np.concatenate(each) / np.maximum(values, least)).max(initial=0))
        return worst if np.isfinite(worst) else np.inf


def polish(shifted: Shifted, U: Array, tolerance: float, known: Array | None = None) -> tuple[Array, Array, float]:
    """Pairs near the span of the rows of U (overwritten): values, rows, residual; three rounds at most.

    With orthonormal rows `known`, the pairs off these; else the lowest pair is the first.
    """
    lowest = shifted.lowest if known is None else np.empty((0, shifted.size))
    first = len(lowest)
    off = lowest if known is None else known
    for _ in range(3):
        V = np.empty_like(U)
        V[:first] = lowest
        U[:first] = shifted.product(lowest) + shifted.shift * lowest
        for rows in blocks(len(U), first):
            U[rows] -= (U[rows] @ off.T) @ off
            y = shifted.solve(U[rows])
            V[rows] = y - (y @ off.T) @ off
        values, U = rayleigh_ritz(V, U, shifted.shift)
        left = shifted.residual(values, U)
        if left <= tolerance:
            break
    return values, U, left


def rayleigh_ritz(V: Array, image: Array, shift: float) -> tuple[Array, Array]:
    """The eigenpairs of A within the span of the rows of V, given image = V (A + shift), which is overwritten."""
    from scipy.linalg import eigh

    H, G = V @ image.T, V @ V.T
    scale = G.diagonal() ** -0.5  # the inverse scales vectors by very different factors, which are taken out first
    values, Y = eigh((H + H.T) / 2 * np.outer(scale, scale), G * np.outer(scale, scale))
    return values - shift, np.matmul((scale[:, None] * Y).T, V, out=image)


def blocks(count: int, first: int = 0) -> list[slice]:
    """Rows a few at a time: a solve or a product of all at once takes more memory, and more time in cache misses."""
    return [slice(start, min(start + BLOCK, count)) for start in range(first, count, BLOCK)]
