"""All pairs at once, for small matrices."""

from __future__ import annotations

from typing import Any

import numpy as np


def dense_pairs(L: Any, m: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest pairs of M^-1/2 L M^-1/2 psi = lambda psi, phi = M^-1/2 psi."""
    from scipy.linalg import eigh

    scale = m**-0.5
    A = scale[:, None] * L.toarray() * scale
    values, psi = eigh(A, subset_by_index=(0, k - 1), driver="evr") if k < len(m) else np.linalg.eigh(A)
    return values, scale[:, None] * psi
