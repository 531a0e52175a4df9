"""Plans on several small shapes at once, whose cost is calls and not arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch

from .collation import collate, uncollate
from .data import number_of_vertices
from .errors import CotanError
from .evaluation import NO_MEMORY, Evaluation, run
from .operators.threads import one_thread
from .packing import Packing
from .plan import Plan, Step
from .untraced import outside
from .values import size_of

TOGETHER = 20_000  # vertices evaluated at once, so that what is computed of them stays in the cache
LARGE = 2**25  # bytes of values that a function of lists makes at once: memory that is freed serves the next


def groups(shapes: Sequence[Any], alone: int = 0) -> Iterator[range]:
    """Places of shapes that are evaluated together, some `TOGETHER` vertices at a time; the first few each alone."""
    start = size = 0
    for place, shape in enumerate(shapes):
        own = number_of_vertices(shape)
        if place > start and (place <= alone or size + own > TOGETHER):
            yield range(start, place)
            start, size = place, 0
        size += own
    if start < len(shapes):
        yield range(start, len(shapes))


def evaluated(
    plan: Plan,
    shapes: Sequence[Any],
    dtype: torch.dtype,
    keep: Packing,
    *,
    alone: int = 0,
    known: Sequence[Evaluation] = (),
) -> Iterator[Evaluation]:
    """Of each shape, in order, its evaluation of a plan: small ones are evaluated together, on one thread (`one_thread`).

    known: the shapes' evaluations, where they are kept.
    """
    for group in groups(shapes, alone):
        waiting = [known[n] if known else Evaluation(shapes[n], keep=keep, wider=plan.wider) for n in group]
        with one_thread() if len(group) > 1 else nullcontext():
            evaluate_together(plan, waiting, dtype)
            while waiting:  # what was made of a shape goes before the next is looked at
                yield waiting.pop(0)


def evaluate_together(plan: Plan, evaluations: Sequence[Evaluation], dtype: torch.dtype) -> None:
    """Computes what several shapes lack for a plan's roots, for all of them at once where an operator can (`many`).

    Small shapes cost calls, not arithmetic. What this leaves out, or what fails, is met where a shape's value is asked for.
    """
    evaluations = [evaluation for evaluation in evaluations if not evaluation.live]
    if len({e.device for e in evaluations}) > 1:
        return
    if len(evaluations) < 2 or not any(step.definition is not None and step.definition.many for step in plan.steps):
        return
    inner = {parent.identity for step in plan.steps for parent in step.parents}
    unions: dict[tuple[int, ...], _Union] = {}
    with suppress(CotanError, *NO_MEMORY), torch.no_grad(), outside():
        lacking = [evaluation.lacking(plan.roots.values(), dtype) for evaluation in evaluations]
        for step in plan.steps:
            many = step.definition is not None and step.definition.many
            if not many or (many is True and step.vertices_of is not None):
                continue
            alike = {e.address(step) or i: i for i, e in enumerate(evaluations) if step.identity in lacking[i]}
            which = tuple(alike.values())  # of shapes that share the value one
            if len(which) < 2:
                continue
            some = [evaluations[i] for i in which]
            union = unions.setdefault(which, _Union(some)) if many is True else None
            found = union.evaluate(step) if union is not None else _by_few(step, many, some)
            for i, (value, seconds) in zip(which, found, strict=True):
                evaluations[i].take(step, value, lacking[i][step.identity], seconds)
                if step.identity not in inner:
                    del evaluations[i].values[step.identity, None]  # it has been cast


def _by_few(step: Step, many: Callable[..., Any], evaluations: Sequence[Evaluation]) -> Iterator[tuple[Any, float]]:
    """The value on each shape and its seconds, from a function of lists; of so many at once that they are not `LARGE`."""
    start, few = 0, 2
    while start < len(evaluations):
        some = evaluations[start : start + few]
        values, seconds = run(step, {name: [e.value(p) for e in some] for name, p in step.inputs.items()}, many)
        start, few = start + few, max(1, LARGE // (1 + size_of(values[0])))
        yield from ((value, seconds / len(some)) for value in values)


class _Union:
    """The values of several shapes as those of one, their disjoint union."""

    def __init__(self, evaluations: Sequence[Evaluation]):
        self.evaluations = evaluations
        self.vertices = [evaluation.vertices for evaluation in evaluations]
        self.values: dict[str, Any] = {}

    def of(self, step: Step) -> Any:
        if step.identity not in self.values:
            values = [evaluation.value(step) for evaluation in self.evaluations]
            if any(isinstance(value, torch.Tensor) and not value.numel() for value in values):
                raise CotanError(f"{step.name}: nothing there, which an operator may want to refuse")
            self.values[step.identity] = collate(
                values, per=step.per, index=step.index, vertices=self.vertices, name=step.name
            )
        return self.values[step.identity]

    def evaluate(self, step: Step) -> Iterator[tuple[Any, float]]:
        """The step's value on each shape, and its share of the seconds."""
        start = time.perf_counter()
        value, _ = run(step, {name: self.of(parent) for name, parent in step.inputs.items()})
        self.values[step.identity] = value
        alike = [parent for parent in step.inputs.values() if parent.per == step.per and step.per in ("edge", "face")]
        sizes = None
        if step.index is None and alike:
            dim = -1 if alike[0].index == "vertex" else 0
            sizes = [evaluation.value(alike[0]).shape[dim] for evaluation in self.evaluations]
        cut = uncollate(value, self.vertices, per=step.per, index=step.index, elements=sizes)
        seconds = time.perf_counter() - start
        yield from ((part, seconds / len(cut)) for part in cut)
