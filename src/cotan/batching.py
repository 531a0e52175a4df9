"""From shapes to batches: plan once, evaluate each shape through the store, collate on the model's device.

Preparation ends before the first epoch. Each distinct node is evaluated once a shape, however many models ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from . import registry
from .application import (
    Sample,
    check_signal,
    collate_samples,
    common_sources,
    evaluate_plan,
    kinds_of,
    model_plan,
    place_of,
    shared_plan,
)
from .collation import collate
from .errors import CotanError, at_least, expect
from .evaluation import Evaluation
from .network import made
from .nodes import Request, node
from .packing import Packing
from .plan import Plan, Step
from .shapes import listed
from .targets import counted, mask_of, target
from .together import evaluated
from .values import move
from .warming import warm

TIMED = 3  # shapes after which it is known whether other processes pay


class Batch:
    """What a training step sees. A class of its own, which Fabric hands through without looking inside.

    Attributes:
        values: the roots of the plan.
        target: (B,), (V,), or (N,) with the vertices `index` (n, N) of each; (B, 0) of shapes prepared without.
        rows: (n,) the places of the target that count; None for all of them. count: how many these are.
    """

    def __init__(
        self, values: dict[str, Any], target: Tensor, rows: Tensor | None, count: int, index: Tensor | None = None
    ):
        self.values, self.target, self.rows, self.count, self.index = values, target, rows, count, index

    def counted(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The output at each target, and the target: those that count."""
        if self.index is not None:
            output = output.index_select(0, self.index.flatten()).unflatten(0, self.index.shape).mean(0)
        if self.rows is None:
            return output, self.target
        return output.index_select(0, self.rows), self.target.index_select(0, self.rows)


@dataclass
class Prepared:
    """Shapes evaluated for a model: the values of its plan for each, with targets and masks, on a device."""

    plan: Plan
    samples: list[Sample]
    targets: list[Tensor]
    masks: list[Tensor] | None
    seconds: float = 0.0  # that the operators took, now or when the values were stored
    hits: int = 0  # values that the store had
    nodes: dict[str, float] = field(default_factory=dict)  # seconds by node
    refused: dict[int, str] = field(default_factory=dict)  # why, by place, of shapes that no sample could be made of
    lost: int = 0  # how many targets the refused shapes have
    indices: list[Tensor] | None = None  # the vertices of each target, where it is not one a vertex
    device: torch.device | None = None  # where batches are; None for wherever the shapes are

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        refused = f", {len(self.refused)} refused" if self.refused else ""
        return f"Prepared({len(self)} shapes{refused}; {self.plan})"

    def to(self, device: torch.device | str) -> Prepared:
        """The same, with samples on a device, where they are collated. What samples share they share there too."""
        samples = []
        there = {id(value): move(value, device) for sample in self.samples for value in sample.values()}
        for sample in self.samples:
            moved = Sample({name: there[id(value)] for name, value in sample.items()})
            moved.vertices = sample.vertices
            samples.append(moved)
        targets = [move(t, device) for t in self.targets]
        masks = None if self.masks is None else [m.cpu() for m in self.masks]  # how many count is asked of the host
        indices = None if self.indices is None else [move(i, device) for i in self.indices]
        return replace(
            self, samples=samples, targets=targets, masks=masks, indices=indices, device=torch.device(device)
        )

    @property
    def answered(self) -> int:
        """How many targets of the samples count."""
        return sum(map(len, self.targets) if self.masks is None else (int(mask.sum()) for mask in self.masks))

    def counted(self) -> list[Tensor]:
        """Of each sample, the targets that count."""
        return [t if self.masks is None else t[self.masks[i]] for i, t in enumerate(self.targets)]

    def refusals(self) -> str:
        """What was refused, in a line."""
        which = "the first" if len(self.refused) > 1 else "it"
        return f"{len(self.refused)} of {len(self) + len(self.refused)} refused; {which}: {next(iter(self.refused.values()))}"

    def values(self, places: Sequence[int]) -> dict[str, Any]:
        """The roots of the plan for a batch of the samples at some places."""
        values = collate_samples(self.plan, [self.samples[i] for i in places])
        # Of plain numbers, a batch is made on the CPU.
        return {name: move(value, self.device) for name, value in values.items()}

    def collate(self, places: Sequence[int]) -> Batch:
        """One batch of the samples at some places."""
        targets = [self.targets[i] for i in places] if self.targets else [torch.zeros(len(places), 0)]
        try:
            y = torch.cat(targets)
        except RuntimeError as reason:
            widths = {tuple(t.shape[1:]) for t in targets}
            if len(widths) == 1:
                raise
            raise CotanError(
                f"targets of sizes {', '.join(map(str, sorted(widths)))}, expected one size; for a target a vertex: "
                "prepare(..., per='vertex')"
            ) from reason
        rows = None
        if self.masks is not None:
            rows = torch.cat([self.masks[i] for i in places]).nonzero()[:, 0].to(y.device, non_blocking=True)
        index = None
        if self.indices is not None:
            sizes = [self.samples[i].vertices[None] for i in places]
            index = collate([self.indices[i] for i in places], per="edge", index="vertex", vertices=sizes)
        return Batch(self.values(places), y, rows, len(y) if rows is None else len(rows), index)

    def batches(self, size: int, order: Sequence[int] | None = None) -> Iterator[Batch]:
        """All samples in ceil(n / size) batches of nearly one size, so that the last is no crumb; empty masks left out.

        Collating anew costs about 3% of a training step on these samples, so an epoch's order is truly a new one.
        """
        return (batch for batch in map(self.collate, self.places(size, order)) if batch.count)

    def places(self, size: int, order: Sequence[int] | None = None) -> list[list[int]]:
        """The places of the samples of each batch."""
        at_least(1, "batches", batch_size=size)
        places = list(range(len(self))) if order is None else list(order)
        if not places:
            return []
        number = -(-len(places) // size)
        cuts = [round(i * len(places) / number) for i in range(number + 1)]
        return [places[a:b] for a, b in pairwise(cuts)]


def prepare(
    models: nn.Module | Mapping[str, nn.Module],
    shapes: Sequence[Any],
    *,
    per: str | None = "shape",
    on: Request | Iterable[Request] = (),
    refuse: bool = False,
    progress: Callable[[int, int], object] | None = None,
    keep: Packing | None = None,
) -> Any:
    """Evaluate shapes once, for a loop of your own: `Prepared` for a model, or a dict of one for each of several.

    Several models share the nodes that they both need.

    Arguments:
        per: of the task, "shape" or "vertex", for the targets; None where there are none.
        on: augmentations before the plan.
        refuse: leave the shapes that an operator of a model refuses out of its `Prepared`, listed, instead of raising.
        progress: called with the numbers of shapes done and in all.
        keep: what calls for lists of shapes share, so that those with one graph have one matrix.

    >>> prepared = cotan.prepare(model, shapes)
    >>> for batch in prepared.batches(16):
    ...     loss = cross_entropy(cotan.forward(model, batch.values), batch.target)
    """
    several = models if isinstance(models, Mapping) else {"": models}
    for model in several.values():
        expect("prepare", model, nn.Module, "a layer or a model, as create_layer and create_model make")
    if hasattr(shapes, "keys"):  # one shape, or PyG's Batch
        shapes = listed(shapes) or [shapes]
    expect("prepare: shapes", shapes, Sized, "a list of Data")  # torch's datasets are no Iterable
    dtypes = {place_of(model)[0] for model in several.values()}
    if len(dtypes) > 1:
        raise CotanError(f"models of several dtypes cannot be prepared together: {', '.join(map(str, dtypes))}")
    dtype = dtypes.pop()
    kinds = kinds_of(shapes)
    lacking = [number for number, shape in enumerate(shapes) if per is not None and shape.get("y") is None]
    if lacking:
        which = f"{len(lacking)} of {len(shapes)} shapes have no y, the first is number {lacking[0]}"
        raise CotanError(f"{which}: give each its target, or prepare(..., per=None)")
    plans = {name: shared_plan(kinds, partial(model_plan, model, on=on)) for name, model in several.items()}
    out = {name: _empty(plan, shapes, per) for name, plan in plans.items()}
    whole = Plan.of(plans.values())
    elsewhere: dict[int, dict[str, float]] = {}
    spent = 0.0  # by the operators on those tried, but the first: what they share, it computed
    with keep or Packing() as packing:
        for number, evaluation in enumerate(evaluated(whole, shapes, dtype, packing, alone=TIMED)):
            shape = evaluation.data
            evaluation.costs.update(elsewhere.get(number, {}))
            for name, prepared in out.items():
                try:
                    sample = evaluate_plan(prepared.plan, shape, dtype, evaluation)
                    check_signal(several[name], prepared.plan, sample)
                except CotanError as reason:
                    file = f" ({shape.path})" if shape.get("path") else ""
                    text = f"shape {number} of {len(shapes)}{file}: {reason}"
                    if not refuse:
                        raise CotanError(text) from reason
                    prepared.refused[number] = text
                    prepared.lost += 0 if per is None else len(counted(shape, per))
                else:
                    _add(prepared, sample, shape, per, evaluation)
            if 0 < number < TIMED:
                spent += sum(evaluation.costs.values())
            if progress is not None:
                progress(number + 1, len(shapes))
            if number + 1 == TIMED < len(shapes) and not any(step.transient for step in whole.steps):
                elsewhere = warm(several, shapes, TIMED, dtype, spent / (TIMED - 1), progress)
    return out if isinstance(models, Mapping) else out[""]


def _empty(plan: Plan, shapes: Sequence[Any], per: str | None) -> Prepared:
    own = any(step.vertices_of is None for step in plan.roots.values() if step.per != "shape")
    if per == "vertex" and not own and (few := next((step for step in plan.steps if step.recounts), None)):
        raise CotanError(f"{few.label} changes the number of vertices, and there is a target at each")
    masked = per == "vertex" and any(shape.get("mask") is not None for shape in shapes)
    return Prepared(plan, [], [], [] if masked else None)


def _add(prepared: Prepared, sample: Sample, shape: Any, per: str | None, evaluation: Evaluation) -> None:
    prepared.samples.append(sample)
    if per is not None:
        prepared.targets.append(target(shape, per))
    if prepared.masks is not None:
        prepared.masks.append(mask_of(shape))
    index = shape.get("y_index")
    if per == "vertex" and index is not None:
        prepared.indices = prepared.indices or []
        prepared.indices.append(index)
    for step in prepared.plan.steps:
        if step.definition is None:
            continue
        seconds = evaluation.costs.get(step.identity)
        if seconds is None and not step.transient:
            seconds = _once(evaluation, step)
            prepared.hits += seconds is not None
        if seconds is not None:
            prepared.seconds += seconds
            prepared.nodes[step.label] = prepared.nodes.get(step.label, 0.0) + seconds


def _once(evaluation: Evaluation, step: Step) -> float | None:
    """The seconds that a stored value took when it was computed, counted for the first of the shapes that share it."""
    address = evaluation.address(step)
    for key in (f"{address}-float32", f"{address}-float64"):
        seconds = evaluation.store.seconds(key, step.name)
        if seconds is not None:
            evaluation.costs[step.identity] = seconds
            return seconds
    return None


class Augmented:
    """Training shapes that are augmented anew each epoch: what the motion does not change is kept, the rest evaluated again."""

    def __init__(self, model: nn.Module, shapes: Sequence[Any], augment: Sequence[Request], per: str):
        self.model, self.augment, self.per = model, augment, per
        self.shapes = shapes
        self.have = common_sources(shapes)
        self.dtype = place_of(model)[0]
        self.packing = Packing()
        self.evaluations = [Evaluation(shape, keep=self.packing) for shape in shapes]
        self.plan(0)  # what it refuses is met before the first epoch

    def plan(self, seed: int) -> Plan:
        on = [node(request, seed=seed * len(self.augment) + i) for i, request in enumerate(self.augment)]
        return model_plan(self.model, self.have, on)

    @torch.no_grad()  # as what `fit` prepares
    def epoch(self, seed: int) -> Prepared:
        """The samples of one epoch."""
        plan = self.plan(seed)
        prepared = _empty(plan, self.shapes, self.per)
        for evaluation in evaluated(plan, self.shapes, self.dtype, self.packing, known=self.evaluations):
            sample = evaluate_plan(plan, evaluation.data, self.dtype, evaluation)
            _add(prepared, sample, evaluation.data, self.per, evaluation)
            evaluation.forget(step for step in plan.steps if step.transient)
        self.packing.write()
        return prepared


def task_of(model: nn.Module, default: str = "classify") -> str:
    """The task that a model was made for; a module of the caller's own says it by an attribute `task`, or `fit` does."""
    return str(made(model).get("task") or getattr(registry.unwrapped(model), "task", default))


def per_of(model: nn.Module) -> str:
    """Whether a model's task wants a target per shape or per vertex."""
    return registry.lookup("task", task_of(model)).target.per
