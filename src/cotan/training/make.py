"""A model for a dataset: the two dimensions are read off the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from statistics import mode
from threading import get_ident
from typing import Any, SupportsIndex

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

from .. import registry
from ..application import Sample, check_features, evaluate_plan, first_signal, join_features
from ..data import sources_of
from ..datasets import as_splits
from ..errors import CotanError, expect
from ..network import as_made, create_model
from ..nodes import Node, as_nodes
from ..plan import Plan, make_plan
from ..targets import check_form, width
from .recipe import node_of, record_of

TRIED = 10  # shapes of which one has to give the features


def model_for(
    name: str, dataset: Any, *, task: str | None = None, features: Any = None, seed: int | None = None, **options: Any
) -> nn.Module:
    """`cotan.create_model` with the dimensions of a dataset: in_dim of the first signal, out_dim of the task.

    Arguments:
        task: the dataset's own by default.
        features: as in `create_model`.
        seed: of the initial weights; the generator of torch as it is by default.

    >>> model_for("spectral", cotan.load_dataset("poses"), k=32)
    """
    expect("model_for: seed", seed, SupportsIndex | None, "a whole number")
    splits = as_splits(dataset)
    task = task or splits.task
    check_form(splits, task)
    shapes = [shape for some in splits.lists().values() for shape in some][:TRIED]
    in_dim = in_dim_of(name, shapes, features, options)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.default_generator.manual_seed(seed)  # the CPU's, where models are made; a GPU's is left alone
        return create_model(name, in_dim, width(splits, task), task=task, features=features, **options)


def check_model(name: str, options: Mapping[str, Any]) -> None:
    """Raise for a model, or an option of it, that there is not: before a dataset is made."""
    for apart in ("task", "features", "seed"):
        if apart in options:
            raise CotanError(
                f"{apart}={options[apart]!r} among the options of model {name!r}: it is given apart from these"
            )
    registry.check_options(*registry.model_of(name, options))


def in_dim_of(name: str, shapes: Sequence[Any], features: Any, options: Mapping[str, Any]) -> int:
    """Of a model or layer on shapes: the channels of its first signal, 1 if it has none."""
    definition = registry.model_or_layer(name)
    if definition.kind == "model" and "x" not in definition.inputs:
        return 1
    if definition.name == "stack" and definition.kind == "model":
        definition = registry.lookup("layer", options.get("layer", definition.options["layer"]))
    have = sources_of(shapes[0])
    requests = first_signal(definition.signal, as_nodes(features), have)
    plan = make_plan(requests, have)
    check_features(plan)
    return mode(_width(sample, definition.signal, requests) for sample in _samples(plan, shapes))


def _width(sample: Sample, signal: str, requests: Mapping[str, Any]) -> int:
    """The channels of a first signal."""
    for key, value in sample.items():
        if not isinstance(value, torch.Tensor):
            raise CotanError(
                f"features: {requests[key].key} is a {type(value).__name__}, expected a tensor per {signal}"
            )
    if signal == "vertex":
        if any(value.ndim > 2 for value in sample.values()):  # images, which dense nets flatten
            return sum(value.numel() for value in sample.values())
        return join_features(list(sample.values())).shape[-1]
    return sum(sample[key].shape[0] for key in sample)


@torch.no_grad()
def _samples(plan: Plan, shapes: Sequence[Any]) -> list[Sample]:
    """Of the shapes whose features are not refused, so that the odd one out is told; of the first if they are computed."""
    found = []
    for shape in shapes:
        with suppress(CotanError):
            found.append(evaluate_plan(plan, shape))
            if any(step.definition for step in plan.steps):
                break
    return found or [evaluate_plan(plan, shapes[0])]


def describe(model: nn.Module) -> dict[str, Any] | None:
    """How `create_model` made a model, as JSON can say it; None where it cannot: a module, a part or a function of the
    caller's own.
    """
    given = as_made(model)
    if not given:
        return None
    try:
        return {**given, "features": [record_of(f) for f in given["features"]], "options": _said(given["options"])}
    except TypeError:
        return None


def rebuild(description: Mapping[str, Any]) -> nn.Module:
    """The model of a description, with fresh weights."""
    rest = {key: description[key] for key in ("name", "in_dim", "out_dim", "task")}
    features = [node_of(f) for f in description["features"]] or None
    return create_model(**rest, features=features, **_meant(description["options"]))


@contextmanager
def at_most(count: int, where: str) -> Iterator[None]:
    """Raise where a module that is made within has more parameters than that, before memory is filled with them."""
    thread = get_ident()

    def register(_module: nn.Module, _name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        if get_ident() == thread:
            count -= 1000 + (0 if is_lazy(parameter) else parameter.numel())  # a module is worth 1000 numbers, in bytes
            if count < 0:
                raise CotanError(f"{where} does not fit the model of its record, which is far larger")

    hook = register_module_parameter_registration_hook(register)
    try:
        yield
    finally:
        hook.remove()


def _said(option: Any) -> Any:
    """An option in JSON; a request is {"node": its record}."""
    if option is None or isinstance(option, str | bool | int | float):
        return option
    if isinstance(option, Node):
        return {"node": record_of(option)}
    if isinstance(option, Mapping):
        return {name: _said(value) for name, value in option.items()}
    if isinstance(option, list | tuple):
        return [_said(value) for value in option]
    if hasattr(option, "tolist"):  # of numpy or torch
        return option.tolist()
    raise TypeError(f"{option!r} cannot be said in JSON")


def _meant(option: Any) -> Any:
    if isinstance(option, list):
        return [_meant(value) for value in option]
    if not isinstance(option, Mapping):
        return option
    return node_of(option["node"]) if set(option) == {"node"} else {k: _meant(v) for k, v in option.items()}
