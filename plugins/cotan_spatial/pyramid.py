"""Networks on graphs that get coarser and coarser, as images do in a convolutional network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

import cotan
from cotan.errors import at_least

from .pooling import Pool, Unpool


@cotan.model("pyramid")
class Pyramid(cotan.Network):
    """For each of the widths a layer, relu, and pooling over clusters of about 2^levels vertices; then the readout.

    Each layer sees the nodes of its own graph. With layer chebyshev of order 25, widths 32 and 64, pooling by 4 and a
    fully connected layer of 512 it is the network of Defferrard et al. 2016 for digits.
    For tasks per vertex a way back follows: copied from the clusters, beside what was there before the pooling, a layer.

    Arguments:
        layer: a registered layer's name; options that the pyramid does not have are the layer's.
        widths: channels at each level. levels: matchings from one to the next (see `coarsen`).
        pooling: max, mean or sum.
        readout: how the coarsest vertices become a shape, for tasks per shape: mean, sum, max or attention.
        vertices: for shapes that share one graph, how many the coarsest has: their channels are then put side by side
            instead of pooled.
        fc: channels of a fully connected layer before the output, for tasks per shape; 0 for none.
        fc_dropout: before the output.
        seed: of `coarsen`.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        layer: str = "gcn",
        widths: Sequence[int] = (32, 64),
        levels: int = 2,
        pooling: str = "max",
        readout: str = "mean",
        vertices: int | None = None,
        fc: int = 512,
        fc_dropout: float = 0.5,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__()
        if not len(widths):
            raise cotan.CotanError("pyramid: no widths, expected at least one")
        if vertices is not None:
            at_least(1, "pyramid", vertices=vertices)
        down = cotan.node("coarsen", level=levels, seed=seed)
        domains: list[Any] = [None]
        self.layers, self.pools = nn.ModuleList(), nn.ModuleList()
        for a, b in zip([in_dim, *widths], widths, strict=False):
            self.layers.append(placed(cotan.create_layer(layer, a, b, **options), domains[-1]))
            self.pools.append(Pool(down, pooling, on=domains[-1]))
            domains.append(cotan.node("coarsen", level=levels, seed=seed, on=domains[-1]))
        last = widths[-1]
        self.back, self.unpools = nn.ModuleList(), nn.ModuleList()
        self.vertices = vertices
        self.readout = cotan.Readout(last * (vertices or 1), fc or out_dim, task=task, kind=readout)
        if self.readout.per == "vertex":
            for width, domain in reversed(list(zip(widths, domains, strict=False))):
                self.unpools.append(Unpool(down, on=domain))
                self.back.append(placed(cotan.create_layer(layer, last + width, width, **options), domain))
                last = width
            self.readout = cotan.Readout(last, out_dim, task=task)
            fc = 0
        self.needs = {name: cotan.node(name, on=domains[-1]) for name in ("batch", "ptr")}
        self.dropout = nn.Dropout(fc_dropout)
        self.output = nn.Linear(fc, out_dim) if fc else None

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor, **nodes: Any) -> Tensor:
        kept = []
        for layer, pool in zip(self.layers, self.pools, strict=True):
            kept.append(self.feed(layer, x, nodes).relu())
            x = self.feed(pool, kept[-1], nodes)
        for layer, unpool in zip(self.back, self.unpools, strict=True):
            x = torch.cat([kept.pop(), self.feed(unpool, x, nodes)], 1)
            x = self.feed(layer, x, nodes).relu()
        shapes = len(ptr) - 1
        if self.readout.per == "shape" and self.vertices:
            if len(x) != self.vertices * shapes or not (is_compiling() or (ptr.diff() == self.vertices).all()):
                sizes = sorted(set(ptr.diff().tolist()))
                raise cotan.CotanError(f"pyramid: vertices={self.vertices}, but the coarsest graphs have {sizes}")
            x, batch = x.reshape(shapes, -1), torch.arange(shapes, device=x.device)
        if self.output is None:
            return self.readout(self.dropout(x), batch, ptr)
        return self.output(self.dropout(self.readout(x, batch, ptr).relu()))


def placed(layer: nn.Module, domain: Any) -> nn.Module:
    return layer if domain is None else cotan.on_domain(layer, domain)
