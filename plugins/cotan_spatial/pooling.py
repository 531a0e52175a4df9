"""Between a graph and its clusters: signals down by max, mean or sum, and up by copying."""

from typing import Any

from torch import Tensor

import cotan
from cotan.errors import one_of
from cotan.sparse import neighbour_max, spread

POOLS = ("max", "mean", "sum")


def pool(x: Tensor, clusters: cotan.Sparse, kind: str = "max") -> Tensor:
    """(V, C) to (Vc, C): the max, mean or sum of x over each cluster; `clusters` is the node of that name."""
    one_of("pooling", kind, POOLS)
    if kind == "max":
        return neighbour_max(x, clusters.pattern)
    total = clusters @ x
    return total if kind == "sum" else total / clusters.pattern.counts[:, None]


def unpool(x: Tensor, clusters: cotan.Sparse) -> Tensor:
    """(Vc, C) to (V, C): each vertex takes what its cluster has."""
    return spread(clusters.T.pattern, x, columns=True)


class Pool(cotan.Network):
    """`pool` inside a network, from a domain to that of its clusters.

    Arguments:
        coarsen: the request of the coarse graph. on: the domain of the fine one; None for the data itself.
    """

    def __init__(self, coarsen: Any, kind: str = "max", *, on: Any = None):
        super().__init__()
        one_of("pooling", kind, POOLS)
        self.kind = kind
        self.needs = {"clusters": cotan.node("clusters", coarsen=coarsen, on=on)}

    def forward(self, x: Tensor, clusters: cotan.Sparse) -> Tensor:
        return pool(x, clusters, self.kind)


class Unpool(cotan.Network):
    """`unpool` inside a network. Arguments as for `Pool`."""

    def __init__(self, coarsen: Any, *, on: Any = None):
        super().__init__()
        self.needs = {"clusters": cotan.node("clusters", coarsen=coarsen, on=on)}

    def forward(self, x: Tensor, clusters: cotan.Sparse) -> Tensor:
        return unpool(x, clusters)
