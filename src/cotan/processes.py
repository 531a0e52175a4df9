"""Processes that compute beside this one, and the folder that they share. Without torch, which not all of them need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import current_process, get_context, parent_process
from pathlib import Path
from threading import Lock, Thread
from types import ModuleType
from typing import Any

from .errors import CotanError


class Processes(ProcessPoolExecutor):
    """A pool of `count` processes that do not run the caller's script again, so that it needs no
    `if __name__ == "__main__"`, and end with the process that started them, however that ends.
    """

    def __init__(self, count: int):
        super().__init__(count, get_context("spawn"), _start, (str(cache_folder()),))

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        if getattr(function, "__module__", None) == "__main__":
            name = getattr(function, "__name__", function)
            raise CotanError(
                f"Processes: {name!r} stands in a script or a notebook, which the processes do not run: expected a function of "
                "a module that can be imported"
            )
        with _swapping:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return super().submit(function, *args, **options)
            finally:
                sys.modules["__main__"] = main


_swapping = Lock()  # two at once would take each other's for the caller's


def how_many(pieces: int, wanted: int | None = None) -> int:
    """How many processes to start for so many pieces of work, one a processor where no number is wanted; 1 is this process."""
    if current_process().daemon:  # a worker of a pool or a DataLoader, which may start none
        return 1
    most = min(pieces, 61) if sys.platform == "win32" else pieces  # Windows waits for no more at once
    return min(wanted or usable(), most)


def usable() -> int:
    """The processors that this process may use: a job may have few of a machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """`COTAN_CACHE` or the platform's cache folder. A relative one is of the working directory when it was first asked for."""
    from platformdirs import user_cache_dir

    try:
        folder = Path(os.environ.get("COTAN_CACHE") or user_cache_dir("cotan", appauthor=False)).expanduser()
    except RuntimeError as reason:
        raise CotanError("no home folder, in which the store would be: name a folder by COTAN_CACHE") from reason
    return _absolute(str(folder))


@lru_cache
def _absolute(folder: str) -> Path:
    return Path(folder).absolute()


def _start(cache: str) -> None:
    """In a worker: the parent's cache folder, and a thread that ends the worker with its parent, however that ends."""
    os.environ["COTAN_CACHE"] = cache

    def watch() -> None:
        parent_process().join()  # type: ignore[union-attr]  # a worker has one
        os._exit(1)

    Thread(target=watch, daemon=True).start()
