"""All pairs at once, for small matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh

from .eigen_factor import Array
from .eigen_refine import Found, Shifted, has_constants, polish, residual, zero

MIXED = 1e-8  # how much of the constants the other vectors may hold
ALL = 400  # vertices up to which a part of the pairs is no quicker than all


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
    if len(m) > ALL and 5 * k < len(m):
        values, psi = eigh(A, subset_by_index=(0, k - 1), driver="evr", check_finite=False)
    else:
        values, psi = (part.numpy() for part in torch.linalg.eigh(torch.from_numpy(A)))  # quicker than numpy's
    values, U = values[:k], np.ascontiguousarray(psi[:, :k].T)
    errors = np.linalg.norm(U @ A - values[:, None] * U, axis=1)
    tiny = zero(A.diagonal())
    worst, constant = residual(values, errors, tiny), has_constants(L)
    mixed = constant and float(abs(U[1:] @ m**0.5).max(initial=0)) > MIXED * float(m.sum()) ** 0.5
    if (worst > tolerance or mixed) and len(m) > 1:
        better = polish(Shifted(L, m), U[int(constant) :], tolerance)
        if mixed or residual(better[0], better[2], tiny) < worst:
            return better
    return values, U, errors
