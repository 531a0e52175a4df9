"""The same function over many items, on several processes; the results do not depend on how many."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, suppress
from typing import TypeVar

from cotan.processes import Processes, how_many

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Result]:
    """[function(item) for item in items]; `progress(done, total)` is called as results come in, in order.

    The function must be one that an import finds. Few items stay in this process: a worker takes a second to start.
    """
    workers = how_many(len(items) // 8, workers)
    if workers > 1:
        # No process more for this user, no /dev/shm, a worker that was killed...: this process does it all.
        with suppress(BrokenExecutor), ExitStack() as stack:
            try:
                pool = Processes(workers)
                stack.callback(pool.shutdown, cancel_futures=True)
                results = pool.map(function, items, chunksize=4)
            except OSError as reason:  # not the function's own, which come with its results
                raise BrokenExecutor from reason
            return _collect(results, len(items), progress)
    return _collect(map(function, items), len(items), progress)


def _collect(results: Iterator[Result], total: int, progress: Callable[[int, int], object] | None) -> list[Result]:
    done = []
    for result in results:
        done.append(result)
        if progress is not None:
            progress(len(done), total)
    return done
