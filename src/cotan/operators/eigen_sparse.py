"""The smallest pairs of a large sparse matrix."""

from __future__ import annotations

from typing import Any

import numpy as np


def sparse_pairs(L: Any, m: np.ndarray, k: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest pairs of L phi = lambda M phi by shift and invert."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    scale = m**-0.5
    A = (diags_array(scale) @ L @ diags_array(scale)).tocsc()
    shift = -1e-8 * A.diagonal().mean()
    values, psi = eigsh(A, k, sigma=shift, v0=np.random.default_rng(0).standard_normal(len(m)))
    order = np.argsort(values)
    return values[order], scale[:, None] * psi[:, order]
