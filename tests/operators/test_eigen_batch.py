"""The batched solver of other devices beside LAPACK, on the CPU and on another device."""

from unittest.mock import patch

import pytest
import torch

from cotan.operators import eigen, eigen_batch
from cotan.operators.eigen import eigenpairs, eigenpairs_of_many
from cotan.sparse import Sparse
from cotan.testing import another_device


def shapes(*sizes):
    """Random weighted graphs of so many vertices; some have several components and loose vertices."""
    generator = torch.Generator().manual_seed(0)
    matrices, masses = [], []
    for size in sizes:
        i, j = torch.randint(size, (2, 2 * size), generator=generator)
        if size % 3 == 0:
            i, j = i // 3 * 3, j // 3 * 3  # two in three vertices are loose
        elif size % 3 == 1:
            i = (i - i % 2 + j % 2).clamp(max=size - 1)  # the even and the odd
        w = torch.rand(len(i), generator=generator, dtype=torch.float64) * (i != j)
        index = [torch.cat(parts) for parts in ([i, j, i, j], [j, i, i, j])]
        matrices.append(Sparse.from_coo(*index, torch.cat([-w, -w, w, w]), (size, size), sum_duplicates=True))
        masses.append(0.5 + torch.rand(size, generator=generator, dtype=torch.float64))
    return matrices, masses


SIZES = (1, 2, 3, 4, 31, 32, 33, 5, 64, 65, 40, 1, 100, 97, 210)


@pytest.fixture
def products(monkeypatch):
    """The CPU taken for a device without factorisations."""
    monkeypatch.setattr(eigen, "FACTORISED", ())


@pytest.mark.parametrize("k", [1, 8, 40, 300])
def test_the_pairs_of_lapack(k, monkeypatch):
    matrices, masses = shapes(*SIZES)
    expected = eigenpairs_of_many(matrices, masses, k)
    monkeypatch.setattr(eigen, "FACTORISED", ())
    for L, m, (values, vectors), (w, phi) in zip(
        matrices, masses, eigenpairs_of_many(matrices, masses, k), expected, strict=True
    ):
        K = min(k, len(m))
        assert values.shape == (K,)
        assert vectors.shape == (len(m), K)
        torch.testing.assert_close(values, w, atol=1e-12, rtol=1e-11)
        torch.testing.assert_close(vectors.T @ (m[:, None] * vectors), torch.eye(K).double(), atol=1e-11, rtol=0)
        torch.testing.assert_close(L @ vectors, m[:, None] * vectors * values, atol=1e-11, rtol=0)
        alone = torch.cat([torch.tensor([True]), w.diff() > 1e-8]) & torch.cat([w.diff() > 1e-8, torch.tensor([False])])
        torch.testing.assert_close(vectors[:, alone], phi[:, alone], atol=1e-7, rtol=0)  # with the same signs


def test_the_same_digits_in_whatever_company(products, monkeypatch):
    matrices, masses = shapes(*SIZES)
    together = eigenpairs_of_many(matrices, masses, 20)
    monkeypatch.setattr(eigen_batch, "ENTRIES", 2 * 64**2)
    in_pieces = eigenpairs_of_many(matrices[::-1], masses[::-1], 20)[::-1]
    for L, m, *found in zip(matrices, masses, together, in_pieces, strict=True):
        alone = eigenpairs(L, m, 20)
        for values, vectors in found:
            assert torch.equal(values, alone[0])
            assert torch.equal(vectors, alone[1])


def test_a_matrix_of_zeros_beside_others(products):
    zeros = Sparse.from_coo(*torch.tensor([[0, 1], [1, 0]]), torch.zeros(2).double(), (2, 2))
    (L,), (m,) = shapes(30)
    values, vectors = eigenpairs_of_many([zeros, L], [torch.ones(2).double(), m], 5)[0]
    assert torch.equal(values, torch.zeros(2).double())
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(2).double())


@pytest.mark.cuda
def test_elsewhere_many_shapes_are_one_call():
    matrices, masses = shapes(50, 53, 56, 59, 62)  # in one piece each
    eigh, calls = torch.linalg.eigh, []
    expected = eigenpairs_of_many(matrices, masses, 6)
    with another_device() as device, patch.object(torch.linalg, "eigh", lambda A: calls.append(A) or eigh(A)):
        found = eigenpairs_of_many([L.to(device) for L in matrices], [m.to(device) for m in masses], 6)
        assert [(A.device.type, A.shape[0]) for A in calls] == [(device.type, 5)]
        assert all(part.device == device for pairs in found for part in pairs)
        found = [values.cpu() for values, _ in found]
    torch.testing.assert_close(found, [values for values, _ in expected], atol=1e-12, rtol=1e-10)
