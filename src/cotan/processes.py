"""Processes that compute beside this one. Without torch, which not all of them need."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from types import ModuleType
from typing import Any


class Processes(ProcessPoolExecutor):
    """A pool of `count` processes that do not run the caller's script again, so that it needs no
    `if __name__ == "__main__"`, and end with the process that started them, however that ends.
    """

    def __init__(self, count: int):
        super().__init__(count, get_context("spawn"), _end_with_parent)

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            return super().submit(function, *args, **options)
        finally:
            sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """Without it, where the parent is killed, this process would wait for work for ever."""

    def watch() -> None:
        parent_process().join()  # type: ignore[union-attr]  # a worker has one
        os._exit(1)

    Thread(target=watch, daemon=True).start()
