"""Products of matrices of few rows and many columns, on all threads: each takes a range of the columns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .factor import Array
from .threads import threads

LEAST = 8192  # columns for which another thread pays
ROWS = 8  # that are changed at once: more take more memory


class Columns:
    """For matrices of `size` columns, inside `one_thread`: its threads sleep while they wait, where those of BLAS spin."""

    def __init__(self, size: int):
        count = max(1, min(threads(), size // LEAST))
        ends = np.linspace(0, size, count + 1).astype(int).tolist()
        self.ranges = [slice(*pair) for pair in zip(ends, ends[1:], strict=False)]
        self.pool = ThreadPoolExecutor(count - 1) if count > 1 else None

    def each(self, work: Callable[[slice], Any]) -> list[Any]:
        """work(range) of all ranges, at once."""
        mine, *others = self.ranges
        waiting = [self.pool.submit(work, other) for other in others] if self.pool else []
        return [work(mine), *(each.result() for each in waiting)]

    def dot(self, x: Array, y: Array) -> Array:
        """x y^T, in the precision of y."""
        return sum(self.each(lambda r: (y[:, r] @ x[:, r].astype(y.dtype, copy=False).T).T))  # type: ignore[no-any-return]

    def subtract(self, x: Array, c: Array, y: Array) -> None:
        """x -= c y, the product in the precision of y."""
        c = c.astype(y.dtype, copy=False)

        def work(r: slice) -> None:
            for start in range(0, len(x), ROWS):
                x[start : start + ROWS, r] -= c[start : start + ROWS] @ y[:, r]

        self.each(work)

    def times(self, c: Array, y: Array, out: Array | None = None) -> Array:
        """c y."""
        out = np.empty((len(c), y.shape[1]), y.dtype) if out is None else out
        self.each(lambda r: np.matmul(c, y[:, r], out=out[:, r]))
        return out
