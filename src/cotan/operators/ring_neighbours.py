"""Vertices a few edges away, as edges: neighbour -> centre."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import at_least
from ..pattern import grouped, runs
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
    begin, order = grouped(source, num_nodes)
    target = target[order]
    for _ in range(rings):
        centre, vertex = reached // num_nodes, reached % num_nodes
        first, last = begin[vertex], begin[vertex + 1]
        further = centre.repeat_interleave(last - first) * num_nodes + target[runs(first, last)]
        reached = torch.unique(torch.cat([reached, further]))
    return reached
