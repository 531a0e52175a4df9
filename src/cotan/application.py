"""A module on data: its plan, its first signal, the values of shapes made a batch, and `forward`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import registry
from .collation import collate
from .data import check_data, device_of, number_of_vertices, sources_of
from .errors import CotanError, expect, one_signal
from .evaluation import Evaluation
from .network import for_cotan, instead_of, made, parameters_of, requests_of
from .nodes import COUNTED, Node, Request, as_node
from .packing import Packing
from .plan import Plan, Step, make_plan
from .shapes import listed
from .together import evaluated
from .values import move

FORMS = frozenset({"pos", "face", "edge_index"})  # what makes a shape a mesh, a cloud or a graph
FEATURES = ("x", "edge_weight", "edge_attr")  # that nodes and models use where the data has them
_PREFIX = "features "  # and a number: the names under which a model's first signal stands in a plan


def is_feature(name: str) -> bool:
    return name.startswith(_PREFIX)


def features_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a plan's values that make the model's first signal."""
    return {name: value for name, value in values.items() if is_feature(name)}


def model_requests(model: nn.Module, have: Iterable[str]) -> dict[str, Node]:
    """What a model asks of data with the sources `have`: its nodes, and its first signal if `forward` takes one."""
    requests = requests_of(model, have)
    if takes_signal(model):
        given = getattr(registry.unwrapped(model), "features", None)
        requests |= first_signal(signal_of(model), given, have)
    return requests


def model_plan(model: nn.Module, have: Iterable[str], on: Request | Iterable[Request] = ()) -> Plan:
    """The plan of a model for data with the sources `have`.

    Whole numbers in x stay whole for a module not written for cotan, and for one that may look them up.
    """
    plan = make_plan(model_requests(model, have), have, on=on, instead=instead_of(model))
    check_features(plan)
    plan.keeps_integers = not for_cotan(model) or any(isinstance(part, nn.Embedding) for part in model.modules())
    return plan


def takes_signal(model: nn.Module) -> bool:
    return "x" in parameters_of(model)[0]


def signal_of(model: nn.Module) -> str:
    """What the model's x is: vertex, image, volume or sequence."""
    own = getattr(registry.unwrapped(model), "signal", None)
    definition = registry.definition_of(model)
    return own or (definition.signal if definition else "vertex")


def first_signal(signal: str, features: Iterable[Request] | None, have: Iterable[str]) -> dict[str, Node]:
    """The nodes that make a model's x, a vertex's or an image ..., by the names under which they stand in a plan."""
    return {f"{_PREFIX}{i}": as_node(request) for i, request in enumerate(features or [_default(signal, have)])}


def _default(signal: str, have: Iterable[str]) -> str:
    if signal != "vertex":
        return signal
    if "x" not in have and "pos" not in have:
        raise CotanError(
            "the data has neither features x nor pos for a first signal: features= names a node instead, such as "
            f"'heat_kernel_signature'. It has: {', '.join(sorted(set(have) - COUNTED))}"
        )
    return "x" if "x" in have else "normalized_pos"


def check_features(plan: Plan) -> None:
    """Raise where features cannot stand side by side."""
    steps = {step.per: step for step in features_of(plan.roots).values() if step.per is not None}
    if len(steps) > 1:
        raise CotanError(
            f"features: {' and '.join(f'{step.label}, one a {per}' for per, step in steps.items())} cannot be joined; each "
            "vertex may have a number u of its shape's: shape.u = torch.full((shape.num_nodes, 1), u)"
        )


class Sample(dict[str, Any]):
    """The values that a plan gives for one shape, by root; `vertices` holds V of each domain."""

    vertices: dict[str | None, int]


def evaluate_plan(
    plan: Plan, data: Any, dtype: torch.dtype = torch.float32, evaluation: Evaluation | None = None
) -> Sample:
    """The roots of a plan on one shape."""
    evaluation = evaluation or Evaluation(data, wider=plan.wider)
    sample = Sample({name: evaluation.value(step, dtype) for name, step in plan.roots.items()})
    for name, value in features_of(sample).items():
        if isinstance(value, Tensor):
            if plan.roots[name].per == "shape" and value.ndim < 2:
                raise CotanError(
                    f"features: {plan.roots[name].label} gives {tuple(value.shape)}, one a shape; expected a row for each "
                    "vertex (for dense nets, (1, C) a shape)"
                )
            if value.is_complex():  # a cast would drop the imaginary part
                raise CotanError(f"{plan.roots[name].label} holds {value.dtype}, expected real numbers")
            if value.is_floating_point() or not plan.keeps_integers:
                sample[name] = value.to(dtype)  # whole numbers and truth values too
    sample.vertices = {None: evaluation.vertices}
    for step in plan.roots.values():
        if step.vertices_of is not None:
            domain = evaluation.value(step.vertices_of)
            sample.vertices[step.vertices_of.identity] = number_of_vertices(domain)
    return sample


def evaluate_all(plan: Plan, shapes: Sequence[Any], dtype: torch.dtype = torch.float32) -> list[Sample]:
    """The roots of a plan on each of several shapes."""
    if len(shapes) == 1:
        return [evaluate_plan(plan, shapes[0], dtype)]
    with Packing() as packing:
        return [evaluate_plan(plan, e.data, dtype, e) for e in evaluated(plan, shapes, dtype, packing)]


def collate_samples(plan: Plan, samples: Sequence[Sample]) -> dict[str, Any]:
    """One batch of several shapes' samples."""

    def vertices(step: Step) -> list[int]:
        domain = step.vertices_of.identity if step.vertices_of else None
        return [sample.vertices[domain] for sample in samples]

    return {
        name: collate(
            [sample[name] for sample in samples],
            per=step.per,
            index=step.index,
            vertices=vertices(step),
            name=step.label,
        )
        for name, step in plan.roots.items()
    }


def forward(model: nn.Module, values: Mapping[str, Any]) -> Any:
    """The model on a batch's values, the first signal among them.

    >>> cotan.forward(model, batch.values)  # of a batch of `cotan.prepare`
    """
    expect("forward: values", values, Mapping, "batch.values of a batch of cotan.prepare (cotan.apply takes shapes)")
    rest = {name: value for name, value in values.items() if not is_feature(name)}
    if not takes_signal(model):
        return model(**rest)
    return model(join_features(list(features_of(values).values()), signal_of(model)), **rest)


def join_features(features: Sequence[Tensor], signal: str = "vertex") -> Tensor:
    """The first signal: features side by side, along the channels."""
    features = [f[:, None] if f.ndim == 1 else f for f in features]
    return features[0] if len(features) == 1 else torch.cat(list(features), dim=-1 if signal == "vertex" else 1)


def inputs(module: nn.Module, data: Any) -> dict[str, Any]:
    """The nodes that a layer or model needs, for a shape, a list of shapes or PyG's `Batch`.

    All but x, the signal, which is yours: for a batch that of all shapes, one below the other, as in `batch.pos`.

    >>> layer(x, **cotan.inputs(layer, data))
    """
    shapes = _shapes(data)
    kinds = kinds_of(shapes)
    plan = shared_plan(kinds, lambda have: make_plan(requests_of(module, have), have, instead=instead_of(module)))
    return _values(module, plan, shapes)


def apply(model: nn.Module, data: Any, *, on: Request | Iterable[Request] = ()) -> Any:
    """Plan, nodes and forward in one call, for a shape, a list of shapes (a batch) or PyG's `Batch`.

    on: augmentations that the shapes go through first.

    >>> cotan.apply(model, cotan.read("bunny.off"))
    """
    shapes = _shapes(data)
    plan = shared_plan(kinds_of(shapes), lambda have: model_plan(model, have, on))
    values = _values(model, plan, shapes)
    check_signal(model, plan, values)
    return forward(model, values)


def _values(module: nn.Module, plan: Plan, shapes: Sequence[Any]) -> dict[str, Any]:
    """The roots of a plan on a batch of shapes, in the dtype of a module and where it lies."""
    dtype, device = place_of(module)
    samples = evaluate_all(plan, shapes, dtype)
    return {name: move(value, device) for name, value in collate_samples(plan, samples).items()}


GRIDS = {"sequence": "CL", "image": "CHW", "volume": "CDHW"}


def check_signal(model: nn.Module, plan: Plan, values: Mapping[str, Any]) -> None:
    """Raise where the first signal is not (V, C), or a grid, with the number of channels that the model was made for."""
    expected = getattr(registry.unwrapped(model), "_made_for", None)
    features, signal = features_of(values), signal_of(model)
    if not features or expected is None:
        return
    kind = "model" if made(model) else "layer"
    wanted = f"({', '.join(GRIDS[signal])})" if signal in GRIDS else "(V, C), a row for each vertex"
    for f in features.values():
        if not isinstance(f, Tensor):
            raise CotanError(f"a signal that is a {type(f).__name__}, expected {wanted}")
    if signal in GRIDS:
        grids = [tuple(f.shape if isinstance(values, Sample) else f.shape[1:]) for f in features.values()]
        alike = len({(len(grid), grid[1:]) for grid in grids}) == 1
        if not alike or len(grids[0]) != len(GRIDS[signal]) or sum(grid[0] for grid in grids) != expected:
            each = " and ".join(map(str, grids))
            raise CotanError(f"{signal} {each}, expected {wanted}; the {kind} was made for {expected} channels C")
        return
    for name, f in features.items():
        if f.ndim > 2 and plan.roots[name].per == "vertex":  # images may be flattened
            one_signal(f)
        if plan.roots[name].per in ("edge", "face"):
            label, per = plan.roots[name].label, plan.roots[name].per
            raise CotanError(
                f"features: {label} is one a {per}, expected one a vertex, such as the mean of the {per}s at each"
            )
    got = sum(f.shape[1] if f.ndim == 2 else 1 for f in features.values())
    if got != expected and all(f.ndim <= 2 for f in features.values()):
        raise CotanError(f"the {kind} was made for in_dim={expected} channels; its features have {got}")


def _shapes(data: Any) -> list[Any]:
    shapes = listed(data)
    if shapes is None:
        return [data]
    places = {str(device_of(shape)) for shape in shapes if hasattr(shape, "keys")}
    if len(places) > 1:
        raise CotanError(f"shapes on {' and '.join(sorted(places))}, expected one device: shape.to(device) moves one")
    return shapes


def common_sources(shapes: Sequence[Any]) -> frozenset[str]:
    """What all shapes have."""
    return frozenset.intersection(*_sources(shapes))


def kinds_of(shapes: Sequence[Any]) -> dict[frozenset[str], int]:
    """What all shapes have and the forms of each: the different ones, with the number of the first shape that is so."""
    each = _sources(shapes)
    common = frozenset.intersection(*each)
    kinds: dict[frozenset[str], int] = {}
    for number, names in enumerate(each):
        kinds.setdefault(common | names & FORMS, number)
    return kinds


def _sources(shapes: Sequence[Any]) -> list[frozenset[str]]:
    """What each has. Numbers that only some have would be left out without a word, and are refused."""
    for shape in shapes:
        check_data(shape)
    if not shapes:
        raise CotanError("no shape given: expected a Data or a list of them")
    have = [sources_of(shape) for shape in shapes]
    for source in FEATURES:
        count = sum(source in names for names in have)
        if 0 < count < len(have):
            first = next(i for i, names in enumerate(have) if source not in names)
            raise CotanError(f"{count} of {len(have)} shapes have {source}, number {first} has none")
    return have


def shared_plan(kinds: Mapping[frozenset[str], int], plan_of: Callable[[frozenset[str]], Plan]) -> Plan:
    """The plan of shapes of some `kinds_of`. It has to be that of each: a mesh beside a graph would be taken for a cloud."""
    first, *others = kinds
    plan = plan_of(first)
    for names in others:
        if plan_of(names).identities != plan.identities:
            raise CotanError(
                f"of {_named(first ^ names)}, shape 0 has {_named(first - names)} and shape {kinds[names]} has "
                f"{_named(names - first)}: expected shapes of one kind (what not all have can be deleted)"
            )
    return plan


def _named(names: frozenset[str]) -> str:
    return " and ".join(sorted(names)) or "none"


def place_of(module: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The one dtype and device of a module's parameters."""
    parameters = {name: p for name, p in module.named_parameters() if p.is_floating_point()}
    for what in ("dtype", "device"):
        kinds = {getattr(p, what): name for name, p in parameters.items()}
        if len(kinds) > 1:
            raise CotanError(
                f"the model's parameters are on several {what}s: " + ", ".join(f"{n}: {k}" for k, n in kinds.items())
            )
    first = next(iter(parameters.values()), None)
    return (first.dtype, first.device) if first is not None else (torch.float32, torch.device("cpu"))
