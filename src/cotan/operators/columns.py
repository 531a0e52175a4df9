"""Products of matrices of few rows and many columns, on all threads: each takes a range of the columns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .factor import Array
from .threads import threads

LEAST = 8192  # columns for which a range of their own pays
MOST = 4  # ranges are 2 to the power of this at most
ROWS = 8  # that are worked on together


class Columns:
    """For matrices of `size` columns, inside `one_thread`: its threads sleep while they wait, where those of BLAS spin.

    The ranges, and with them the last digits, are the same for any number of threads.
    """

    def __init__(self, size: int):
        count = 2 ** min(MOST, max(1, size // LEAST).bit_length() - 1)
        ends = np.linspace(0, size, count + 1).astype(int).tolist()
        ranges = [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]
        workers = min(threads(), count)
        cuts = [count * i // workers for i in range(workers + 1)]
        self.mine, *self.others = (ranges[start:end] for start, end in zip(cuts, cuts[1:], strict=False))
        self.pool = ThreadPoolExecutor(workers - 1) if workers > 1 else None

    def each(self, work: Callable[[slice], Any]) -> list[Any]:
        """work(range) of all ranges, at once."""

        def some(ranges: list[slice]) -> list[Any]:
            return [work(r) for r in ranges]

        waiting = [self.pool.submit(some, ranges) for ranges in self.others] if self.pool else []
        return sum((found.result() for found in waiting), some(self.mine))

    def dot(self, x: Array, y: Array) -> Array:
        """x y^T, in the precision of y."""
        return sum(self.each(lambda r: (y[:, r] @ x[:, r].astype(y.dtype, copy=False).T).T))

    def subtract(self, x: Array, c: Array, y: Array) -> None:
        """x -= c y, the product in the precision of y."""
        c = c.astype(y.dtype, copy=False)

        def work(r: slice) -> None:
            for rows in blocks(len(x)):
                x[rows, r] -= c[rows] @ y[:, r]

        self.each(work)

    def times(self, c: Array, y: Array, out: Array | None = None) -> Array:
        """c y."""
        out = np.empty((len(c), y.shape[1]), y.dtype) if out is None else out
        self.each(lambda r: np.matmul(c, y[:, r], out=out[:, r]))
        return out


def blocks(count: int) -> list[slice]:
    """Rows a few at a time: a solve or a product of all at once takes more memory, and more time in cache misses."""
    return [slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]
