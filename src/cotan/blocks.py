"""Passes over signals, some rows at a time, so that what is computed on the way stays in the cache.

On a CPU each of torch's threads takes whole blocks through all steps and waits for the others once a pass. If each step were
given to torch as a whole, the threads would wait for each other at every step; oneDNN's do so in a busy loop, which costs 4 ms
a step where two of them share a processor.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

# Blocks of up to 2 MB. Eight times a prime: oneDNN sums over rows in blocks of the largest divisor from 7 to 16, and blocks of
# 8 take half the time of blocks of 16.
ROWS, NUMBERS = tuple(8 * prime for prime in (1021, 509, 251, 127)), 2**19
Result = TypeVar("Result")


def by_blocks(work: Callable[[slice], Result], x: Tensor, times: int = 1) -> list[Result]:
    """work(rows) for all rows of x, in order; no derivatives are recorded. On a GPU all rows are one block.

    times: how many rows `work` makes of each.
    """
    count, each = len(x), max(1, x[:1].numel() * times)
    rows = next((rows for rows in ROWS if rows * each <= NUMBERS), max(1, NUMBERS // each))
    rows = rows if x.device.type == "cpu" else max(1, count)
    parts = [slice(start, min(start + rows, count)) for start in range(0, max(1, count), rows)]
    threads = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()  # known to a thread only, like no_grad

    def alone(part: slice) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return work(part)

    if threads == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    return list(_pool(threads, os.getpid()).map(alone, parts))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads for which torch works on one. A process that was forked has none of them, and makes its own."""
    pool, together = ThreadPoolExecutor(threads), Barrier(threads)

    def start(_: int) -> None:
        torch.set_num_threads(1)
        together.wait()
        torch.get_num_threads()  # only the first question settles it for this thread

    list(pool.map(start, range(threads)))
    torch.set_num_threads(threads)  # what the caller's later threads begin with
    return pool


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Uninitialised memory for a signal. numpy asks for large pages, which saves thousands of page faults."""
    if like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(np.empty(shape, str(like.dtype).removeprefix("torch.")))
    return like.new_empty(shape)


@cache
def processor() -> str:
    """Its vendor and family are in this text, on Linux and Windows."""
    info = Path("/proc/cpuinfo")
    return info.read_text() if info.exists() else platform.processor()
