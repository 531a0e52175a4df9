"""All pairs at once, for small matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from .eigen_factor import Array
from .eigen_refine import Shifted, polish


def dense_pairs(L: Any, m: Array, k: int, tolerance: float) -> tuple[Array, Array, float]:
    """The k smallest pairs of A = M^-1/2 L M^-1/2: values (k,), orthonormal rows (k, V), residual.

    Where entries differ by many orders of magnitude, LAPACK's error, relative to the largest of them, is too much for
    the smallest eigenvalues: these pairs are polished.
    """
    from scipy.linalg import eigh

    shifted = Shifted(L, m)
    A = shifted.A.toarray()
    values, psi = eigh(A, subset_by_index=(0, k - 1), driver="evr") if 2 * k < len(m) else np.linalg.eigh(A)
    values, U = values[:k], np.ascontiguousarray(psi[:, :k].T)
    left = shifted.residual(values, U)
    if left > tolerance and len(m) > 1:
        better = polish(shifted, U.copy(), tolerance)
        if better[2] < left:
            return better
    return values, U, left
