"""Vertices a few edges away, as edges: neighbour -> centre."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import at_least
from ..registry import operator
from .checks import check_edges


@operator(per="edge", index="vertex", invariant_to=("isometry", "scale"))
def ring_neighbours(edge_index: Tensor, num_nodes: int, *, rings: int = 2) -> Tensor:
    """All pairs j -> i with a path of 1 to `rings` edges from i to j. (2, P), sorted by i, then j.

    Arguments:
        edge_index: (2, E). rings: number of edges, at most.
    """
    at_least(1, "ring_neighbours", rings=rings)
    edge_index = check_edges(edge_index, num_nodes)
    own = torch.arange(num_nodes, device=edge_index.device) * (num_nodes + 1)
    reached = widened(own, edge_index, num_nodes, rings)
    centre, vertex = reached // num_nodes, reached % num_nodes
    return torch.stack([vertex[centre != vertex], centre[centre != vertex]])


def widened(reached: Tensor, edge_index: Tensor, num_nodes: int, rings: int) -> Tensor:
    """Pairs c * V + v of a centre and a vertex, and those of a vertex up to `rings` edges further. Sorted, each once."""
    source, target = edge_index
    order = torch.argsort(source, stable=True)
    target = target[order]
    degree = torch.bincount(source, minlength=num_nodes)
    begin = degree.cumsum(0) - degree
    for _ in range(rings):
        centre, vertex = reached // num_nodes, reached % num_nodes
        count = degree[vertex]
        step = torch.arange(int(count.sum()), device=source.device) - (count.cumsum(0) - count).repeat_interleave(count)
        further = target[begin[vertex].repeat_interleave(count) + step]
        reached = torch.unique(torch.cat([reached, centre.repeat_interleave(count) * num_nodes + further]))
    return reached
