"""Learned modules on the graph: what a module needs, networks of layers, creation by name, application to data."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import registry
from .errors import CotanError, expect, unknown
from .evaluation import Evaluation, device_of, evaluated, number_of_vertices
from .nodes import COUNTED, SOURCES, Node, Request, as_node, as_nodes, check_data, sources_of
from .packing import Packing
from .plan import Plan, Step, make_plan
from .shapes import listed
from .values import collate, move

FEATURES = ("x", "edge_weight", "edge_attr")  # that nodes and models use where the data has them
_PREFIX = "features "  # and a number: the names under which a model's first signal stands in a plan


def is_feature(name: str) -> bool:
    return name.startswith(_PREFIX)


def features_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a plan's values that make the model's first signal."""
    return {name: value for name, value in values.items() if is_feature(name)}


class Network(nn.Module):
    """A module made of layers: it needs what they need, and hands each its own.

    A subclass takes `**nodes` in `forward` and passes them on; parameters before it are nodes of its own.

    >>> class Two(cotan.Network):
    ...     def __init__(self, in_dim, out_dim):
    ...         super().__init__()
    ...         self.first = cotan.create_layer("spectral", in_dim, 64)
    ...         self.second = cotan.create_layer("spectral", 64, out_dim)
    ...
    ...     def forward(self, x, **nodes):
    ...         return self.feed(self.second, self.feed(self.first, x, nodes).relu(), nodes)
    """

    def feed(self, layer: nn.Module, x: Tensor, nodes: Mapping[str, Any]) -> Any:
        """`layer(x, ...)` with those of `nodes` that it needs."""
        wires = getattr(layer, "_wires", None)
        if wires is None:
            wanted = needs(layer)
            wires = _keys(wanted)
            nodes_of = [name for name in wanted if name in SOURCES or registry.has("operator", name)]
            lacking = [name for name in nodes_of if not (wanted[name].optional or wanted[name].key in nodes)]
            if lacking and not _for_cotan(layer):
                raise CotanError(
                    f"{type(layer).__qualname__} is no layer of cotan's, so {type(self).__qualname__} does not hand it its "
                    f"{', '.join(lacking)}: @cotan.layer(name) makes it one, or it is called with what "
                    f"forward(self, x, {', '.join(lacking)}, **nodes) is given"
                )
        return layer(x, **{parameter: nodes[key] for parameter, key in wires.items() if key in nodes})


def needs(module: nn.Module) -> dict[str, Node]:
    """The nodes that a layer, model or network asks for, by the names its `forward` takes them under.

    A parameter of `forward` asks for the node of its name; `module.needs = {parameter: request}` asks for another, or,
    with None, for none: an optional parameter then keeps its default. So does one of a module that is neither registered
    nor a `Network`, where no node, source or attribute of the data has its name.
    """
    expect("needs", module, nn.Module, "a layer or a model, as create_layer and create_model make")
    module = registry.unwrapped(module)
    given = dict(getattr(module, "needs", {}))
    names, optional = _parameters(module)
    out = {}
    for name in names:
        request = given.pop(name, name)
        if request is None and name not in optional:
            raise CotanError(f"{type(module).__qualname__}.needs: {name!r} has no default, so it cannot be None")
        if name != "x" and request is not None:
            wanted = as_node(request)
            out[name] = Node(wanted.name, wanted.settings, wanted.on, name in optional)
    if given:
        what = f"parameter of {type(module).__qualname__}.forward named in needs"
        raise unknown(what, next(iter(given)), [n for n in names if n != "x"])
    if isinstance(module, Network):
        for child in members(module):
            own = needs(child)
            for wanted in own.values():
                known = out.get(wanted.key)
                if wanted.key not in names and not _takes_more(module):
                    raise CotanError(
                        f"{type(module).__qualname__}.forward has no **nodes to hand to its {type(child).__qualname__}, "
                        f"which needs {wanted.key}"
                    )
                if known is None or known.optional:
                    out[wanted.key] = wanted
            child._wires = _keys(own)  # type: ignore[assignment]
    return out


def _parameters(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of `forward`, and which of them are optional."""
    definition = registry.definition_of(module)
    cls: Any = type(registry.unwrapped(module))
    if definition is not None and definition.target.forward is cls.forward:
        return definition.inputs, definition.optional
    names, optional, _, rest = registry.nodes_of(cls, cls.__qualname__, foreign=not _only_nodes(module))
    if rest and not issubclass(cls, Network) and any(members(module)):
        raise registry.not_named(cls.__qualname__, rest)
    if "data" in names and not registry.has("operator", "data"):
        raise CotanError(
            f"{cls.__qualname__}.forward takes 'data'; expected what it uses of it by name: "
            "forward(self, x, edge_index, batch)"
        )
    return names, optional


def _for_cotan(module: nn.Module) -> bool:
    """Whether it was written for cotan: a `Network`, or registered, or an extension of what is."""
    return registry.definition_of(module) is not None or isinstance(registry.unwrapped(module), Network)


def _only_nodes(module: nn.Module) -> bool:
    """Whether each parameter of `forward` has to be a node: in a registered class and in a `Network`, but not in what extends
    or knows nothing of cotan, whose own parameters may have defaults."""
    own, definition = registry.unwrapped(module), registry.definition_of(module)
    registered = definition is not None and definition.target.forward is type(own).forward
    return registered or isinstance(own, Network)


def requests_of(module: nn.Module, have: Iterable[str]) -> dict[str, Node]:
    """What a module needs of data with the sources `have`; not the defaults that no node has the name of (`_only_nodes`)."""
    requests = needs(module)
    if not _only_nodes(module):
        known = {*SOURCES, *have, *registry.names("operator")}
        for name in [n for n, wanted in requests.items() if wanted.optional and wanted.name == n and n not in known]:
            del requests[name]
    return requests


def _takes_more(module: nn.Module) -> bool:
    parameters = inspect.signature(type(module).forward).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def on_domain(module: nn.Module, domain: Request) -> nn.Module:
    """The module, with what it and its layers need evaluated on a domain, a node whose value is a `Data`.

    >>> layer = cotan.on_domain(cotan.create_layer("chebyshev", 32, 64), cotan.node("coarsen", level=2))
    """
    own = registry.unwrapped(module)
    wanted = {name: request for name, request in needs(own).items() if name in _parameters(own)[0]}
    left = {name: None for name, request in getattr(own, "needs", {}).items() if request is None}
    own.needs = {name: _below(request, as_node(domain)) for name, request in wanted.items()} | left
    for child in members(own):
        on_domain(child, domain)
    return module


def _below(wanted: Node, domain: Node) -> Node:
    return Node(wanted.name, wanted.settings, domain if wanted.on is None else _below(wanted.on, domain))


def _keys(requests: Mapping[str, Node]) -> dict[str, str]:
    return {parameter: wanted.key for parameter, wanted in requests.items()}


def members(module: nn.Module) -> Iterable[nn.Module]:
    """The registered layers and networks directly inside, also within containers."""
    for child in module.children():
        if _for_cotan(child):
            yield child
        else:
            yield from members(child)


# --- by name ----------------------------------------------------------------------------------------------------------


def create_layer(name: str, in_dim: int, out_dim: int, **options: Any) -> nn.Module:
    """A registered layer.

    >>> cotan.create_layer("spectral", 3, 64, k=32)
    """
    definition = registry.lookup("layer", name)
    return _create(definition, in_dim, out_dim, options)


def create_model(
    name: str, in_dim: int, out_dim: int, *, task: str = "classify", features: Any = None, **options: Any
) -> nn.Module:
    """A registered model; a layer's name gives the `stack` of it.

    Arguments:
        in_dim, out_dim: channels of the first signal, and of the output (classes, for `classify` and `label`).
        task: see `cotan.names("task")`.
        features: the node (name, request, or a list that is concatenated) of the first signal; the data's `x` by default,
            else the normalised positions.
        options: of the model, and for a stack, of its layer.

    >>> cotan.create_model("spectral", in_dim=3, out_dim=8, task="label", width=32, k=64)
    """
    target = registry.lookup("task", task).target
    definition, chosen = registry.model_of(name, options)
    if definition.tasks is not None and task not in definition.tasks:
        raise CotanError(f"model {name!r} does not do task {task!r}; it does: {', '.join(definition.tasks)}")
    model = _create(definition, in_dim, out_dim, {"task": task, **chosen})
    model.features = as_nodes(features)  # type: ignore[assignment]
    model.made = {  # type: ignore[assignment]
        "name": definition.name,
        "in_dim": in_dim,
        "out_dim": out_dim,
        "task": task,
        "features": model.features,
        "options": chosen,
    }
    if target.scaled:
        model.register_buffer("target_mean", torch.zeros(out_dim))
        model.register_buffer("target_deviation", torch.ones(out_dim))
        model.register_forward_hook(_in_units)
    needs(model)  # wires the layers inside, so that a compiled forward sees no registry
    return model


def made(model: Any) -> Mapping[str, Any]:
    """What `create_model` made a model of: name, in_dim, out_dim, task, features, options; nothing of a caller's own."""
    known = getattr(registry.unwrapped(model), "made", None)
    return known if isinstance(known, Mapping) else {}


def _in_units(model: Any, _: Any, output: Tensor) -> Tensor:
    """What a model learns has mean 0 and deviation 1 on train; what it says is in the units of the targets."""
    scaled: Tensor = output * model.target_deviation + model.target_mean
    return scaled


def _create(definition: registry.Definition, in_dim: int, out_dim: int, options: Mapping[str, Any]) -> nn.Module:
    for what, dim in (("in_dim", in_dim), ("out_dim", out_dim)):
        if not isinstance(dim, int) or isinstance(dim, bool) or dim < 1:
            raise CotanError(f"{definition.kind} {definition.name!r}: {what}={dim!r}, expected a positive whole number")
    try:
        registry.check_options(definition, options)
        module: nn.Module = definition.target(in_dim, out_dim, **options)
        module._made_for = in_dim  # type: ignore[assignment]
    except CotanError:
        raise
    # An option of another type, or out of range.
    except (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError) as reason:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise CotanError(
            f"{definition.kind} {definition.name!r} with {given or 'no options'}: {type(reason).__name__}: {reason}"
        ) from reason
    return module


# --- on data ----------------------------------------------------------------------------------------------------------


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
    plan.keeps_integers = not _for_cotan(model) or any(isinstance(part, nn.Embedding) for part in model.modules())
    return plan


def instead_of(module: nn.Module) -> Mapping[str, Request]:
    """The nodes that stand for sources in all that a module asks for, {"edge_index": request}: `instead` of it or its parts."""
    found: dict[str, Request] = {}
    for part in module.modules():
        for name, request in getattr(part, "instead", {}).items():
            if as_node(found.setdefault(name, request)) != as_node(request):
                raise CotanError(f"parts of a model take different nodes for {name!r}: {found[name]!r} and {request!r}")
    return found


def takes_signal(model: nn.Module) -> bool:
    return "x" in _parameters(model)[0]


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
    sample.vertices = {None: number_of_vertices(data)}
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

    All but x, the signal: that is yours, and for a batch the shapes' under each other, as in `batch.pos`.

    >>> layer(x, **cotan.inputs(layer, data))
    """
    shapes = _shapes(data)
    have = common_sources(shapes)
    return _values(module, make_plan(requests_of(module, have), have, instead=instead_of(module)), shapes)


def apply(model: nn.Module, data: Any, *, on: Request | Iterable[Request] = ()) -> Any:
    """Plan, nodes and forward in one call, for a shape, a list of shapes (a batch) or PyG's `Batch`.

    `on` puts augmentations before it.

    >>> cotan.apply(model, cotan.read("bunny.off"))
    """
    shapes = _shapes(data)
    plan = model_plan(model, common_sources(shapes), on)
    values = _values(model, plan, shapes)
    check_signal(model, plan, values)
    return forward(model, values)


def _values(module: nn.Module, plan: Plan, shapes: Sequence[Any]) -> dict[str, Any]:
    """The roots of a plan on a batch of shapes, in the dtype of a module and where it lies."""
    dtype, device = place_of(module)
    samples = evaluate_all(plan, shapes, dtype)
    return {name: move(value, device) for name, value in collate_samples(plan, samples).items()}


def check_signal(model: nn.Module, plan: Plan, values: Mapping[str, Any]) -> None:
    """Raise where the first signal is not (V, C) with the number of channels that the model was made for."""
    expected = getattr(registry.unwrapped(model), "_made_for", None)
    features = features_of(values)
    if not features or expected is None or signal_of(model) != "vertex":
        return
    for name, f in features.items():
        if not isinstance(f, Tensor) or (f.ndim > 2 and plan.roots[name].per == "vertex"):  # images may be flattened
            what = f"of shape {tuple(f.shape)}" if isinstance(f, Tensor) else f"that is a {type(f).__name__}"
            raise CotanError(f"a signal {what}, expected (V, C), a row for each vertex")
    got = sum(f.shape[1] if f.ndim == 2 else 1 for f in features.values())
    if got != expected and all(f.ndim <= 2 for f in features.values()):
        kind = "model" if made(model) else "layer"
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
    """What all shapes have. Numbers that only some have would be left out without a word."""
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
    return frozenset.intersection(*have)


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
