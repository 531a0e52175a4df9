"""Coarser graphs: vertices joined in pairs along heavy edges, again and again."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import cotan
from cotan.errors import at_least
from cotan.sparse import array, edge_weights

Array = np.ndarray[Any, Any]


def together(value: Any) -> cotan.Sparse:
    """(V, V) 1 where two vertices are in one cluster, which does not depend on how clusters are numbered."""
    members = (value if isinstance(value, cotan.Sparse) else clusters(value)).to_scipy()
    return cotan.Sparse.from_scipy(members.T @ members)


@cotan.operator("coarsen", kind="embedded", gives=("pos", "edge_index", "edge_weight"), observable=together)
def coarsen_embedded(
    pos: Tensor, edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None, *, level: int = 1, seed: int = 0
) -> Any:
    """A coarser graph as by kind="graph", with pos, the mean of each cluster's.

    Edges without weights have exp(-|x_i - x_j|^2 / t), t the mean of the squared lengths.

    Arguments:
        pos: (V, 3). edge_index, edge_weight, level, seed: as there.
    """
    if edge_weight is None:
        ends = ([column.index_select(0, end) for column in pos.unbind(1)] for end in edge_index)
        square = sum((a - b).square() for a, b in zip(*ends, strict=True))
        mean = square.mean()
        edge_weight = torch.exp(-square / mean.where(mean > 0, 1))
    out = coarsen_graph(edge_index, num_nodes, edge_weight, level=level, seed=seed)
    total = pos.new_zeros(out.num_nodes, pos.shape[1]).index_add(0, out.cluster, pos)
    out.pos = total / out.cluster.bincount()[:, None]
    return out


@cotan.operator(
    "coarsen",
    kind="graph",
    gives=("edge_index", "edge_weight"),
    invariant_to=("isometry", "scale"),
    observable=together,
)
def coarsen_graph(
    edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None, *, level: int = 1, seed: int = 0
) -> Any:
    """A graph of about V / 2^level vertices, each a cluster of the given ones.

    `level` times, all pairs of a matching are joined (as Graclus does: Dhillon, Guan and Kulis 2007); a vertex without
    a free neighbour stays alone. The weight between two clusters is the sum of those between their vertices; inside it
    is dropped. Of the value, a `Data`, `cluster` (V,) says which cluster a vertex is in.

    Arguments:
        edge_index: (2, E); directions do not matter. edge_weight: (E,) not negative, ones by default.
        level: number of matchings. seed: of the order among edges that nothing else tells apart.
    """
    from torch_geometric.data import Data

    at_least(1, "coarsen", level=level)
    weight = edge_weights(edge_index, edge_weight) / 2  # an edge in both directions counts once
    cluster = torch.arange(num_nodes, device=edge_index.device)
    size = num_nodes
    pair, weight = undirected(edge_index, weight, size)
    while level and pair.shape[1]:
        step = matching(pair, weight.detach(), size, seed)
        level, size = level - 1, int(step.max()) + 1
        cluster = step[cluster]
        pair, weight = undirected(step[pair], weight, size)
    return Data(
        edge_index=torch.cat([pair, pair.flip(0)], 1),
        edge_weight=torch.cat([weight, weight]),
        cluster=cluster,
        num_nodes=size,
    )


@cotan.operator(invariant_to=("isometry", "scale"), observable=together)
def clusters(coarsen: Any) -> cotan.Sparse:
    """P_ai = 1 where vertex i of the fine graph is in cluster a: its product is the sum over each cluster.

    Arguments:
        coarsen: the coarse graph, of Vc vertices.

    Shape: (Vc, V).
    """
    cluster = coarsen.cluster
    here = torch.arange(len(cluster), device=cluster.device)
    ones = torch.ones(len(cluster), dtype=torch.float64, device=cluster.device)
    return cotan.Sparse.from_coo(cluster, here, ones, (coarsen.num_nodes, len(cluster)))


def undirected(edge_index: Tensor, weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Each pair i < j that an edge joins, once, (2, P), with the sum of its edges' weights (P,)."""
    apart = (edge_index[0] != edge_index[1]).nonzero()[:, 0]
    low, high, place = cotan.operators.undirected(*edge_index.index_select(1, apart), size)
    return torch.stack([low, high]), weight.new_zeros(len(low)).index_add(0, place, weight.index_select(0, apart))


def matching(pair: Tensor, weight: Tensor, size: int, seed: int = 0) -> Tensor:
    """(V,) a cluster of one or two vertices for each, by a matching that leaves no edge between two that are alone.

    Each round takes all edges that are the best at both their ends: of the largest w_ij (1 / d_i + 1 / d_j), d the sum
    of a vertex's weights to those still free, so that one with few ways left comes early.

    Arguments:
        pair: (2, P), i < j, each once. weight: (P,).
    """
    ends, w = array(pair), array(weight)  # small steps are quicker in numpy than in torch
    here = np.arange(size)
    first, free = here.copy(), here
    while ends.shape[1]:
        low, high = ends[:, best_at_both_ends(ends, w, len(free), seed)]
        first[free[high]] = free[low]
        taken = np.zeros(len(free), bool)
        taken[low] = taken[high] = True
        left = ~taken[ends].any(0)
        ends, w = ends[:, left], w[left]
        joined = np.bincount(ends.ravel(), minlength=len(free)) > 0
        ends, free = (joined.cumsum() - 1)[ends], free[joined]
    return torch.from_numpy(((first == here).cumsum() - 1)[first]).to(pair.device)


def best_at_both_ends(ends: Array, weight: Array, size: int, seed: int) -> Array:
    """(P,) whether an edge is the best at both its ends: by score, then by the surroundings of its ends, then by chance.

    So what is chosen, and all that follows, does not depend on the numbers of the vertices unless they look alike.
    """
    vertex, edge = ends.ravel(), np.tile(np.arange(len(weight)), 2)  # the best so far, each at one of its ends
    inverse = 1 / np.maximum(np.bincount(vertex, weight[edge], size), 1e-300)
    score = weight * (inverse[ends[0]] + inverse[ends[1]])
    level = np.rint(score / (score.max() or 1) * 2**40).astype(np.int64)  # equal but for rounding: equal
    keys = (
        lambda: level,
        lambda: surroundings(ends, level, size, seed)[ends].sum(0),
        lambda: scrambled(np.arange(len(level)) + seed),
    )
    for key in keys:
        value = key()[edge]
        most = np.full(size, np.iinfo(np.int64).min)
        np.maximum.at(most, vertex, value)
        best = np.flatnonzero(value == most[vertex])
        vertex, edge = vertex[best], edge[best]
        at_both = np.bincount(edge, minlength=len(weight)) == 2
        tied = np.bincount(vertex, minlength=size) > 1
        if not tied[vertex[at_both[edge]]].any():
            break
    return at_both


def surroundings(ends: Array, level: Array, size: int, seed: int) -> Array:
    """(V,) a number for what a vertex sees up to eight edges away: the colours of Weisfeiler and Leman 1968.

    They are sums of whole numbers, which are the same in any order.
    """
    around, other = np.full(size, seed), ends[::-1].copy()
    for _ in range(8):
        total = around.copy()
        np.add.at(total, ends.ravel(), scrambled(around[other] + level).ravel())
        around = scrambled(total)
    return around


def scrambled(x: Array) -> Array:
    """Whole numbers mixed bit by bit, in place (the finaliser of Steele, Lea and Flood 2014), modulo 2^64."""
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x ^= x >> shift
        x *= factor
    x ^= x >> 31
    return x
