"""Which eigensolver for which matrix, and what all of them share: checks, components, signs, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CotanError
from ..sparse import Sparse
from .eigen_dense import dense_pairs
from .eigen_gradient import attach
from .eigen_sparse import sparse_pairs

DENSE = 1024  # vertices up to which all pairs are found at once


def eigenpairs(matrix: Sparse, mass: Tensor, k: int = 128, tolerance: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The min(k, V) smallest pairs of L phi = lambda M phi: values (K,), vectors (V, K), with gradients.

    Arguments: matrix (V, V) symmetric positive semi-definite, mass (V,) positive.
    """
    check(matrix, mass, k, tolerance)
    L, m = matrix.to_scipy().astype(np.float64), mass.detach().cpu().double().numpy()
    values, vectors = solve(L, m, min(k, len(m)), tolerance)
    found = [torch.from_numpy(part).to(matrix.device) for part in (values, positive(vectors))]
    return attach(matrix, mass, *found)


def solve(L: Any, m: np.ndarray, k: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Component by component, since eigenvalues that components share are multiple as often as these are many."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(L, directed=False)
    if count == 1:
        return solve_connected(L, m, k, tolerance)
    order = np.argsort(label, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=count))])
    L = L[order][:, order]
    values, parts = [], []
    single = np.flatnonzero(np.diff(bounds) == 1)
    at = bounds[single]
    alone = L.diagonal()[at] / m[order[at]]
    for i in np.argsort(alone, kind="stable")[:k]:
        values.append(alone[i : i + 1])
        parts.append((order[at[i : i + 1]], np.array([[m[order[at[i]]] ** -0.5]])))
    for i in np.flatnonzero(np.diff(bounds) > 1):
        part = slice(bounds[i], bounds[i + 1])
        rows = order[part]
        found, phi = solve_connected(L[part, part], m[rows], min(k, len(rows)), tolerance)
        values.append(found)
        parts.append((rows, phi))
    column = np.argsort(np.concatenate(values), kind="stable")[:k]
    rank = np.full(sum(map(len, values)), -1)
    rank[column] = np.arange(k)
    out = np.zeros((len(m), k))
    start = 0
    for found, (rows, phi) in zip(values, parts, strict=True):
        here = rank[start : start + len(found)]
        out[np.ix_(rows, here[here >= 0])] = phi[:, here >= 0]
        start += len(found)
    return np.concatenate(values)[column], out


def solve_connected(L: Any, m: np.ndarray, k: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """One component, by whichever solver is quicker at its size."""
    solver = dense_pairs if len(m) <= DENSE or 4 * k > len(m) else sparse_pairs
    values, psi, residual = solver(L, m, k, tolerance)
    if residual > tolerance:
        strong = L.diagonal() / m
        raise CotanError(
            f"spectrum: expected residuals up to {tolerance:.0e}, got {residual:.0e}. The diagonal of M^-1 L goes from "
            f"{strong.min():.0e} to {strong.max():.0e}: repair the mesh, or take a larger tolerance="
        )
    return np.maximum(values, 0), psi.T * (m**-0.5)[:, None]


def check(matrix: Sparse, mass: Tensor, k: int, tolerance: float) -> None:
    """Refuse what is no symmetric eigenproblem, saying why."""
    size = matrix.shape[0]
    if matrix.shape != (size, size) or mass.shape != (size,):
        raise CotanError(
            f"spectrum: expected a matrix (V, V) and a mass (V,), got {matrix.shape} and {tuple(mass.shape)}"
        )
    if k < 1 or not tolerance > 0:
        raise CotanError(f"spectrum: k={k} and tolerance={tolerance}, expected k >= 1 and tolerance > 0")
    values, m = matrix.values.detach(), mass.detach()
    if not bool(torch.isfinite(values).all()):
        raise CotanError(f"spectrum: the matrix has {int((~torch.isfinite(values)).sum())} entries that are not finite")
    if not bool((torch.isfinite(m) & (m > 0)).all()):
        bad = int((~(torch.isfinite(m) & (m > 0))).sum())
        raise CotanError(f"spectrum: {bad} of {size} masses are not positive finite numbers")
    L = matrix.to_scipy()
    uneven = abs(L - L.T).max() if size else 0.0
    if uneven > 1e-5 * abs(L).max():
        raise CotanError(
            f"spectrum: expected a symmetric matrix, got one with |L - L^T| up to {uneven:.3g}. For a random walk "
            'take laplacian kind="graph" with mass=cotan.node("mass", kind="degree"): it has the same pairs'
        )


def positive(vectors: np.ndarray) -> np.ndarray:
    """Signs: the first entry within 1e-6 of the largest absolute value is positive."""
    if not vectors.size:
        return vectors
    size = np.abs(vectors)
    first = np.argmax(size >= (1 - 1e-6) * size.max(0), axis=0)
    return np.asarray(vectors * np.where(vectors[first, np.arange(vectors.shape[1])] < 0, -1.0, 1.0))
