"""From good vectors to pairs of full accuracy: inverse iteration and Rayleigh-Ritz, and the residual that judges them.

Vectors are rows here, (k, V): a few at a time lie together in memory.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .columns import Columns, blocks
from .factor import Apply, Array, conjugate_gradients, factorise

BLOCK = 8
Found = tuple[Array, Array, Array]  # values (k,), orthonormal rows (k, V), errors (k,)


class Shifted:
    """A = M^-1/2 L M^-1/2, and (A + s)^-1 with an s so small that it moves nothing.

    Attributes: A (V, V) CSR; shift; constant, whether the kernel of L has the constants; tiny, up to which an eigenvalue is a
    rounded zero; inexact, the residual to which conjugate gradients solve, None where a factor does; columns, for products.
    """

    def __init__(self, L: Any, m: Array, inexact: float | None = None):
        self.A = scaled(L, m)
        self.L, self.m, self.size, self.inexact = L, m, len(m), inexact
        self.columns = Columns(self.size)
        diagonal = self.A.diagonal()
        self.constant = has_constants(L)
        self.shift, self.tiny = 1e-8 * typical(diagonal), rounded_zero(diagonal)

    @cached_property
    def solve(self) -> Apply:
        from scipy.sparse import eye_array

        B = self.A + self.shift * eye_array(self.size)
        return factorise(B) if self.inexact is None else conjugate_gradients(B, self.inexact)

    @cached_property
    def lowest(self) -> Array:
        """The lowest vector (1, V): M^1/2 1 where L has the constants in its kernel, else what inverse iteration finds
        (D^1/2 1, say), if it is quick, else none (0, V).

        In the inverse a kernel outweighs all else by far; taken out, it costs no digits.
        """
        if self.constant:
            return (self.m / self.m.sum())[None] ** 0.5
        z = np.random.default_rng(1).standard_normal((1, self.size))
        for _ in range(6):
            z /= np.linalg.norm(z)
            y = self.solve(z)
            theta = float((z @ y.T)[0, 0])
            if np.linalg.norm(y - theta * z) <= 1e-12 * abs(theta):
                return y / np.linalg.norm(y)
            z = y
        return np.empty((0, self.size))

    def without(self, U: Array, known: Array) -> Array:
        """U, in place, less the part of its rows along orthonormal rows `known`."""
        self.columns.subtract(U, self.columns.dot(U, known), known)
        return U

    def product(self, U: Array) -> Array:
        """A times each row of U."""
        return (self.A @ np.ascontiguousarray(U.T)).T

    def errors(self, values: Array, U: Array) -> Array:
        """(k,) ||A u - lambda u||, which is ||M^-1/2 (L phi - lambda M phi)||."""
        each = [np.linalg.norm(self.product(U[r]) - values[r, None] * U[r], axis=1) for r in blocks(len(U))]
        return np.nan_to_num(np.concatenate([*each, []]), nan=np.inf)


def scaled(L: Any, m: Array) -> Any:
    """M^-1/2 L M^-1/2, CSR."""
    scale = m**-0.5
    A = L.copy()
    A.data *= scale[A.indices] * np.repeat(scale, np.diff(A.indptr))
    return A


def rounded_zero(diagonal: Array) -> float:
    """Up to this an eigenvalue of a matrix with that diagonal counts as a rounded zero."""
    return 1e-10 * typical(diagonal)


def typical(diagonal: Array) -> float:
    """The median of the entries that are not zero, 1 if all are."""
    filled = diagonal[diagonal > 0]
    middle = len(filled) // 2
    return float(np.partition(filled, middle)[middle]) if len(filled) else 1.0


def has_constants(L: Any) -> bool:
    """Whether the rows of L sum to zero, to rounding."""
    return bool((np.abs(L @ np.ones(L.shape[1])) <= 1e-9 * L.diagonal()).all())


def residual(values: Array, errors: Array, tiny: float) -> float:
    """The largest error / max(lambda, first lambda above tiny); `values` may go on beyond the pairs in question."""
    return float(residuals(values, errors, tiny).max(initial=0))


def residuals(values: Array, errors: Array, tiny: float) -> Array:
    """Of each pair (k,)."""
    above = values[values > tiny]
    least = float(above[0]) if len(above) else 1e4 * tiny
    return errors / np.maximum(values[: len(errors)], least)


def polish(shifted: Shifted, U: Array, tolerance: float, known: Array | None = None) -> Found:
    """Pairs near the span of the rows of U (overwritten): values, rows, errors; three rounds at most.

    With orthonormal rows `known`, the pairs off these; else the lowest pair, where it is known, is put first.
    """
    lowest = shifted.lowest if known is None else np.empty((0, shifted.size))
    off = lowest if known is None else known
    for _ in range(3):
        V = np.empty_like(U)
        for rows in blocks(len(U)):
            V[rows] = shifted.without(shifted.solve(shifted.without(U[rows], off)), off)
        if shifted.inexact is not None:  # U is the image to that residual only, too little for equal eigenvalues
            U = shifted.product(V) + shifted.shift * V
        values, U = rayleigh_ritz(V, U, shifted)
        errors = shifted.errors(values, U)
        if residual(values, errors, shifted.tiny) <= tolerance / 2:  # M^-1/2 u is rounded once more
            break
    own = np.zeros(len(lowest)) if shifted.constant else (lowest * shifted.product(lowest)).sum(1)
    first = own, lowest, own if shifted.constant else shifted.errors(own, lowest)
    values, U, errors = (np.concatenate(pair) for pair in zip(first, (values, U, errors), strict=True))
    return values, U, errors


def rayleigh_ritz(V: Array, image: Array, shifted: Shifted) -> tuple[Array, Array]:
    """The eigenpairs of A within the span of the rows of V, given image = V (A + shift), which is overwritten."""
    from scipy.linalg import eigh

    H, G = shifted.columns.dot(V, image), shifted.columns.dot(V, V)
    scale = G.diagonal() ** -0.5  # the inverse scales vectors by very different factors, which are taken out first
    values, Y = eigh((H + H.T) / 2 * np.outer(scale, scale), G * np.outer(scale, scale))
    return values - shifted.shift, shifted.columns.times((scale[:, None] * Y).T, V, out=image)
