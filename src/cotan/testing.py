"""The test kit: certify an operator, a layer or a model, of cotan's or of your own.

>>> cotan.testing.check_layer("my-layer")        # in a test; raises AssertionError with what failed

Each check is a property: what must hold when vertices are renumbered, shapes batched, coordinates turned, dtypes changed.
"""

from __future__ import annotations

import copy
import dataclasses
import dis
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from . import autodiff, registry
from .elsewhere import another_device as another_device
from .errors import CotanError
from .evaluation import Evaluation, evaluate_together
from .mixed_precision import mixed_precision as mixed_precision
from .network import (
    Sample,
    collate_samples,
    create_layer,
    create_model,
    evaluate_plan,
    forward,
    model_requests,
    needs,
    signal_of,
    takes_signal,
)
from .nodes import SOURCES, Node, Request, node, sources_of
from .plan import Plan, Step, make_plan
from .sparse import Sparse
from .spectrum import Spectrum
from .values import collate, map_tensors, move, put_together, take_apart, uncollate

TOLERANCE = {torch.bfloat16: 0.1, torch.float32: 2e-4, torch.float64: 1e-8}


@dataclass
class Report:
    """What was checked; `skipped` says what was not, and why."""

    name: str
    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.passed)} checks passed", *(f"  {name}" for name in self.passed)]
        return "\n".join(lines + [f"  not checked: {name} ({reason})" for name, reason in self.skipped.items()])


# --- shapes -----------------------------------------------------------------------------------------------------------


@lru_cache
def _shape(name: str) -> Any:
    from torch_geometric.data import Data

    g = torch.Generator().manual_seed(7)
    if name in ("mesh", "other-mesh"):  # closed, without symmetry
        import trimesh

        ball = trimesh.creation.icosphere(subdivisions=1 if name == "other-mesh" else 2)
        pos = torch.tensor(ball.vertices) * torch.tensor([1.0, 1.3, 0.7 if name == "mesh" else 0.8])
        for _ in range(4):
            a, b = (_random(3, g) for _ in "ab")
            pos = pos + 0.12 * torch.sin(2 * pos @ a + a[0])[:, None] * b
        return Data(pos=pos, face=torch.tensor(ball.faces).T.contiguous())
    if name in ("sheet", "bent-sheet"):  # folded only along its columns, so that each triangle stays rigid
        columns, rows = 9, 7
        rand, linspace = (partial(f, dtype=torch.float64) for f in (torch.rand, torch.linspace))
        u = linspace(0, 2, columns) + 0.03 * rand(columns, generator=g)
        v = linspace(0, 1, rows)[None] + 0.05 * rand(columns, rows, generator=g)
        turn = linspace(0, 1, columns - 1) * (2.5 if name == "bent-sheet" else 0)
        step = (u[1:] - u[:-1])[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
        xz = torch.cat([step.new_zeros(1, 2), step.cumsum(0)])
        pos = torch.stack([xz[:, :1].expand(columns, rows), v, xz[:, 1:].expand(columns, rows)], -1).reshape(-1, 3)
        i = (torch.arange(columns - 1)[:, None] * rows + torch.arange(rows - 1)).reshape(-1)
        face = torch.cat([torch.stack([i, i + rows, i + 1]), torch.stack([i + 1, i + rows, i + rows + 1])], 1)
        return Data(pos=pos, face=face)
    if name in ("graph", "other-graph"):  # an isolated vertex, no symmetry
        size = 24 if name == "graph" else 17
        pairs = torch.triu_indices(size - 1, size - 1, 1)
        pairs = pairs[:, torch.rand(pairs.shape[1], generator=g) < 0.25]
        weight = torch.rand(pairs.shape[1], generator=g) + 0.5
        attr = torch.randn(2 * len(weight), 2, generator=g)
        edges = torch.cat([pairs, pairs.flip(0)], 1)
        return Data(edge_index=edges, edge_weight=weight.repeat(2), edge_attr=attr, num_nodes=size)
    none = torch.zeros(2, 0, dtype=torch.long)  # "edgeless"
    return Data(edge_index=none, edge_weight=torch.zeros(0), edge_attr=torch.zeros(0, 2), num_nodes=5)


_AS_GIVEN: Mapping[str, Tensor] = {}
_DOMAINS = (("mesh", "other-mesh"), ("graph", "other-graph"), ("edgeless", "graph"))


def _random(shape: int | Sequence[int], g: int | torch.Generator) -> Tensor:
    g = torch.Generator().manual_seed(g) if isinstance(g, int) else g
    return torch.randn(shape, generator=g, dtype=torch.float64)  # type: ignore[call-overload,no-any-return]


def _renumbered(data: Any, seed: int = 3) -> tuple[Any, dict[str, Tensor]]:
    """The same shape in another order: vertex i of it is vertex orders["vertex"][i] of the given one; so edges and faces.

    Faces begin at another of their corners, too.
    """
    g = torch.Generator().manual_seed(seed)
    given = {SOURCES[name].per: data[name].shape[-1] for name in ("edge_index", "face") if name in data}
    orders = {per: torch.randperm(n, generator=g) for per, n in {"vertex": data.num_nodes, **given}.items()}
    out = data.clone()
    for name, source in SOURCES.items():
        if name in data and source.per in orders:
            value = orders["vertex"].argsort()[data[name]] if source.index else data[name]
            out[name] = value.index_select(value.ndim - 1 if source.index else 0, orders[source.per])
    if "face" in data:
        first = torch.randint(3, (1, data.face.shape[1]), generator=g)
        out.face = out.face.gather(0, (first + torch.arange(3)[:, None]) % 3)
    return out, orders


def _with_signal(data: Any) -> Any:
    """With an x of three channels, for operators on signals."""
    out = data.clone()
    out.x = _random((data.num_nodes, 3), 13)
    return out


def _turned(data: Any) -> Any:
    q, _ = torch.linalg.qr(_random((3, 3), 5))
    q = q * torch.sign(torch.det(q))
    out = data.clone()
    out.pos = data.pos @ q.T.to(data.pos) + torch.tensor([0.3, -2.0, 1.1]).to(data.pos)
    return out


class Nothing:
    """A store that keeps nothing, so that each check computes anew."""

    def get(self, *_: Any) -> None:
        return None

    def put(self, *_: Any) -> None:
        return None

    def family(self, *_: Any) -> list[Any]:
        return []


def _evaluation(data: Any) -> Evaluation:
    return Evaluation(data, keep=Nothing())  # type: ignore[arg-type]


# --- operators --------------------------------------------------------------------------------------------------------


def check_operator(request: Request, **options: Any) -> Report:
    """Check a registered operator, with options or as a request.

    On each kind of shape that has its sources: finite values, the same in each evaluation, equivariant to the renumbering of
    vertices, edges and faces, equal in a batch, equal after the store, declared invariances held, derivatives right where it
    has any.
    """
    wanted = node(request, **options)
    report = Report(f"operator {wanted.key}")
    definitions = registry.variants("operator", wanted.name)
    for definition in definitions:
        _check_options(definition, report)
    tried = 0
    for first, other in _DOMAINS:
        data, second = pair = _with_signal(_shape(first)), _with_signal(_shape(other))
        try:
            plan = make_plan({"value": wanted}, sources_of(data))
            step = plan.roots["value"]
            random = torch.manual_seed(11).get_state()
            value = _first_value(step, data)
        except CotanError as reason:
            report.skipped[f"on a {first}"] = _first_line(reason)
            continue
        if step.definition is None:
            report.skipped[f"on a {first}"] = "a source there"
            continue
        tried += 1
        _check_rows(value, step, data, first)
        _check_finite(value, f"on a {first}", report)
        _same(_leaves(value), _leaves(_evaluation(data).value(step)), 0.0, f"determinism on a {first}", report)
        _check_generator(random, step.label)
        tensors: list[Tensor] = []
        stored = put_together(take_apart(value, tensors), tensors)
        _same(_leaves(value), _leaves(stored), 0.0, f"storing on a {first}", report)
        if step.vertices_of and step.per != "shape":
            report.skipped[f"permutation of a {first}"] = "values on another domain"
        elif not _any_basis(first, plan, report) and not step.transient:
            moved, orders = _renumbered(data)
            there = _evaluation(moved).value(_renumbered_step(step, orders["vertex"]))
            back = {}
            if step.per == "edge" and step.index is None:  # edges have an order of their own
                orders["edge"] = _by_ends(_edges(step, value, data, first))
                back["edge"] = _by_ends(orders["vertex"][_edges(step, there, moved, first)])
            _same(_seen(step, value, orders), _seen(step, there, back), 1e-7, f"permutation of a {first}", report)
        _check_operator_batch(step, value, data, second, report)
        there_too = _check_many(plan, pair, 0.0, "several shapes at once", report)
        _check_operator_elsewhere(plan, value, pair, there_too, f"another device, on a {first}", report)
    if not tried:
        raise AssertionError(f"{wanted.key} runs on none of the test shapes: {report.skipped}")
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


def _edges(step: Step, value: Any, data: Any, where: str) -> Tensor:
    """The edges that a value per edge belongs to: of those that it is made of, else the shape's own, with as many."""
    rows, evaluation = next((len(t) for t in _leaves(value)), 0), _evaluation(data)
    own = make_plan({"edges": node("edge_index")}, sources_of(data)).roots
    steps = [s for s in Plan({**own, "value": step}).steps if s.per == "edge" and s.index == "vertex"]
    edges = [evaluation.value(s) for s in reversed(steps)]
    found: Tensor | None = next((e for e in edges if e.shape[1] == rows), None)
    if found is None:
        raise AssertionError(f"{step.label} on a {where}: declared per='edge', but {rows} rows for {edges[0].shape[1]}")
    return found


def _by_ends(edges: Tensor) -> Tensor:
    return (edges[0] * (edges.max() + 1) + edges[1]).argsort() if edges.numel() else edges[0]


def _check_options(definition: registry.Definition, report: Report) -> None:
    """Each option is read: one that is not would be taken and ignored."""
    function = definition.target if definition.kind == "operator" else definition.target.__init__
    steps = list(dis.get_instructions(inspect.unwrap(function)))
    loads = [step.argval for step in steps if step.opname.startswith("LOAD")]
    read = [name for loaded in loads for name in (loaded if isinstance(loaded, tuple) else (loaded,))]
    kept = {step.argval for step in steps if step.opname == "STORE_ATTR"}
    for name in definition.options:
        if name not in read and "locals" not in read and name != "task":  # which a model has to take
            raise AssertionError(f"{report.name}: option {name!r} is taken and never used ({definition.source})")
        if read.count(name) == 1 and name in kept and name not in _attributes(definition.target):
            raise AssertionError(f"{report.name}: option {name!r} is kept as self.{name}, and no method reads it")
    report.passed.append("options are used")


def _attributes(cls: type) -> set[str]:
    """Those that its methods and properties read."""
    members = [inspect.unwrap(getattr(m, "fget", None) or getattr(m, "func", m)) for _, m in inspect.getmembers(cls)]
    codes = [member.__code__ for member in members if hasattr(member, "__code__")]
    found: set[str] = set()
    while codes:
        code = codes.pop()
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        found |= {s.argval for s in dis.get_instructions(code) if s.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    return found


def _first_value(step: Step, data: Any) -> Any:
    """The step's value, in float64 as computed, of inputs that are seen to be as they were."""
    evaluation = _evaluation(data)
    inputs = {name: evaluation.value(parent) for name, parent in step.inputs.items()}
    before = _copy(inputs)
    value = evaluation.value(step)
    _check_unchanged(before, inputs, step.label)
    computed = _leaves(evaluation.values[step.identity, None])
    if rounded := {t.dtype for t in computed if t.is_floating_point()} - {torch.float64}:
        raise AssertionError(
            f"{step.label} gives {rounded.pop()} of float64: values are rounded as they are handed out"
        )
    return value


def _check_operator_batch(step: Step, value: Any, data: Any, second: Any, report: Report) -> None:
    try:
        other = _evaluation(second).value(step)
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
        _same([batch.to_dense()], [blocks], 0.0, "matrices of a batch along a diagonal", report)
    elif step.per == "vertex" and any(
        len(t) != data.num_nodes for t in _leaves(value) if not isinstance(value, Sparse | Spectrum)
    ):
        report.skipped["slicing out of a batch"] = "of its own size on each shape"
    elif step.index is None and step.per in ("vertex", "shape", None):
        first, last = uncollate(batch, vertices, per=step.per)
        _same(_leaves(first), _leaves(value), 0.0, "slicing the first shape out of a batch", report)
        _same(_leaves(last), _leaves(other), 0.0, "slicing the last shape out of a batch", report)


def _check_many(plan: Plan, pair: tuple[Any, Any], tolerance: float, what: str, report: Report) -> bool:
    """Several shapes at once, if the operator says that it can: the numbers of each alone, to the last digit."""
    step = plan.roots["value"]
    if step.definition is None or not step.definition.many:
        return False
    together = [_evaluation(shape) for shape in (*pair, pair[0])]
    evaluate_together(plan, together, torch.float64)
    refused = any(evaluation.found(step, torch.float64) is None for evaluation in together[1:])
    if refused:
        report.skipped[what] = "refused, so each is evaluated alone"
    for evaluation in together:
        alone = _evaluation(evaluation.data).value(step)
        _same(_leaves(evaluation.value(step)), _leaves(alone), tolerance, what, report)
    return not refused


def _check_operator_elsewhere(
    plan: Plan, value: Any, pair: tuple[Any, Any], many: bool, what: str, report: Report
) -> None:
    """The value lies where the sources lie, and is the same; so are those of several shapes at once."""
    step = plan.roots["value"]
    with another_device() as device:
        there_pair = move(pair[0], device), move(pair[1], device)
        with _failing(f"{report.name}: {what}"):
            there = _evaluation(there_pair[0]).value(step)
        _check_places(_leaves(there), device, f"{report.name}: {what}: sources on {device.type} give a value on")
        here = move(there, "cpu")
        if many and not _check_many(plan, there_pair, 1e-9, f"several at once, {what}", report):
            raise AssertionError(f"{report.name}: {what}: several shapes at once are refused there")
    if not step.transient:
        view = step.definition.observable  # type: ignore[union-attr]
        _same(_observe(here, step.per, view=view), _observe(value, step.per, view=view), 1e-6, what, report)


def _first_line(reason: Exception) -> str:
    return str(reason).splitlines()[0]


def _any_basis(shape: str, plan: Plan, report: Report) -> bool:
    found = shape == "edgeless" and any(step.name == "spectrum" for step in plan.steps)
    if found:
        report.skipped["permutation of an edgeless"] = "every basis is an eigenbasis there"
    return found


def _check_places(found: list[Tensor], device: torch.device, what: str) -> None:
    if places := {t.device.type for t in found} - {device.type}:
        raise AssertionError(f"{what} {', '.join(places)}")


def _renumbered_step(step: Any, order: Tensor) -> Any:
    """The step with the options that hold vertex numbers (`numbers=`) in the new numbers."""
    options = dict(step.options)
    for name in step.definition.numbers:
        old = torch.as_tensor(options[name])
        options[name] = (order[None] == old.reshape(-1, 1)).int().argmax(1).reshape(old.shape).tolist()
    return dataclasses.replace(step, options=options)


def _motions(definition: registry.Definition) -> list[tuple[str, Any, Any]]:
    """Of each motion that it is declared to be invariant to, a shape before and after."""
    mesh = _shape("mesh")
    larger = mesh.clone()
    larger.pos = 1.7 * mesh.pos
    bent = "isometry", _shape("sheet"), _turned(_shape("bent-sheet"))
    pairs = [("rigid", mesh, _turned(mesh)), ("scale", mesh, larger), bent]
    return [pair for pair in pairs if pair[0] in definition.invariant_to]


def _step_on(data: Any, wanted: Node, what: str, report: Report) -> Step | None:
    try:
        return make_plan({"value": wanted}, sources_of(data)).roots["value"]
    except CotanError as reason:
        report.skipped[what] = _first_line(reason)
        return None


def _check_motions(wanted: Node, definition: registry.Definition, report: Report) -> None:
    """Declared invariances are really held."""
    for motion, before, after in _motions(definition):
        if step := _step_on(before, wanted, f"invariance to {motion}", report):
            first, second = (_seen(step, _evaluation(data).value(step)) for data in (before, after))
            _same(first, second, 1e-6, f"declared invariance to {motion} of {step.label}", report)


def _check_derivative(wanted: Node, report: Report) -> None:
    """Where the value carries a gradient to `pos`: reverse mode against central differences, forward against reverse."""
    data = _shape("other-mesh")
    what = f"derivative of {wanted.key}"
    step = _step_on(data, wanted, what, report)
    if step is None or "pos" not in step.reaches or step.transient:
        return
    g = torch.Generator().manual_seed(1)

    def scalar(pos: Tensor) -> Tensor:
        moved = move(data, pos.device)
        moved.pos = pos
        seen = _observe(_evaluation(moved).value(step), None, view=step.definition.observable)  # type: ignore[union-attr]
        g.manual_seed(1)
        parts = [t for t in seen if t.is_floating_point()]
        some = (torch.randn(t.shape, generator=g, dtype=t.dtype).to(t.device) for t in parts)
        return sum((t * u).sum() for t, u in zip(parts, some)) + 0 * pos.detach().sum()

    try:
        _, gradient = autodiff.reverse(scalar, data.pos)
    except (CotanError, RuntimeError) as reason:
        report.skipped[what] = _first_line(reason)
        return
    if not bool(gradient.any()):
        report.skipped[what] = "it gives none"
        return
    with another_device() as device, _failing(f"{report.name}: gradient of {wanted.key}, another device"):
        there = autodiff.reverse(scalar, data.pos.to(device))[1].cpu()
    _same([there], [gradient], 1e-6, f"gradient of {wanted.key}, another device", report)
    direction = _random(data.pos.shape, 2)
    difference = _central(lambda h: scalar(data.pos + h * direction), 1e-6).detach()
    _near((gradient * direction).sum(), difference, 1e-4, f"gradient of {wanted.key}", report)


def _seen(step: Step, value: Any, orders: Mapping[str, Tensor] = _AS_GIVEN) -> list[Tensor]:
    return _observe(value, step.per, orders, index=step.index, view=step.definition.observable)  # type: ignore[union-attr]


def _observe(
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
        return _observe(view(value), per, orders, index=index)
    if isinstance(value, Sparse):
        return [_in_order(_in_order(value.to_dense(), 0, orders), 1, orders)]
    if isinstance(value, Spectrum):
        vectors = value.vectors if "vertex" not in orders else value.vectors[orders["vertex"]]  # type: ignore[index]
        gap = 1 / (1 + value.values)
        return [value.values, (vectors * gap) @ vectors.T]  # type: ignore[operator]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [t for part in value for t in _observe(part, per, orders, index=index)]
    if isinstance(value, Tensor):
        if index is not None:
            return [torch.tensor(float(value.shape[-1]))]  # vertex numbers: only how many there are
        return [value[orders[per]] if per and per in orders else value]
    numbers = value.values() if isinstance(value, Mapping) else [value]
    return [torch.tensor([float(v) for v in numbers if isinstance(v, int | float)], dtype=torch.float64)]


def _in_order(dense: Tensor, dim: int, orders: Mapping[str, Tensor]) -> Tensor:
    """The rows or columns of a matrix, one or several of each vertex or each face, in given orders."""
    for order in (orders[per] for per in ("vertex", "face") if per in orders):
        if len(order) and dense.shape[dim] % len(order) == 0:
            parts: Tensor = dense.unflatten(dim, (len(order), -1)).index_select(dim, order)
            return parts.flatten(dim, dim + 1)
    return dense


# --- layers and models ------------------------------------------------------------------------------------------------


def check_layer(name: str, in_dim: int = 4, out_dim: int = 6, *, compile: bool = True, **options: Any) -> Report:
    """Check a registered layer on meshes and graphs that have its nodes (or on random images, volumes, sequences)."""
    definition = registry.lookup("layer", name)
    report = Report(f"layer {name}")

    def make(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return create_layer(name, in_dim, out_dim, **options).double().eval()

    _check_options(definition, report)
    tried = _Tried(make, in_dim, out_dim, definition.signal, "vertex", True, report)
    _check_module(tried, compile)
    for motion, *pair in _motions(definition):
        cases = [_case_on(tried, f"invariance to {motion}", data=shape) for shape in pair]
        if None in cases:
            continue
        with torch.no_grad():
            before, after = (_run(make(), case.values()) for case in cases if case)
        _same([after], [before], 1e-6, f"declared invariance to {motion}", report)
    return report


def check_model(
    name: str, in_dim: int = 3, out_dim: int = 5, *, task: str | None = None, compile: bool = False, **options: Any
) -> Report:
    """Check a registered model, or a layer's stack, for a task (the first that it does)."""
    definition = registry.lookup("model", name) if registry.has("model", name) else None
    task = task or (definition.tasks[0] if definition and definition.tasks else "classify")
    report = Report(f"model {name} ({task})")
    per = registry.lookup("task", task).target.per

    def make(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return create_model(name, in_dim, out_dim, task=task, **options).double().eval()

    if definition:
        _check_options(definition, report)
    _check_module(_Tried(make, in_dim, out_dim, signal_of(make()), per, False, report), compile)
    return report


@dataclass
class _Tried:
    """What is certified: how it is made, and the signals that it takes and gives."""

    make: Callable[..., nn.Module]  # of a seed
    in_dim: int
    out_dim: int
    signal: str
    per: str
    layer: bool
    report: Report

    def __post_init__(self) -> None:
        self.module = self.make()


def _check_module(tried: _Tried, compiled: bool) -> None:
    module, report = tried.module, tried.report
    idle = {name for name, p in module.named_parameters() if p.requires_grad}
    used: dict[str, bool] = {}
    seen = False
    for first, second in _DOMAINS if tried.signal == "vertex" else (("grid", "grid"),):
        case = _case_on(tried, f"on a {first}", first)
        if case is None:
            continue
        other = _case_on(tried, f"batch of a {first} and a {second}", second, seed=1)
        idle &= _idle(module, case.values())
        _check_on(tried, case, other, first, second)
        for name, matters in _used(module, case.values()).items():
            used[name] = matters or used.get(name, False)
        if not seen:
            _check_calculus(tried.make, case, report)
            if compiled:
                _check_compiled(module, [c for c in (case, other) if c], report)
        seen = True
    if not seen:
        raise AssertionError(f"{report.name} runs on none of the test shapes: {report.skipped}")
    if idle and not hasattr(module, "before_training"):  # a first stage of its own may learn them
        raise AssertionError(
            f"{report.name}: no derivative reaches {', '.join(sorted(idle))}, so it would never be learned"
        )
    if unused := sorted(name for name, matters in used.items() if not matters):
        raise AssertionError(f"{report.name}: forward takes and never uses {', '.join(unused)}")


def _idle(module: nn.Module, values: Mapping[str, Any]) -> set[str]:
    """The parameters that have no part in the output."""
    wanted = {name: p for name, p in module.named_parameters() if p.requires_grad}
    out = _run(module, values)
    if not out.requires_grad:
        return set(wanted)
    gradients = torch.autograd.grad(out.sum(), list(wanted.values()), allow_unused=True)
    return {name for name, gradient in zip(wanted, gradients) if gradient is None}


def _used(module: nn.Module, values: Mapping[str, Any]) -> dict[str, bool]:
    """Whether other numbers in an input make another output. Of a matrix the pattern alone may be used."""
    found = {}
    with torch.no_grad():
        out = _run(module, values)
        for name, value in values.items():
            if not isinstance(value, Sparse) and any(t.is_floating_point() and t.numel() for t in _leaves(value)):
                other = map_tensors(lambda t: t + torch.randn_like(t) if t.is_floating_point() else t, value)
                found[name] = not torch.equal(_run(module, {**values, name: other}), out)
    return found


@dataclass
class _Case:
    """A module's inputs on one test shape."""

    data: Any
    plan: Plan
    sample: Sample
    x: Tensor | None  # the layer's signal; None for a model that makes its own

    def values(self, *others: _Case, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        cases = (self, *others)
        values = collate_samples(self.plan, [c.sample for c in cases])
        if self.x is not None:
            values["x"] = torch.cat([c.x for c in cases if c.x is not None])
        return {name: move(value, dtype=dtype) for name, value in values.items()}


def _case_on(tried: _Tried, what: str, shape: str = "", seed: int = 0, data: Any = None) -> _Case | None:
    """The inputs on a test shape; None where it has none, with the reason why `what` is not checked."""
    g = torch.Generator().manual_seed(11 + seed)
    x = None
    if tried.signal != "vertex":
        size = {"sequence": (12,), "image": (12, 12), "volume": (8, 8, 8)}[tried.signal]
        from torch_geometric.data import Data

        data = Data(num_nodes=1, **{tried.signal: _random((tried.in_dim, *size), g)})
        x = data[tried.signal][None]
    else:
        data = _shape(shape).clone() if data is None else data
        if tried.layer:
            x = _random((data.num_nodes, tried.in_dim), g)
        elif "x" not in data and takes_signal(tried.module):
            data.x = _random((data.num_nodes, tried.in_dim), g)
    try:
        have = sources_of(data)
        plan = make_plan(needs(tried.module) if tried.layer else model_requests(tried.module, have), have)
        sample = evaluate_plan(plan, data, torch.float64, _evaluation(data))
    except CotanError as reason:
        tried.report.skipped[what] = _first_line(reason)
        return None
    return _Case(data, plan, sample, x if tried.layer else None)


def _check_generator(state: Tensor, who: str) -> None:
    """Torch's global generator is where it was: it makes the order of batches and what dropout drops."""
    if not torch.equal(state, torch.get_rng_state()):
        raise AssertionError(f"{who} seeds or moves torch's global generator: take a torch.Generator of its own")


def _dtype_of(module: nn.Module) -> str:
    return str(next((p.dtype for p in module.parameters()), torch.float64)).removeprefix("torch.")


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: map_tensors(lambda t: t.detach().clone(), value) for name, value in values.items()}


def _check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any], who: str) -> None:
    """Inputs are shared between nodes and models: one that is changed in place is wrong for all others."""
    for name, value in before.items():
        if not all(torch.equal(a, b) for a, b in zip(_leaves(value), _leaves(after[name]), strict=True)):
            raise AssertionError(f"{who} changes its input {name} in place; it is shared: work on a copy")


def _call(module: Any, values: Mapping[str, Any]) -> Any:
    if "x" not in values:
        return forward(module, values)
    return module(values["x"], **{name: v for name, v in values.items() if name != "x"})


def _run(module: nn.Module, values: Mapping[str, Any]) -> Tensor:
    before, who = _copy(values), f"{type(module).__qualname__}.forward"
    try:
        out = _call(module, values)
    except (CotanError, TypeError, ValueError, RuntimeError, LookupError, AttributeError) as reason:
        autocast = " under bf16 autocast" * torch.is_autocast_enabled("cpu")
        blocks = "; of a batch, vectors are block-diagonal: they know @ and .T alone"
        raise AssertionError(
            f"{who} failed in {_dtype_of(module)}{autocast}: {type(reason).__name__}: {reason}"
            + blocks * ("BlockDiagonal" in str(reason))
        ) from reason
    _check_unchanged(before, values, who)
    if not isinstance(out, Tensor):
        raise AssertionError(f"{who} gives a {type(out).__name__}, expected a tensor")
    return out


def _check_on(tried: _Tried, case: _Case, other: _Case | None, first: str, second: str) -> None:
    module, report, values = tried.module, tried.report, case.values()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        random = torch.manual_seed(11).get_state()
        out = _run(module, values)
        for name, value in module.state_dict().items():
            if name not in state or not torch.equal(value, state[name]):
                raise AssertionError(
                    f"{report.name}: forward changes {name}, in eval: later outputs depend on earlier ones"
                )
        rows = case.data.num_nodes if tried.per == tried.signal == "vertex" else 1
        more = tried.layer and tried.signal != "vertex"  # an image's height and width
        if out.shape[:2] != (rows, tried.out_dim) or (out.ndim > 2 and not more):
            expected = f"({rows}, {tried.out_dim}{', ...' * more})"
            raise AssertionError(f"{report.name} on a {first}: output {tuple(out.shape)}, expected {expected}")
        _check_finite(out, f"output on a {first}", report)
        _same([_run(module, case.values())], [out], 0.0, f"determinism on a {first}", report)
        _check_generator(random, f"{report.name}: forward, in eval,")
        # Before a shape of another size: what a module keeps of the last one, it often keeps by size.
        if not _any_basis(first, case.plan, report) and tried.signal == "vertex":
            moved, orders = _renumbered(case.data)
            what = f"permutation of a {first}"
            again = _case_on(tried, what, data=moved)
            assert again
            again.x = None if case.x is None else case.x[orders["vertex"]]
            wanted = out[orders["vertex"]] if tried.per == "vertex" else out
            _same([_run(module, again.values())], [wanted], 1e-6, what, report)
        single = copy.deepcopy(module).float()
        near = _run(single, case.values(dtype=torch.float32))
        if near.dtype != torch.float32:
            raise AssertionError(f"{report.name}: float32 parameters and inputs give {near.dtype}")
        _same([near.double()], [out], TOLERANCE[torch.float32], f"float32 against float64 on a {first}", report)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # as `fit` does with precision "bf16"
            near = _run(single, case.values(dtype=torch.float32))
        _same([near.double()], [out], TOLERANCE[torch.bfloat16], f"bf16 autocast on a {first}", report)
        fresh = tried.make(1)
        with _failing(f"{report.name}: state_dict round trip"):
            fresh.load_state_dict(module.state_dict())
        _same([_run(fresh, case.values())], [out], 0.0, "state_dict round trip", report)
        if other:
            together = _run(module, case.values(other))
            alone = torch.cat([out, _run(module, other.values())])
            _same([together], [alone], TOLERANCE[torch.float64], f"batch independence, {first} and {second}", report)
    _check_elsewhere(module, values, f"another device, on a {first}", report)
    if other:
        _check_elsewhere(copy.deepcopy(module).train(), case.values(other), f"training there, on a {first}", report)


def _check_elsewhere(module: nn.Module, values: Mapping[str, Any], what: str, report: Report) -> None:
    """Output and gradients are on the device of parameters and nodes; and the same, but for what training draws."""
    expected = [] if module.training else _pulled(copy.deepcopy(module), values)
    if not all(bool(torch.isfinite(t).all()) for t in expected):
        raise AssertionError(f"{report.name}: a gradient {what.partition(', ')[2]} is NaN or infinite")
    with another_device() as device:
        with _failing(f"{report.name}: {what}"):
            there = copy.deepcopy(module).to(device)
            found = _pulled(there, {name: move(value, device) for name, value in values.items()})
        _check_places(found, device, f"{report.name}: {what}: parameters on {device.type} give")
        found = [t.cpu() for t in found]
        if module.training:
            _check_mixed(there.float(), values, device, what, report)
    _same([] if module.training else found, expected, 1e-6, what, report)


def _check_mixed(module: nn.Module, values: Mapping[str, Any], device: torch.device, what: str, report: Report) -> None:
    """A step in mixed precision runs, as `fit` makes it: operations give bfloat16 or float32, whichever suits them."""
    with _failing(f"{report.name}: mixed precision, {what}"):
        with mixed_precision():
            out = _run(module, {name: move(v, device, torch.float32) for name, v in values.items()})
        if out.requires_grad:
            out.float().square().sum().backward()
    if not bool(torch.isfinite(out).all()):
        raise AssertionError(f"{report.name}: mixed precision, {what}: NaN or infinite values")
    report.passed.append(f"mixed precision, {what}")


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """What is raised inside is what the check found."""
    try:
        yield
    except Exception as reason:
        raise AssertionError(f"{what}: {type(reason).__name__}: {reason}") from reason


def _pulled(module: nn.Module, values: Mapping[str, Any]) -> list[Tensor]:
    """The output, and the gradients that its sum of squares has for parameters and signals."""
    values = {name: v.detach().requires_grad_() if _is_signal(name, v) else v for name, v in values.items()}
    out = _run(module, values)
    wanted = [*module.parameters(), *(v for name, v in values.items() if _is_signal(name, v))]
    wanted = [t for t in wanted if t.requires_grad]
    gradients = torch.autograd.grad(out.square().sum(), wanted, allow_unused=True) if out.requires_grad else ()
    return [out.detach(), *(g for g in gradients if g is not None)]


def _check_calculus(make: Callable[[], nn.Module], case: _Case, report: Report) -> None:
    """Reverse mode against central differences, for the signal and for each parameter; forward against reverse."""
    module = make()
    values = case.values()
    name = next((n for n in ("x", *sorted(values)) if n in values and _is_signal(n, values[n])), None)
    g = torch.Generator().manual_seed(4)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    with torch.no_grad():
        u = _random(_run(module, values).shape, g)

    def scalar(at: Tensor | None = None) -> Tensor:
        return (_run(module, values if at is None else {**values, name: at}) * u).sum()  # type: ignore[dict-item]

    if name is not None:
        x = values[name]
        v = _random(x.shape, g)
        _, gradient = autodiff.reverse(scalar, x)
        _slope((gradient * v).sum(), lambda h: scalar(x + h * v).detach(), "gradient of the signal", report)
        _, change = autodiff.forward(scalar, x, v)
        _near(change, (gradient * v).sum(), 1e-8, "jvp against vjp", report)
        with another_device() as device, _failing(f"{report.name}: jvp, another device"):
            there, moved = copy.deepcopy(module).to(device), {n: move(value, device) for n, value in values.items()}
            _, away = autodiff.forward(
                lambda at: (_run(there, {**moved, name: at}) * u.to(device)).sum(), moved[name], v.to(device)
            )
            away = away.cpu()
        _near(away, change, 1e-6, "jvp, another device", report)
    if parameters:
        gradients = torch.autograd.grad(scalar(), list(parameters.values()), allow_unused=True)
        for (label, parameter), gradient in zip(parameters.items(), gradients):
            v = _random(parameter.shape, g)
            got = torch.zeros((), dtype=torch.float64) if gradient is None else (gradient * v).sum()
            _slope(got, partial(_moved, scalar, parameter, v), f"gradient of {label}", report)


def _moved(function: Callable[[], Tensor], parameter: Tensor, v: Tensor, h: float) -> Tensor:
    """The function with its parameter moved by h v for the while."""
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(before + h * v)
        out = function()
        parameter.copy_(before)
    return out


def _slope(got: Tensor, along: Callable[[float], Tensor], what: str, report: Report) -> None:
    """A derivative against central differences; a wrong one is off at each step, a kink crossed only at some."""
    differences = [_central(along, h) for h in (1e-6, 1e-7, 1e-8, 1e-9)]
    _near(got, min(differences, key=lambda d: float((d - got).abs())), 1e-4, what, report)


def _central(along: Callable[[float], Tensor], h: float) -> Tensor:
    return (along(h) - along(-h)) / (2 * h)


def _is_signal(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and (name == "x" or name.startswith("features "))


def _check_compiled(module: nn.Module, cases: Sequence[_Case], report: Report) -> None:
    """One graph, and the same numbers; on a shape of another size too, for which it compiles with sizes that vary."""
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for case in cases:
        with torch.no_grad():
            expected = _run(module, case.values())
            try:
                got = _call(compiled, case.values())
            except Exception as reason:
                raise AssertionError(f"{report.name} does not compile in one graph: {reason}") from reason
        _same([got], [expected], 1e-8, "torch.compile(fullgraph=True)", report)


# --- comparisons ------------------------------------------------------------------------------------------------------


def _leaves(value: Any) -> list[Tensor]:
    """All tensors of a value, those that parts of it share for each."""
    found: list[Tensor] = []
    map_tensors(lambda t: found.append(t) or t, value)  # type: ignore[func-returns-value]
    return found


def _check_finite(value: Any, what: str, report: Report) -> None:
    for tensor in _leaves(value):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise AssertionError(f"{report.name}: {what}: NaN or infinite values")
    report.passed.append(f"finite {what}")


def _near(got: Tensor, expected: Tensor, tolerance: float, what: str, report: Report) -> None:
    scale = max(1.0, float(expected.abs()))
    _same([got / scale], [expected / scale], tolerance, what, report)


_MEANING = {  # of what failed, by its first word, for the author
    "determinism": "two runs differ: random numbers, or something kept from call to call",
    "batch": "a shape's output depends on what else is in its batch; `batch` says which vertex is whose",
    "permutation": "it depends on the order of vertices, edges, faces or corners (a value of each says per=) or the last call",
    "state_dict": "the output depends on something that is neither parameter nor stored buffer",
    "gradient": "the derivative is cut (detach, .data, .item(), numpy) or wrong",
}


def _same(got: list[Tensor], expected: list[Tensor], tolerance: float, what: str, report: Report) -> None:
    if len(got) != len(expected):
        raise AssertionError(f"{report.name}: {what}: {len(got)} tensors, expected {len(expected)}")
    for a, b in zip(got, expected):
        a, b = a.detach().cpu(), b.detach().cpu()
        if a.shape != b.shape:
            raise AssertionError(f"{report.name}: {what}: shape {tuple(a.shape)}, expected {tuple(b.shape)}")
        if not a.numel():
            continue
        if not a.is_floating_point():
            if not bool((a == b).all()):
                raise AssertionError(f"{report.name}: {what}: integer values differ")
            continue
        scale = max(1.0, float(b.abs().max()))
        error = float((a.double() - b.double()).abs().max()) / scale
        if not error <= tolerance:
            meaning = _MEANING.get(what.split()[0])
            raise AssertionError(
                f"{report.name}: {what}: off by {error:.3g} of {scale:.3g}, allowed {tolerance:.3g}"
                + (f": {meaning}" if meaning else "")
            )
    report.passed.append(what)
