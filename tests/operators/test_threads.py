from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (its BLAS is one more)
import torch
from threadpoolctl import threadpool_info, threadpool_limits

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


def apart(function, *arguments):
    """In a thread that ends: threadpoolctl lets no other change a number while the one that set it lives."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


@pytest.mark.parametrize("leaves_first", [0, 1])
def test_threads_that_overlap_leave_the_number_as_it_was(leaves_first):
    turn = Barrier(2, timeout=60)

    def work(number):
        if number:
            turn.wait()  # until 0 is inside
        with one_thread():
            if not number:
                inside = blas()
                turn.wait()
            turn.wait()  # both are inside
            if number != leaves_first:
                turn.wait()
        if number == leaves_first:
            turn.wait()
        return number or inside

    before = max(blas())
    apart(threadpool_limits, 2, "blas")
    try:
        if set(blas()) != {2}:
            pytest.skip("a BLAS of one thread")
        with ThreadPoolExecutor(2) as pool:
            inside, _ = pool.map(work, range(2))
            assert set(inside) == {1}
            assert set(blas()) == {2}
        with one_thread():
            assert set(blas()) == {1}
    finally:
        apart(threadpool_limits, before, "blas")


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
