"""Learned modules on the graph: what a module needs, networks of layers, creation by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from . import registry
from .decorators import nodes_of, not_named
from .errors import CotanError, expect, unknown
from .nodes import SOURCES, Node, Request, as_node, as_nodes, of_one_basis


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
            if lacking and not for_cotan(layer):
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
    names, optional = parameters_of(module)
    given = of_one_basis(_wiring(module, "needs"), names)
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


def _wiring(module: nn.Module, name: str) -> Mapping[str, Any]:
    given = getattr(module, name, None)
    expect(f"{type(module).__qualname__}.{name}", given, Mapping | None, "a dict of requests by name")
    return given or {}


def parameters_of(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those of `forward`, and which of them are optional."""
    if (definition := _registered(module)) is not None:
        return definition.inputs, definition.optional
    cls: Any = type(registry.unwrapped(module))
    names, optional, _, rest = nodes_of(cls, cls.__qualname__, foreign=not issubclass(cls, Network))
    if rest and not issubclass(cls, Network) and any(members(module)):
        raise not_named(cls.__qualname__, rest)
    if "data" in names and not registry.has("operator", "data"):
        raise CotanError(
            f"{cls.__qualname__}.forward takes 'data'; expected what it uses of it by name: "
            "forward(self, x, edge_index, batch)"
        )
    return names, optional


def for_cotan(module: nn.Module) -> bool:
    """Whether it was written for cotan: a `Network`, or registered, or an extension of what is."""
    return registry.definition_of(module) is not None or isinstance(registry.unwrapped(module), Network)


def _registered(module: nn.Module) -> registry.Definition | None:
    """The definition of a module, but not of one that extends a registered class with a `forward` of its own."""
    definition = registry.definition_of(module)
    own = type(registry.unwrapped(module)).forward
    return definition if definition is not None and definition.target.forward is own else None


def requests_of(module: nn.Module, have: Iterable[str]) -> dict[str, Node]:
    """What a module needs of data with the sources `have`.

    Each parameter of `forward` has to be a node in a registered class and in a `Network`; any other module may have parameters
    of its own with defaults, which are left out.
    """
    requests = needs(module)
    if _registered(module) is None and not isinstance(registry.unwrapped(module), Network):
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
    wanted = {name: request for name, request in needs(own).items() if name in parameters_of(own)[0]}
    left = {name: None for name, request in _wiring(own, "needs").items() if request is None}
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
        if for_cotan(child):
            yield child
        else:
            yield from members(child)


def create_layer(name: str, in_dim: int, out_dim: int, **options: Any) -> nn.Module:
    """A registered layer.

    >>> cotan.create_layer("spectral", 3, 64, k=32)
    """
    return _create(registry.lookup("layer", name), in_dim, out_dim, options)


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
    known = task if definition.tasks is None else _done_as(task, definition.tasks)
    if known is None:
        raise CotanError(f"model {name!r} does not do task {task!r}; it does: {', '.join(definition.tasks or ())}")
    model = _create(definition, in_dim, out_dim, {"task": known, **chosen})
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
    model._parts = _parts(model)  # type: ignore[assignment]
    return model


def _done_as(task: str, tasks: Iterable[str]) -> str | None:
    """Which of the tasks that a model does one is, or else extends."""
    if task in tasks:
        return task
    target = registry.lookup("task", task).target
    for name in tasks:
        if not registry.has("task", name):  # of a package that is not installed
            continue
        base = registry.lookup("task", name).target
        if issubclass(target, base) and target.per == base.per:
            return name
    return None


def made(model: Any) -> Mapping[str, Any]:
    """What `create_model` made a model of: name, in_dim, out_dim, task, features, options; nothing of a caller's own."""
    known = getattr(registry.unwrapped(model), "made", None)
    return known if isinstance(known, Mapping) else {}


def as_made(model: Any) -> Mapping[str, Any]:
    """`made`, of a model that still is so: nothing of one with a part, or a node that it asks for, that was replaced since."""
    own = registry.unwrapped(model)
    known = getattr(own, "_parts", None)
    return made(own) if not known or known == _parts(own) else {}


def _parts(module: nn.Module) -> dict[Any, Any]:
    """What makes a module the one that it is, beside its options: the classes of its parts, the sizes of their parameters and
    the nodes that they ask for. Nothing where a size is not known yet.
    """
    out: dict[Any, Any] = {"features": as_nodes(getattr(module, "features", None))}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if is_lazy(parameter):
            return {}
        out[name] = tuple(parameter.shape)
    for name, part in module.named_modules(remove_duplicate=False):
        out[name, "class"] = type(part).__qualname__
        for wiring in ("needs", "instead"):
            asked = getattr(part, wiring, None)
            if isinstance(asked, Mapping):
                out |= {(name, wiring, key): node and as_node(node) for key, node in asked.items()}
    return out


def _in_units(model: Any, _: Any, output: Tensor) -> Tensor:
    """A forward hook: the model learns targets of mean 0 and deviation 1, and answers in their own units."""
    return output * model.target_deviation + model.target_mean


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


def instead_of(module: nn.Module) -> Mapping[str, Request]:
    """The nodes that stand for sources in all that a module asks for, {"edge_index": request}: `instead` of it or its parts."""
    found: dict[str, Request] = {}
    for part in module.modules():
        for name, request in _wiring(part, "instead").items():
            if as_node(found.setdefault(name, request)) != as_node(request):
                raise CotanError(f"parts of a model take different nodes for {name!r}: {found[name]!r} and {request!r}")
    return found
