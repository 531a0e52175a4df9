import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from cotan.operators.eigen import eigenpairs
from cotan.operators.threads import ALONE, one_thread, threads
from cotan.sparse import Sparse


def blas():
    np.eye(2) @ np.eye(2)
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_inside_and_as_before_outside(two_threads):
    before = blas()
    with pytest.raises(ZeroDivisionError), one_thread(10):
        assert set(blas()) == {1}
        assert torch.get_num_threads() == 1
        assert threads() == 2
        raise ZeroDivisionError
    assert blas() == before
    assert torch.get_num_threads() == 2
    with one_thread(ALONE + 1):
        assert torch.get_num_threads() == 2


def test_the_solver_leaves_threads_as_they_were(two_threads):
    before = blas()
    ring = torch.arange(40)
    L = Sparse.from_coo(
        torch.cat([ring, ring, ring]),
        torch.cat([ring, (ring + 1) % 40, (ring - 1) % 40]),
        torch.tensor([2.0, -1, -1], dtype=torch.float64).repeat_interleave(40),
        (40, 40),
    )
    values, _ = eigenpairs(L, torch.ones(40, dtype=torch.float64), 5)
    exact = 2 - 2 * torch.cos(2 * torch.pi * torch.tensor([0, 1, 1, 2, 2], dtype=torch.float64) / 40)
    torch.testing.assert_close(values, exact)
    assert blas() == before
    assert torch.get_num_threads() == 2
