"""A module that is tried, its inputs on the test shapes, and what it gives for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..application import (
    Sample,
    check_signal,
    collate_samples,
    evaluate_plan,
    forward,
    is_feature,
    model_plan,
    takes_signal,
)
from ..data import sources_of
from ..errors import CotanError
from ..evaluation import compute
from ..network import needs
from ..plan import Plan, make_plan
from ..values import move
from .compare import Report, check_unchanged, copies, one_line
from .shapes import evaluation_of, normal


@dataclass
class Tried:
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


@dataclass
class Case:
    """A module's inputs on one test shape."""

    data: Any
    plan: Plan
    sample: Sample
    x: Tensor | None  # the layer's signal; None for a model that makes its own

    def values(self, *others: Case, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
        cases = (self, *others)
        values = collate_samples(self.plan, [c.sample for c in cases])
        if self.x is not None:
            values["x"] = torch.cat([c.x for c in cases if c.x is not None])
        return {name: move(value, dtype=dtype) for name, value in values.items()}


def case_on(tried: Tried, what: str, data: Any, seed: int = 0) -> Case | None:
    """The inputs on a test shape (None: of a grid); None where it has none, with the reason why `what` is not checked."""
    g = torch.Generator().manual_seed(11 + seed)
    x = None
    if tried.signal != "vertex":
        size = {"sequence": (12,), "image": (12, 12), "volume": (8, 8, 8)}[tried.signal]
        from torch_geometric.data import Data

        data = Data(num_nodes=1, **{tried.signal: normal((tried.in_dim, *size), g)}) if data is None else data
    else:
        data = data.clone()
        if tried.layer:
            x = normal((data.num_nodes, tried.in_dim), g)
        elif "x" not in data and takes_signal(tried.module):
            data.x = normal((data.num_nodes, tried.in_dim), g)
    try:
        have = sources_of(data)
        plan = make_plan(needs(tried.module), have) if tried.layer else model_plan(tried.module, have)
        sample = evaluate_plan(plan, data, torch.float64, evaluation_of(data))
        check_signal(tried.module, plan, sample)
        if tried.layer and tried.signal != "vertex":
            x = compute(data, tried.signal, dtype=torch.float64)[None]
    except CotanError as reason:
        tried.report.skipped[what] = one_line(reason)
        return None
    return Case(data, plan, sample, x if tried.layer else None)


def _dtype_of(module: nn.Module) -> str:
    return str(next((p.dtype for p in module.parameters()), torch.float64)).removeprefix("torch.")


def call(module: Any, values: Mapping[str, Any]) -> Any:
    if "x" not in values:
        return forward(module, values)
    return module(values["x"], **{name: v for name, v in values.items() if name != "x"})


def run(module: nn.Module, values: Mapping[str, Any]) -> Tensor:
    before, who = copies(values), f"{type(module).__qualname__}.forward"
    try:
        out = call(module, values)
    except (CotanError, TypeError, ValueError, RuntimeError, LookupError, AttributeError) as reason:
        autocast = " under bf16 autocast" * torch.is_autocast_enabled("cpu")
        blocks = "; of a batch, vectors are block-diagonal: they know @ and .T alone"
        raise AssertionError(
            f"{who} failed in {_dtype_of(module)}{autocast}: {type(reason).__name__}: {reason}"
            + blocks * ("BlockDiagonal" in str(reason))
        ) from reason
    check_unchanged(before, values, who)
    if not isinstance(out, Tensor):
        raise AssertionError(f"{who} gives a {type(out).__name__}, expected a tensor")
    return out


def is_signal(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and (name == "x" or is_feature(name))
