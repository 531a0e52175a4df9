"""The same function over many items, on several processes; the results do not depend on how many."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from types import ModuleType
from typing import TypeVar

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
    workers = min(workers or os.cpu_count() or 1, len(items) // 8)
    if workers <= 1:
        return _collect(map(function, items), len(items), progress)
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        with _without_main():
            results = pool.map(function, items, chunksize=4)
        try:
            return _collect(results, len(items), progress)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _collect(results: Iterator[Result], total: int, progress: Callable[[int, int], object] | None) -> list[Result]:
    done = []
    for result in results:
        done.append(result)
        if progress is not None:
            progress(len(done), total)
    return done


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started here do not import the caller's script again, so it needs no `if __name__ == "__main__"`."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Let this process end when the one that started it does: where that is killed, it would wait for work for ever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
