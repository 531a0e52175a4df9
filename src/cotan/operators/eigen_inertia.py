"""How many eigenvalues lie below a number, counted without computing any: none can hide from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sparse import symmetric_lu
from .eigen_refine import scaled
from .factor import Array


def count_below(L: Any, m: Array, shift: float) -> int | None:
    """The number of eigenvalues of L phi = lambda M phi below the shift: the negative pivots of L - shift M (Sylvester).

    None where a pivot would have to leave the diagonal, as close to an eigenvalue.

    Arguments: L (V, V) symmetric, of scipy. m (V,).
    """
    from scipy.sparse import eye_array

    try:
        factor = symmetric_lu(scaled(L, m) - shift * eye_array(len(m)))
    except RuntimeError:  # exactly singular
        return None
    if not np.array_equal(factor.perm_r, factor.perm_c):
        return None
    return int((factor.U.diagonal() < 0).sum())


def missed(L: Any, m: Array, values: Array) -> bool:
    """Whether there are more eigenvalues below the widest gap among the upper half of ascending `values` than there.

    False where it cannot be known.
    """
    half = len(values) // 2
    if len(values) - half < 2:
        return False
    gaps = np.diff(values[half:])
    last = half + int(gaps.argmax())
    if gaps.max() <= 1e-6 * abs(values[-1]):
        return False
    count = count_below(L, m, float(values[last] + values[last + 1]) / 2)
    return count is not None and count > last + 1
