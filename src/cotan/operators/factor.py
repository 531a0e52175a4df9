"""Solving with a sparse symmetric positive definite matrix: cholespy where it is installed, else SuperLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..sparse import symmetric_lu

Array = np.ndarray[Any, Any]
Apply = Callable[[Array], Array]  # (p, V) -> (p, V)


def factorise(B: Any) -> Apply:
    """A function that gives the rows (p, V) of B^-1 x."""
    try:
        return cholesky(B)
    except ImportError:
        return superlu(B)


def cholesky(B: Any) -> Apply:
    """By CHOLMOD, through cholespy (the extra `cotan[fast]`)."""
    from cholespy import CholeskySolverD, MatrixType

    B = B.tocsc()
    rows, columns = B.indices.astype(np.int32), B.indptr.astype(np.int32)
    factor = CholeskySolverD(B.shape[0], columns, rows, B.data, MatrixType.CSC)

    def solve(x: Array) -> Array:
        y = np.ascontiguousarray(x.T, dtype=np.float64)
        out = np.empty_like(y)
        factor.solve(y, out)
        return np.ascontiguousarray(out.T)

    return solve


def superlu(B: Any) -> Apply:
    """By scipy."""
    factor = symmetric_lu(B)

    def solve(x: Array) -> Array:
        return np.ascontiguousarray(factor.solve(np.asfortranarray(x.T)).T)

    return solve
