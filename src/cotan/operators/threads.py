"""One thread for work in small pieces: threads that wait for each other at each piece cost more than they bring.

On two busy cores, 64 pairs of 250 vertices took 176 ms with two threads and 8 ms with one; of 35,000 vertices, up to
25 s and 2.3 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import Any

import torch

ALONE = 100_000  # vertices up to which pieces count as small


@contextmanager
def one_thread(size: int = 0) -> Iterator[None]:
    """BLAS and torch on one thread inside, for shapes of up to 100,000 vertices; larger ones keep all threads."""
    if size > ALONE or _outside.get():
        yield
        return
    before = torch.get_num_threads()
    first = _limited.acquire(blocking=False)
    try:
        with _libraries().limit(limits=1, user_api="blas") if first else nullcontext():
            token = _outside.set(before)
            if before > 1:
                torch.set_num_threads(1)
            try:
                yield
            finally:
                _outside.reset(token)
                if before > 1:
                    torch.set_num_threads(before)
    finally:
        if first:
            _limited.release()


def threads() -> int:
    """How many threads torch has outside of `one_thread`, for work in pieces that do not wait for each other."""
    return _outside.get() or torch.get_num_threads()


_outside: ContextVar[int] = ContextVar("threads outside", default=0)
# BLAS has one number for the process. Who comes while another limits it leaves it alone: restored would be the limit, and
# threadpoolctl lets only the thread that set a number set the next.
_limited = Lock()


@cache
def _libraries() -> Any:
    """The BLAS libraries that are loaded; finding them takes milliseconds."""
    import scipy.linalg  # noqa: F401  (loads its own)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
