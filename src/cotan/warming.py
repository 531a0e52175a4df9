"""Filling the store from several processes, where evaluating the shapes takes long enough to pay for starting them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

PAYS = 20.0  # seconds of work below which no process is started: each takes a few to import torch


def warm(
    models: Mapping[str, nn.Module],
    shapes: Sequence[Any],
    first: int,
    dtype: torch.dtype,
    each: float,
    progress: Callable[[int, int], object] | None = None,
) -> dict[int, dict[str, float]]:
    """Puts the values of `shapes[first:]` in the store; gives the seconds of each step by shape.

    `each` is what one shape took so far. What fails in a worker is left for the caller, who meets the error itself.
    """
    from .store import store

    count = len(shapes) - first
    workers = min(os.cpu_count() or 1, count)
    if workers < 2 or each * count < PAYS or not store().writable:
        return {}
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from .network import _common_sources, model_requests

    have = _common_sources(shapes)
    jobs = [model_requests(model, have) for model in models.values()]
    costs: dict[int, dict[str, float]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        with _without_main():
            futures = [pool.submit(_work, jobs, have, shape, dtype) for shape in shapes[first:]]
        try:
            for number, future in enumerate(futures, start=first):
                costs[number] = future.result()
                if progress is not None:
                    progress(number + 1, len(shapes))
        except Exception:  # a shape that cannot be pickled, a worker that was killed...: the caller computes the rest
            pool.shutdown(cancel_futures=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return costs


def _work(jobs: Sequence[Mapping[str, Any]], have: frozenset[str], shape: Any, dtype: torch.dtype) -> dict[str, float]:
    from .errors import CotanError
    from .network import evaluate_plan
    from .plan import Evaluation, make_plan

    torch.set_num_threads(1)
    evaluation = Evaluation(shape)
    try:
        for requests in jobs:
            evaluate_plan(make_plan(requests, have), shape, dtype, evaluation)
    except CotanError:
        pass  # for the caller to meet: its message knows which shape
    return evaluation.costs


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes started here do not run the caller's script again, so it needs no `if __name__ == "__main__"`."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
