"""The stack: any registered layer as a full model."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import registry
from .decorators import model
from .dense import Linear
from .dense import activation as activation_named
from .dropout import Dropout
from .errors import CotanError, at_least, one_of, one_signal
from .network import Network, create_layer
from .nodes import node

READOUTS = ("mean", "sum", "max", "attention")


@model("stack")
class Stack(Network):
    """lift, then `depth` blocks x + dropout(activation(norm(layer(x)))), then the readout of the task.

    Arguments:
        layer: a registered layer's name; options that the stack does not have are the layer's.
        width, depth: channels and number of blocks.
        norm: "layer", "batch" or "none". activation: none, relu, gelu, elu, tanh, sigmoid, softmax or step.
        dropout: after each activation, and inside of layers that have an option of that name.
        input_dropout: of the signal, before all else.
        residual: add each block's input to its output.
        readout: how vertices become a shape, for tasks per shape: mean, sum, max or attention.
        lift: a linear map to `width` before the first block; without it the first layer does that.
        last: the last layer gives the output, with these options in place of the others: {} or {heads: 1}, say. No norm,
            activation or linear map follows it.
        neighbours: edges from so many nearest points to each vertex, in place of those of the data: for point clouds. In a
            network of several models, for all of them.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        layer: str = "linear",
        width: int = 64,
        depth: int = 4,
        norm: str = "layer",
        activation: str = "relu",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        residual: bool = True,
        readout: str = "mean",
        lift: bool = True,
        last: Mapping[str, Any] | None = None,
        neighbours: int | None = None,
        **options: Any,
    ):
        super().__init__()
        at_least(1, "stack", width=width, depth=depth)
        definition = registry.lookup("layer", layer)
        sigma = activation_named(activation, -1 if definition.signal == "vertex" else 1)
        one_of("norm", norm, ("layer", "batch", "none"))
        self.signal = definition.signal
        if neighbours is not None:
            at_least(1, "stack", neighbours=neighbours)
            self.instead = {"edge_index": node("nearest_neighbours", k=neighbours)}
        self.residual = residual
        if dropout and "dropout" in definition.options:
            options = {"dropout": dropout, **options}
        final, first, end = depth - 1, width if lift else in_dim, width if last is None else out_dim
        self.input_dropout = Dropout(input_dropout)
        self.lift = _pointwise(self.signal, in_dim, width) if lift else nn.Identity()
        self.layers = nn.ModuleList(  # one at a time: a depth from a file may be beyond all memory
            create_layer(
                layer,
                width if i else first,
                width if i < final else end,
                **(options if i < final else {**options, **(last or {})}),
            )
            for i in range(depth)
        )
        self.after = nn.ModuleList(
            nn.Sequential(_norm(norm, self.signal, width), deepcopy(sigma), Dropout(dropout))
            for _ in range(depth if last is None else depth - 1)
        )
        per = registry.lookup("task", task).target.per
        if per == "vertex" and self.signal != "vertex":
            raise CotanError(f"layer {layer!r} works on a {self.signal}; task {task!r} wants a value per vertex")
        self.readout = Readout(end, out_dim, task=task, kind=readout, signal=self.signal)
        if last is not None:
            self.readout.linear = nn.Identity()

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor, **nodes: Any) -> Tensor:
        if self.signal == "vertex":
            one_signal(x)
        nodes |= {"batch": batch, "ptr": ptr}
        x = self.lift(self.input_dropout(x))
        for i, layer in enumerate(self.layers):
            y = self.feed(layer, x, nodes)
            if i < len(self.after):
                y = self.after[i](y)
                y = x + y if self.residual and y.shape == x.shape else y
            x = y
            if self.signal != "vertex" and i + 1 < len(self.layers):
                x = _halve(x, self.signal)
        return self.readout(x, batch, ptr)


class Readout(Network):
    """The output of a task: linear per vertex, or of the pooled shape.

    Shape: x (V, C) with batch (V,) and ptr (B + 1,), or (B, C, ...) -> (V, out_dim) or (B, out_dim).

    >>> self.feed(self.readout, x, nodes)  # in a network's forward; batch and ptr are nodes
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, task: str = "classify", kind: str = "mean", signal: str = "vertex"
    ):
        super().__init__()
        one_of("readout", kind, READOUTS)
        if kind == "attention" and signal != "vertex":
            raise CotanError(f"readout 'attention' is over vertices; of an image or volume: {', '.join(READOUTS[:3])}")
        per = registry.lookup("task", task).target.per
        self.per, self.kind, self.signal = per, kind, signal
        self.score = Linear(in_dim, 1) if kind == "attention" and per == "shape" else None
        self.linear: nn.Module = Linear(in_dim, out_dim)

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor) -> Tensor:
        if self.signal != "vertex":
            x = x.flatten(2)
            x = x.amax(2) if self.kind == "max" else x.sum(2) if self.kind == "sum" else x.mean(2)
        elif self.per == "shape":
            x = pool(x, batch, len(ptr) - 1, self.kind, self.score(x) if self.score is not None else None)
        return self.linear(x)


def pool(x: Tensor, batch: Tensor, shapes: int, kind: str = "mean", score: Tensor | None = None) -> Tensor:
    """(V, C) to (shapes, C): each shape's mean, sum, max, or ("attention") mean weighted by the softmax of a score (V, 1)."""
    one_of("readout", kind, READOUTS)
    if x.dtype in (torch.bfloat16, torch.float16):  # sums over vertices need more digits: in bfloat16, 256 + 1 is 256
        return pool(x.float(), batch, shapes, kind, None if score is None else score.float()).to(x.dtype)
    score = None if score is None else score.to(x.dtype)
    index = batch[:, None].expand_as(x)
    empty = x.new_zeros(shapes, x.shape[1])
    if kind == "max":
        return empty.scatter_reduce(0, index, x, "amax", include_self=False)
    if kind == "attention":
        if score is None:
            raise CotanError("pool: 'attention' wants a score (V, 1) of each vertex")
        top = score.new_zeros(shapes, 1).scatter_reduce(0, batch[:, None], score.detach(), "amax", include_self=False)
        weight = (score - top[batch]).exp()
        total = weight.new_zeros(shapes, 1).index_add(0, batch, weight)
        return empty.index_add(0, batch, x * (weight / total[batch]))
    total = empty.index_add(0, batch, x)
    if kind == "sum":
        return total
    count = x.new_zeros(shapes).index_add(0, batch, x.new_ones(len(x)))
    return total / count[:, None].clamp(min=1)


_CONV = {"sequence": nn.Conv1d, "image": nn.Conv2d, "volume": nn.Conv3d}
_BATCH = {"vertex": nn.BatchNorm1d, "sequence": nn.BatchNorm1d, "image": nn.BatchNorm2d, "volume": nn.BatchNorm3d}
_POOL = {"sequence": functional.max_pool1d, "image": functional.max_pool2d, "volume": functional.max_pool3d}


def _pointwise(signal: str, in_dim: int, out_dim: int) -> nn.Module:
    return Linear(in_dim, out_dim) if signal == "vertex" else _CONV[signal](in_dim, out_dim, 1)


def _norm(kind: str, signal: str, width: int) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    if kind == "batch":
        return _BATCH[signal](width)
    return nn.LayerNorm(width) if signal == "vertex" else nn.GroupNorm(1, width)


def _halve(x: Tensor, signal: str) -> Tensor:
    return x if min(x.shape[2:]) < 2 else _POOL[signal](x, 2)
