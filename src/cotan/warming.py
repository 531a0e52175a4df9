"""Filling the store from several processes, where evaluating the shapes takes long enough to pay for starting them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from .processes import Processes, how_many
from .store import store

PAYS = 20.0  # seconds of work below which no process is started: each takes a few to import torch
TASK = 2.0  # seconds of work handed to a process at once, so that small values are packed and progress is seen


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
    count = len(shapes) - first
    workers = how_many(count)
    if workers < 2 or each * count < PAYS or not store().writable:
        return {}
    from .application import common_sources, model_requests
    from .data import device_of
    from .network import instead_of

    if device_of(shapes[first]).type != "cpu":  # each process would need a context of its own on the GPU
        return {}
    have = common_sources(shapes)
    jobs = [(model_requests(model, have), instead_of(model)) for model in models.values()]
    costs: dict[int, dict[str, float]] = {}
    # A shape that cannot be pickled, a worker that was killed, no process more...: the caller computes the rest.
    with suppress(Exception), Processes(workers) as pool:
        size = max(1, min(int(TASK / each), -(-count // workers)))
        starts = range(first, len(shapes), size)
        try:
            futures = [pool.submit(_work, jobs, have, shapes[start : start + size], dtype) for start in starts]
            for start, future in zip(starts, futures, strict=True):
                costs |= dict(enumerate(future.result(), start))
                if progress is not None:
                    progress(min(start + size, len(shapes)), len(shapes))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return costs


def _work(
    jobs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    have: frozenset[str],
    shapes: Sequence[Any],
    dtype: torch.dtype,
) -> list[dict[str, float]]:
    from .application import evaluate_plan
    from .errors import CotanError
    from .packing import Packing
    from .plan import Plan, make_plan
    from .together import evaluated

    torch.set_num_threads(1)
    plans = [make_plan(requests, have, instead=instead) for requests, instead in jobs]
    whole = Plan.of(plans)
    costs = []
    with Packing() as packing:
        for evaluation in evaluated(whole, shapes, dtype, packing):
            with suppress(CotanError):  # for the caller to meet: its message knows which shape
                for plan in plans:
                    evaluate_plan(plan, evaluation.data, dtype, evaluation)
            costs.append(evaluation.costs)
    return costs
