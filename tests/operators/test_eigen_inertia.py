import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import diags_array

import cotan
from cotan.operators import eigen_sparse
from cotan.operators.eigen_inertia import count_below, missed

FILES = sorted((Path(os.environ["COTAN_DATA"]) / "meshes").glob("*/*")) if os.environ.get("COTAN_DATA") else []


def path_graph(size):
    return diags_array([[-1.0] * (size - 1), [1.0, *[2.0] * (size - 2), 1.0], [-1.0] * (size - 1)], offsets=(-1, 0, 1))


def test_a_path_by_its_formula():
    exact = 2 - 2 * np.cos(np.pi * np.arange(30) / 30)
    for shift in (-0.1, 0.05, 0.97, 3.3, 5.0):
        assert count_below(path_graph(30).tocsr(), np.ones(30), shift) == (exact < shift).sum()
        assert count_below(path_graph(30).tocsr(), np.full(30, 2.0), shift / 2) == (exact < shift).sum()
    assert count_below(path_graph(30).tocsr(), np.ones(30), 1.0) is None  # the first pivot is zero


def test_what_is_missed_is_noticed():
    exact = 2 - 2 * np.cos(np.pi * np.arange(30) / 30)
    L = path_graph(30).tocsr()
    assert not missed(L, np.ones(30), exact[:12])
    for i in (0, 3, 6):
        assert missed(L, np.ones(30), np.delete(exact[:13], i))
    for unknown in (exact[1:2], np.ones(8)):  # no gap, and none but for rounding
        assert not missed(L, np.ones(30), unknown)


def test_a_solver_that_misses_is_mended(monkeypatch):
    """On a ring of 600, whose eigenvalues are double, the first search is made to lose one."""
    ring = path_graph(600).tolil()
    ring[0, 599] = ring[599, 0] = -1.0
    ring[0, 0] = ring[599, 599] = 2.0
    L = ring.tocsr()
    whole = eigen_sparse.inverse_lanczos
    calls = []

    def careless(shifted, k, tolerance, dtype=np.float32, known=None):
        calls.append(k)
        values, U, errors = whole(shifted, k + (known is None), tolerance, dtype, known)
        if known is None:
            kept = np.r_[0:3, 4 : len(values)]
            return values[kept], U[kept], errors[kept]
        return values, U, errors

    monkeypatch.setattr(eigen_sparse, "inverse_lanczos", careless)
    monkeypatch.setattr(eigen_sparse, "multiplicity", lambda values: 4)
    values, _, _ = eigen_sparse.sparse_pairs(L, np.ones(600), 12, 1e-6)
    exact = np.sort(2 - 2 * np.cos(2 * np.pi * np.arange(600) / 600))[:12]
    np.testing.assert_allclose(values, exact, atol=1e-9)
    assert len(calls) > 1


@pytest.mark.skipif(not FILES, reason="COTAN_DATA is not set")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_pair_of_a_real_mesh_is_missed(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.MeshWarning)
        data = cotan.read(file)
    if file.name == "degenerate_mesh.obj":
        pytest.skip("without area")
    L, mass = (cotan.compute(data, name, dtype=torch.float64) for name in ("laplacian", "mass"))
    values = cotan.compute(data, "spectrum", k=32, dtype=torch.float64).values.numpy()
    gaps = np.diff(values)
    wide = [i for i in np.argsort(-gaps)[:2] if gaps[i] > 1e-6 * values[-1]]
    for i in wide:
        below = count_below(L.to_scipy(), mass.numpy(), (values[i] + values[i + 1]) / 2)
        assert below == i + 1
