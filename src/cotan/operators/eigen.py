"""Which eigensolver for which matrix, and what all of them share: checks, components, signs, gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CotanError, expect
from ..sparse import Sparse
from ..untraced import array, outside
from .eigen_batch import batched_pairs
from .eigen_chebyshev import chebyshev_pairs
from .eigen_dense import dense_pairs
from .eigen_gradient import attach
from .eigen_refine import Found, has_constants, residual, rounded_zero
from .eigen_sparse import fills, has_hubs, hub_pairs, sparse_pairs, unfactorised
from .factor import Array
from .threads import one_thread, threads

DENSE = 256  # up to so many vertices, and four for each pair that is wanted, a dense solver is quicker
SEEN = 2**17  # numbers looked at together, which stay in the cache
FACTORISED = ("cpu",)  # devices with sparse factorisations; on others products with the matrix have to do


def eigenpairs(matrix: Sparse, mass: Tensor, k: int = 128, tolerance: float = 1e-6) -> tuple[Tensor, Tensor]:
    """The min(k, V) smallest pairs of L phi = lambda M phi: values (K,), vectors (V, K), with gradients.

    Arguments: matrix (V, V) symmetric positive semi-definite, mass (V,) positive.
    """
    expect("spectrum: laplacian", matrix, Sparse, "a Sparse (cotan.Sparse.from_scipy makes one)")
    with one_thread(len(mass)):
        return _eigenpairs([matrix], [mass], k, tolerance)[0]


def eigenpairs_of_many(
    matrices: Sequence[Sparse], masses: Sequence[Tensor], k: int = 128, tolerance: float = 1e-6
) -> list[tuple[Tensor, Tensor]]:
    """Of several shapes. On the CPU each is solved on one thread, as many at once as torch has threads."""
    if matrices[0].device.type not in FACTORISED:
        with one_thread():
            return _eigenpairs(matrices, masses, k, tolerance)
    workers = threads()
    with one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        spread = map if workers == 1 else pool.map
        return list(spread(lambda L, m: _eigenpairs([L], [m], k, tolerance)[0], matrices, masses))


def _eigenpairs(
    matrices: Sequence[Sparse], masses: Sequence[Tensor], k: int, tolerance: float
) -> list[tuple[Tensor, Tensor]]:
    problems, device = [], matrices[0].device
    for matrix, mass in zip(matrices, masses, strict=True):
        uneven = check(matrix, mass, k, tolerance)
        L, m = matrix.to_scipy().astype(np.float64, copy=False), array(mass.double())
        problems.append(((L + L.T) / 2 if uneven else L, m))
    out = []
    with outside():
        found = list(solve(problems, k, tolerance, device))
    for matrix, mass, (values, rows) in zip(matrices, masses, found, strict=True):
        vectors = np.ascontiguousarray(positive(rows).T)
        out.append(attach(matrix, mass, *(torch.from_numpy(part).to(device) for part in (values, vectors))))
    return out


def solve(
    problems: Sequence[tuple[Any, Array]], k: int, tolerance: float, device: torch.device
) -> Iterator[tuple[Array, Array]]:
    """Of each (L, m), values (K,) and vectors as rows (K, V), K = min(k, V).

    Component by component: eigenvalues that these share are so often multiple.
    """
    cut = [list(components(L, m, k)) for L, m in problems]
    parts = [(part, m[rows]) for (_, m), of_shape in zip(problems, cut, strict=True) for rows, part in of_shape]
    found = connected_pairs(parts, k, tolerance, device)
    for (L, m), of_shape in zip(problems, cut, strict=True):
        yield joined(L, m, [(rows, *next(found)) for rows, _ in of_shape], min(k, len(m)), tolerance)


def joined(L: Any, m: Array, found: list[Any], k: int, tolerance: float) -> tuple[Array, Array]:
    """The k smallest pairs of a shape from those of its components: vertices, values, vectors, errors of each."""
    values, errors = (np.concatenate([pairs[i] for pairs in found]) for i in (1, 3))
    order = np.argsort(values, kind="stable")
    judge(L.diagonal() / m, values[order], errors[order[:k]], tolerance)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    if len(found[0][0]) == len(m):
        return np.maximum(values, 0), found[0][2]
    vectors, start = np.zeros((k, len(m))), 0
    for rows, own, phi, _ in found:
        place = rank[start : start + len(own)]
        vectors[np.ix_(place[place < k], rows)] = phi[place < k]
        start += len(own)
    return np.maximum(values[order[:k]], 0), vectors


def components(L: Any, m: Array, k: int) -> Iterator[tuple[Array, Any]]:
    """The vertices of each connected component and its matrix; of components of one vertex, only the k lowest."""
    from scipy.sparse.csgraph import connected_components

    count, label = connected_components(L, directed=False)
    order = np.argsort(label, kind="stable")
    if count == 1:
        yield order, L
        return
    L = L[order][:, order]
    ends = np.cumsum(np.bincount(label))
    size = np.diff(ends, prepend=0)
    single = (ends - 1)[size == 1]
    lowest = single[np.argsort(L.diagonal()[single] / m[order[single]], kind="stable")[:k]]
    for start, end in [(i, i + 1) for i in lowest] + [(e - s, e) for e, s in zip(ends, size, strict=True) if s > 1]:
        yield order[start:end], L[start:end, start:end]


def connected_pairs(
    parts: Sequence[tuple[Any, Array]], k: int, tolerance: float, device: torch.device
) -> Iterator[Found]:
    """Of each component, by whichever solver is quicker at its size: values, vectors phi as rows (k, V), errors."""
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    here, most = device.type in FACTORISED, DENSE + 4 * k
    batch = iter(() if here else batched_pairs([p for p in parts if 1 < len(p[1]) <= most], k, tolerance, device))
    for L, m in parts:
        if len(m) == 1:
            yield L.diagonal() / m, m[None] ** -0.5, np.zeros(1)
            continue
        if len(m) <= most:
            values, U, errors = dense_pairs(L, m, min(k, len(m)), tolerance) if here else next(batch)
        else:
            order = reverse_cuthill_mckee(L, symmetric_mode=True)  # neighbours close in memory: a tenth quicker
            near, weight = L[order][:, order], m[order]
            full = fills(near)
            found = hub_pairs(near, weight, max(k, 2), tolerance) if here and full and has_hubs(near, weight) else None
            if found is None and (full or not here):
                found = chebyshev_pairs(near, weight, k, tolerance, device)
            if found is None:  # two at least: the first may be known, and Lanczos looks for no fewer than one
                found = (unfactorised if full else sparse_pairs)(near, weight, max(k, 2), tolerance)
            values, U, errors = (part[:k] for part in found)
            U = np.take(U, np.argsort(order), axis=1)  # rows stay together in memory, which [:, order] would not keep
        diagonal = L.diagonal() / m
        zeros = int((values <= rounded_zero(diagonal)).sum()) if has_constants(L) else 0
        if zeros > 1:  # faces without area join their corners by edges that weigh nothing
            U[1:zeros] = others(U[:zeros], (m / m.sum()) ** 0.5)
        phi = U * m**-0.5
        if np.finfo(np.float64).eps * diagonal.max() > 1e-3 * tolerance * values[-1]:  # what that rounding may add
            errors = np.array(
                [np.linalg.norm((L @ row - m * row * x) * m**-0.5) for x, row in zip(values, phi, strict=True)]
            )
        if zeros:
            phi[0], values[0], errors[0] = m.sum() ** -0.5, 0, 0  # exactly: large weights would magnify rounding
        yield values, phi, errors


def others(kernel: Array, constants: Array) -> Array:
    """Orthonormal rows (r - 1, V) that with the constants span the rows (r, V) of a kernel, in which these are."""
    rest: Array = np.linalg.svd(kernel - np.outer(kernel @ constants, constants), full_matrices=False)[2]
    return rest[: len(kernel) - 1]


def judge(diagonal: Array, values: Array, errors: Array, tolerance: float) -> None:
    """Refuse pairs whose residual is above the tolerance."""
    worst = residual(values, errors, rounded_zero(diagonal))
    if worst > tolerance:
        raise CotanError(
            f"spectrum: expected residuals up to {tolerance:.0e}, got {worst:.1e}. The diagonal of M^-1 L goes from "
            f"{diagonal.min():.0e} to {diagonal.max():.0e}: repair the mesh, or take a larger tolerance="
        )


def check(matrix: Sparse, mass: Tensor, k: int, tolerance: float) -> float:
    """Refuse what is no symmetric eigenproblem, saying why. Gives the largest |L - L^T|, which is rounding at most."""
    size = matrix.shape[0]
    if matrix.shape != (size, size) or mass.shape != (size,):
        raise CotanError(
            f"spectrum: expected a matrix (V, V) and a mass (V,), got {matrix.shape} and {tuple(mass.shape)}"
        )
    if size == 0:
        raise CotanError("spectrum: expected a shape with vertices, got none")
    if k < 1 or not tolerance > 0:
        raise CotanError(f"spectrum: k={k} and tolerance={tolerance}, expected k >= 1 and tolerance > 0")
    values, m = matrix.values.detach(), mass.detach()
    if not bool(torch.isfinite(values).all()):
        raise CotanError(f"spectrum: the matrix has {int((~torch.isfinite(values)).sum())} entries that are not finite")
    if not bool((torch.isfinite(m) & (m > 0)).all()):
        bad = int((~(torch.isfinite(m) & (m > 0))).sum())
        raise CotanError(f"spectrum: {bad} of {size} masses are not positive finite numbers")
    uneven = asymmetry(matrix)
    if uneven > 1e-5 * float(values.abs().max() if len(values) else 0):
        raise CotanError(
            f"spectrum: expected a symmetric matrix, got one with |L - L^T| up to {uneven:.3g}. For a random walk "
            'take laplacian kind="graph" with mass=cotan.node("mass", kind="degree"): it has the same pairs'
        )
    return uneven


def asymmetry(matrix: Sparse) -> float:
    """The largest |L - L^T|."""
    pattern, values = matrix.pattern, matrix.values.detach()
    if torch.equal(pattern.t_col, pattern.col) and torch.equal(pattern.t_rowptr, pattern.rowptr):
        difference = values - values[pattern.t_perm]
        return float(difference.abs().max()) if len(values) else 0.0
    L = matrix.to_scipy()
    return float(abs(L - L.T).max())


def positive(rows: Array) -> Array:
    """Signs of vectors (K, V), in place: the first entry within 1e-6 of the largest absolute value is positive."""
    step = max(1, SEEN // rows.shape[1])
    for part in (rows[i : i + step] for i in range(0, len(rows), step)):
        size = np.abs(part)
        first = (size >= (1 - 1e-6) * size.max(1, keepdims=True)).argmax(1)
        part[part[np.arange(len(part)), first] < 0] *= -1
    return rows
