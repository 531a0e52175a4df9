"""What an operator has to hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .. import autodiff, registry
from ..collation import collate, uncollate
from ..data import sources_of
from ..errors import CotanError
from ..nodes import Node, Request, node
from ..plan import Plan, Step, make_plan
from ..sparse import Sparse
from ..spectrum import Spectrum
from ..together import evaluate_together
from ..values import is_named_tuple, move, put_together, take_apart
from .compare import (
    Report,
    central,
    check_finite,
    check_generator,
    check_places,
    check_unchanged,
    copies,
    failing,
    leaves,
    one_line,
    same,
)
from .elsewhere import another_device
from .options import check_options
from .shapes import any_basis, evaluation_of, example, motions, normal, pairs, renumbered, with_signal

_AS_GIVEN: Mapping[str, Tensor] = {}


def check_operator(request: Request, *, data: Any = None, **options: Any) -> Report:
    """Check a registered operator, with options or as a request.

    On each kind of shape that has its sources: finite values, the same in each evaluation, equivariant to the renumbering of
    vertices, edges and faces, equal in a batch, equal after the store, declared invariances held, derivatives right where it
    has any, and a picture drawn where it says how. `data` as in `check_layer`.
    """
    wanted = node(request, **options)
    report = Report(f"operator {wanted.key}")
    definitions = registry.variants("operator", wanted.name)
    for definition in definitions:
        check_options(definition, report)
    tried = 0
    for first, shape, _, other in pairs(data):
        data, second = pair = with_signal(shape), with_signal(other)
        try:
            plan = make_plan({"value": wanted}, sources_of(data))
            step = plan.roots["value"]
            random = torch.manual_seed(11).get_state()
            value = _first_value(step, data)
        except CotanError as reason:
            report.skipped[f"on a {first}"] = one_line(reason)
            continue
        if step.definition is None:
            report.skipped[f"on a {first}"] = "a source there"
            continue
        tried += 1
        _check_rows(value, step, data, first)
        check_finite(value, f"on a {first}", report)
        if tried == 1:
            _check_picture(step, value, data, report)
        same(leaves(value), leaves(evaluation_of(data).value(step)), 0.0, f"determinism on a {first}", report)
        check_generator(random, step.label)
        tensors: list[Tensor] = []
        stored = put_together(take_apart(value, tensors), tensors)
        same(leaves(value), leaves(stored), 0.0, f"storing on a {first}", report)
        if step.vertices_of and step.per != "shape":
            report.skipped[f"permutation of a {first}"] = "values on another domain"
        elif not any_basis(first, plan, report) and not step.transient:
            moved, orders = renumbered(data)
            there = evaluation_of(moved).value(_renumbered_step(step, orders["vertex"]))
            back = {}
            if step.per == "edge" and step.index is None:  # edges have an order of their own
                orders["edge"] = _by_ends(_edges(step, value, data, first))
                back["edge"] = _by_ends(orders["vertex"][_edges(step, there, moved, first)])
            same(_seen(step, value, orders), _seen(step, there, back), 1e-7, f"permutation of a {first}", report)
        _check_operator_batch(step, value, data, second, report)
        there_too = _check_many(plan, pair, 0.0, "several shapes at once", report)
        _check_operator_elsewhere(plan, value, pair, there_too, f"another device, on a {first}", report)
    report.check_tried(tried > 0)
    for definition in definitions:
        variant = node(wanted, **definition.variant)
        _check_motions(variant, definition, report)
        _check_derivative(variant, report)
    return report


def _check_rows(value: Any, step: Step, data: Any, where: str) -> None:
    """A value declared per vertex or face has as many rows as there are."""
    counts = {"vertex": data.num_nodes, "face": data.face.shape[1] if "face" in data else None}
    count = counts.get(step.per or "")
    declared = count is not None and step.vertices_of is None and step.index is None
    if declared and isinstance(value, Tensor) and value.shape[:1] != (count,):
        raise AssertionError(
            f"{step.label} on a {where}: declared per='{step.per}', but {tuple(value.shape)} for {count}"
        )


def _check_picture(step: Step, value: Any, data: Any, report: Report) -> None:
    with failing(f"{step.label}: picture"):
        drawn = evaluation_of(data).picture(step, value)
    if drawn is not None and drawn[:4] != b"\x89PNG":
        raise AssertionError(f"{step.label}: picture writes no PNG, but {drawn[:4]!r}...")
    report.passed += ["picture"] * (drawn is not None)


def _edges(step: Step, value: Any, data: Any, where: str) -> Tensor:
    """The edges that a value per edge belongs to: of those that it is made of, else the shape's own, with as many."""
    rows, evaluation = next((len(t) for t in leaves(value)), 0), evaluation_of(data)
    own = make_plan({"edges": node("edge_index")}, sources_of(data)).roots
    steps = [s for s in Plan({**own, "value": step}).steps if s.per == "edge" and s.index == "vertex"]
    edges = [evaluation.value(s) for s in reversed(steps)]
    found: Tensor | None = next((e for e in edges if e.shape[1] == rows), None)
    if found is None:
        raise AssertionError(f"{step.label} on a {where}: declared per='edge', but {rows} rows for {edges[0].shape[1]}")
    return found


def _by_ends(edges: Tensor) -> Tensor:
    return (edges[0] * (edges.max() + 1) + edges[1]).argsort() if edges.numel() else edges[0]


def _first_value(step: Step, data: Any) -> Any:
    """The step's value, in float64 as computed, of inputs that are seen to be as they were."""
    evaluation = evaluation_of(data)
    inputs = {name: evaluation.value(parent) for name, parent in step.inputs.items()}
    before = copies(inputs)
    value = evaluation.value(step)
    check_unchanged(before, inputs, step.label)
    computed = leaves(evaluation.values[step.identity, None])
    if rounded := {t.dtype for t in computed if t.is_floating_point()} - {torch.float64}:
        raise AssertionError(
            f"{step.label} gives {rounded.pop()} of float64: values are rounded as they are handed out"
        )
    return value


def _check_operator_batch(step: Step, value: Any, data: Any, second: Any, report: Report) -> None:
    try:
        other = evaluation_of(second).value(step)
    except CotanError as reason:
        report.skipped["batch"] = str(reason)
        return
    if not isinstance(value, Tensor | Sparse | Spectrum | tuple):
        return
    vertices = [data.num_nodes, second.num_nodes]
    if step.per == "shape" and isinstance(value, Tensor) and value.shape != other.shape:
        report.skipped["batch"] = "of its own size on each shape"
        return
    if step.vertices_of is not None:
        report.skipped["batch"] = "values on another domain"
        return
    try:
        batch = collate([value, other], per=step.per, index=step.index, vertices=vertices, name=step.name)
    except CotanError as reason:
        raise AssertionError(f"{step.label}: {reason}") from reason
    if isinstance(value, Sparse) and any(m.shape != (v, v) for m, v in zip((value, other), vertices)):
        blocks = torch.block_diag(value.to_dense(), other.to_dense())
        same([batch.to_dense()], [blocks], 0.0, "matrices of a batch along a diagonal", report)
    elif step.per == "vertex" and any(
        len(t) != data.num_nodes for t in leaves(value) if not isinstance(value, Sparse | Spectrum)
    ):
        report.skipped["slicing out of a batch"] = "of its own size on each shape"
    elif step.index is None and step.per in ("vertex", "shape", None):
        first, last = uncollate(batch, vertices, per=step.per)
        same(leaves(first), leaves(value), 0.0, "slicing the first shape out of a batch", report)
        same(leaves(last), leaves(other), 0.0, "slicing the last shape out of a batch", report)


def _check_many(plan: Plan, pair: tuple[Any, Any], tolerance: float, what: str, report: Report) -> bool:
    """Several shapes at once, if the operator says that it can: the numbers of each alone, to the last digit."""
    step = plan.roots["value"]
    if step.definition is None or not step.definition.many:
        return False
    together = [evaluation_of(shape) for shape in (*pair, pair[0])]
    evaluate_together(plan, together, torch.float64)
    refused = any(evaluation.found(step, torch.float64) is None for evaluation in together[1:])
    if refused:
        report.skipped[what] = "refused, so each is evaluated alone"
    for evaluation in together:
        alone = evaluation_of(evaluation.data).value(step)
        same(leaves(evaluation.value(step)), leaves(alone), tolerance, what, report)
    return not refused


def _check_operator_elsewhere(
    plan: Plan, value: Any, pair: tuple[Any, Any], many: bool, what: str, report: Report
) -> None:
    """The value lies where the sources lie, and is the same; so are those of several shapes at once."""
    step = plan.roots["value"]
    with another_device() as device:
        there_pair = move(pair[0], device), move(pair[1], device)
        with failing(f"{report.name}: {what}"):
            there = evaluation_of(there_pair[0]).value(step)
        check_places(leaves(there), device, f"{report.name}: {what}: sources on {device.type} give a value on")
        here = move(there, "cpu")
        if many and not _check_many(plan, there_pair, 1e-9, f"several at once, {what}", report):
            raise AssertionError(f"{report.name}: {what}: several shapes at once are refused there")
    if not step.transient:
        view = step.definition.observable  # type: ignore[union-attr]
        same(observe(here, step.per, view=view), observe(value, step.per, view=view), 1e-6, what, report)


def _renumbered_step(step: Any, order: Tensor) -> Any:
    """The step with the options that hold vertex numbers (`numbers=`) in the new numbers."""
    options = dict(step.options)
    for name in step.definition.numbers:
        old = torch.as_tensor(options[name])
        options[name] = (order[None] == old.reshape(-1, 1)).int().argmax(1).reshape(old.shape).tolist()
    return dataclasses.replace(step, options=options)


def _step_on(data: Any, wanted: Node, what: str, report: Report) -> Step | None:
    try:
        return make_plan({"value": wanted}, sources_of(data)).roots["value"]
    except CotanError as reason:
        report.skipped[what] = one_line(reason)
        return None


def _check_motions(wanted: Node, definition: registry.Definition, report: Report) -> None:
    """Declared invariances are really held."""
    for motion, before, after in motions(definition.invariant_to):
        if step := _step_on(before, wanted, f"invariance to {motion}", report):
            first, second = (_seen(step, evaluation_of(data).value(step)) for data in (before, after))
            same(first, second, 1e-6, f"declared invariance to {motion} of {step.label}", report)


def _check_derivative(wanted: Node, report: Report) -> None:
    """Where the value carries a gradient to `pos`: reverse mode against central differences, forward against reverse."""
    data = example("other-mesh")
    what = f"derivative of {wanted.key}"
    step = _step_on(data, wanted, what, report)
    if step is None or "pos" not in step.reaches or step.transient:
        return
    g = torch.Generator().manual_seed(1)

    def scalar(pos: Tensor) -> Tensor:
        moved = move(data, pos.device)
        moved.pos = pos
        seen = observe(evaluation_of(moved).value(step), None, view=step.definition.observable)  # type: ignore[union-attr]
        g.manual_seed(1)
        parts = [t for t in seen if t.is_floating_point()]
        some = (torch.randn(t.shape, generator=g, dtype=t.dtype).to(t.device) for t in parts)
        return sum((t * u).sum() for t, u in zip(parts, some)) + 0 * pos.detach().sum()

    try:
        _, gradient = autodiff.reverse(scalar, data.pos)
    except (CotanError, RuntimeError) as reason:
        report.skipped[what] = one_line(reason)
        return
    if not bool(gradient.any()):
        report.skipped[what] = "it gives none"
        return
    with another_device() as device, failing(f"{report.name}: gradient of {wanted.key}, another device"):
        there = autodiff.reverse(scalar, data.pos.to(device))[1].cpu()
    same([there], [gradient], 1e-6, f"gradient of {wanted.key}, another device", report)
    direction = normal(data.pos.shape, 2)
    difference = central(lambda h: scalar(data.pos + h * direction), 1e-6).detach()
    same([(gradient * direction).sum()], [difference], 1e-4, f"gradient of {wanted.key}", report)


def _seen(step: Step, value: Any, orders: Mapping[str, Tensor] = _AS_GIVEN) -> list[Tensor]:
    return observe(value, step.per, orders, index=step.index, view=step.definition.observable)  # type: ignore[union-attr]


def observe(
    value: Any,
    per: str | None,
    orders: Mapping[str, Tensor] = _AS_GIVEN,
    *,
    index: str | None = None,
    view: Callable[[Any], Any] | None = None,
) -> list[Tensor]:
    """What of a value does not depend on arbitrary choices, with vertices, edges and faces in given orders.

    Spectra by values and projectors; `view` is the operator's own (`observable=`).
    """
    if view is not None:
        return observe(view(value), per, orders, index=index)
    if isinstance(value, Sparse):
        return [_in_order(_in_order(value.to_dense(), 0, orders), 1, orders)]
    if isinstance(value, Spectrum):
        vectors = value.vectors if "vertex" not in orders else value.vectors[orders["vertex"]]  # type: ignore[index]
        gap = 1 / (1 + value.values)
        return [value.values, (vectors * gap) @ vectors.T]  # type: ignore[operator]
    if is_named_tuple(value):
        return [t for part in value for t in observe(part, per, orders, index=index)]
    if isinstance(value, Tensor):
        if index is not None:
            return [torch.tensor(float(value.shape[-1]))]  # vertex numbers: only how many there are
        return [value[orders[per]] if per and per in orders else value]
    if isinstance(value, tuple | list):
        raise CotanError(
            f"observable= gave a {type(value).__name__}, expected a tensor, a Sparse or a NamedTuple of them"
        )
    numbers = value.values() if isinstance(value, Mapping) else [value]
    return [torch.tensor([float(v) for v in numbers if isinstance(v, int | float)], dtype=torch.float64)]


def _in_order(dense: Tensor, dim: int, orders: Mapping[str, Tensor]) -> Tensor:
    """The rows or columns of a matrix, one or several of each vertex or each face, in given orders."""
    for order in (orders[per] for per in ("vertex", "face") if per in orders):
        if len(order) and dense.shape[dim] % len(order) == 0:
            parts: Tensor = dense.unflatten(dim, (len(order), -1)).index_select(dim, order)
            return parts.flatten(dim, dim + 1)
    return dense
