"""Many small matrices at once, where their shapes lie: a batched `eigh` of all that fill a square of one size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from .eigen_dense import polished
from .eigen_refine import Found, scaled
from .factor import Array

STEP = 32  # sizes are filled up to a multiple of this, so that a matrix is solved alike in whatever company
ENTRIES = 2**25  # of the matrices solved at once, 256 MB


def batched_pairs(parts: Sequence[tuple[Any, Array]], k: int, tolerance: float, device: torch.device) -> list[Found]:
    """What `dense_pairs` gives, for each L and m."""
    matrices = [scaled(L, m) for L, m in parts]
    found = _smallest(matrices, k, device)
    return [polished(*part, A, *pairs, tolerance) for part, A, pairs in zip(parts, matrices, found, strict=True)]


def _smallest(matrices: Sequence[Any], k: int, device: torch.device) -> list[tuple[Array, Array]]:
    """The K = min(k, V) smallest pairs of each symmetric CSR matrix (V, V): values (K,), orthonormal rows (K, V)."""
    found = {}
    side = [-(-A.shape[0] // STEP) * STEP for A in matrices]
    for size, alike in groupby(sorted(range(len(matrices)), key=side.__getitem__), side.__getitem__):
        places, few = list(alike), max(1, ENTRIES // size**2)
        for some in (places[i : i + few] for i in range(0, len(places), few)):
            filled = np.stack([_filled(matrices[i], size) for i in some])
            values, U = torch.linalg.eigh(torch.from_numpy(filled).to(device))
            rows = U[:, :, :k].mT.cpu().numpy()
            for i, w, own in zip(some, values[:, :k].cpu().numpy(), rows, strict=True):
                high = matrices[i].shape[0]
                found[i] = w[:high], np.ascontiguousarray(own[:high, :high])
    return [found[i] for i in range(len(matrices))]


def _filled(A: Any, size: int) -> Array:
    """A (V, V) and, apart from it, eigenvalues above all of its own: (size, size)."""
    out = np.diag(np.full(size, 2 * np.linalg.norm(A.data) or 1.0))
    out[: A.shape[0], : A.shape[0]] = A.toarray()
    return out
