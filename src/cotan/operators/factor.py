"""Solving with a sparse symmetric positive definite matrix: by cholespy where it is installed, else by SuperLU; without
a factor by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..sparse import symmetric_lu

Array = np.ndarray[Any, Any]
Apply = Callable[[Array], Array]  # (p, V) -> (p, V)
STEPS = 500  # of conjugate gradients


def factorise(B: Any) -> Apply:
    """A function that gives the rows (p, V) of B^-1 x."""
    try:
        return cholesky(B)
    except ImportError:
        return superlu(B)


def cholesky(B: Any) -> Apply:
    """By CHOLMOD, through cholespy (the extra `cotan[fast]`)."""
    from cholespy import CholeskySolverD, MatrixType

    # As CSC, cholespy would sort the arrays that it is given in place and reallocate them; of CSR it makes a copy.
    B = B.tocsr()
    factor = CholeskySolverD(B.shape[0], B.indptr.astype(np.int32), B.indices.astype(np.int32), B.data, MatrixType.CSR)

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


def conjugate_gradients(B: Any, tolerance: float) -> Apply:
    """Scaled by the diagonal, to |x - B y| <= tolerance |x|; LinAlgError where `STEPS` do not get there."""
    scale, least = 1 / B.diagonal()[:, None], np.finfo(np.float64).tiny

    def solve(x: Array) -> Array:
        r = np.array(x.T, order="C", dtype=np.float64)  # (V, p)
        enough = tolerance**2 * np.einsum("vp,vp->p", r, r)
        y, p, rho = np.zeros_like(r), np.zeros_like(r), np.ones(r.shape[1])
        for _ in range(STEPS):
            z = scale * r
            before, rho = rho, np.einsum("vp,vp->p", r, z)
            p *= rho / np.maximum(before, least)
            p += z
            image = B @ p
            step = rho / np.maximum(np.einsum("vp,vp->p", p, image), least)
            y += step * p
            r -= step * image
            if (np.einsum("vp,vp->p", r, r) <= enough).all():
                return np.ascontiguousarray(y.T)
        raise np.linalg.LinAlgError(f"no convergence in {STEPS} steps")

    return solve
