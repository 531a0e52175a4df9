"""Coarser graphs: vertices joined in pairs along heavy edges, again and again."""

from typing import Any

import torch
from torch import Tensor

import cotan

from .adjacency import weights


def together(value: Any) -> cotan.Sparse:
    """(V, V) with a one for each two vertices of one cluster: what does not depend on how clusters are numbered."""
    members = (value if isinstance(value, cotan.Sparse) else clusters(value)).to_scipy()
    return cotan.Sparse.from_scipy(members.T @ members)


@cotan.operator("coarsen", kind="embedded", gives=("pos", "edge_index", "edge_weight"), observable=together)
def coarsen_embedded(
    pos: Tensor, edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None, *, level: int = 1, seed: int = 0
) -> Any:
    """As for kind "graph", with pos, the mean of each cluster's. Edges without weights have exp(-|x_i - x_j|^2 / t), t
    the mean of the squared lengths.

    Arguments:
        pos: (V, 3). edge_index, edge_weight, level, seed: as there.
    """
    if edge_weight is None:
        square = (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(1)
        mean = square.sum() / max(len(square), 1)
        edge_weight = torch.exp(-square / mean.where(mean > 0, 1))
    out = coarsen_graph(edge_index, num_nodes, edge_weight, level=level, seed=seed)
    total = pos.new_zeros(out.num_nodes, pos.shape[1]).index_add(0, out.cluster, pos)
    out.pos = total / out.cluster.bincount(minlength=out.num_nodes)[:, None]
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
    """A graph of about V / 2^level vertices, each a cluster of the given ones: `level` times, all pairs of a matching are
    joined (as Graclus does: Dhillon, Guan and Kulis 2007). A vertex without a free neighbour stays alone.

    The weight between two clusters is the sum of those between their vertices; inside it is dropped.
    Of the value, a `Data`, `cluster` (V,) says which cluster a vertex is in.

    Arguments:
        edge_index: (2, E); directions do not matter. edge_weight: (E,) not negative, ones by default.
        level: number of matchings. seed: of the order among edges that nothing else tells apart.
    """
    from torch_geometric.data import Data

    if level < 1:
        raise cotan.CotanError(f"coarsen: level={level}, expected a positive whole number")
    weight = weights(edge_index, edge_weight) / 2  # an edge in both directions counts once
    if len(weight) and not float(weight.detach().min()) >= 0:
        raise cotan.CotanError("coarsen: expected an edge_weight of at least 0 everywhere")
    cluster = torch.arange(num_nodes, device=edge_index.device)
    size = num_nodes
    pair, weight = undirected(edge_index, weight, size)
    for _ in range(level):
        step = matching(pair, weight.detach(), size, seed)
        size = int(step.max()) + 1 if len(step) else 0
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
    low, high = edge_index.aminmax(dim=0)
    apart = low != high
    key, place = (low * size + high)[apart].unique(return_inverse=True)
    return torch.stack([key // max(size, 1), key % max(size, 1)]), weight.new_zeros(len(key)).index_add(
        0, place, weight[apart]
    )


def matching(pair: Tensor, weight: Tensor, size: int, seed: int = 0) -> Tensor:
    """(V,) a cluster of one or two vertices for each, by a matching that leaves no edge between two that are alone.

    Each round takes all edges that are the best at both their ends: of the largest w_ij (1 / d_i + 1 / d_j), d the sum
    of a vertex's weights to those still free, so that one with few ways left comes early.

    Arguments:
        pair: (2, P), i < j, each once. weight: (P,).
    """
    here = torch.arange(size, device=pair.device)
    mate, free = here.clone(), torch.ones_like(here, dtype=torch.bool)
    while pair.shape[1]:
        rank = ranks(pair, weight, size, seed)
        best = rank.new_zeros(size).scatter_reduce(0, pair.flatten(), rank.repeat(2), "amax", include_self=False)
        low, high = pair[:, (best[pair] == rank).all(0)]
        mate[low], mate[high] = high, low
        free[low] = free[high] = False
        left = free[pair].all(0)
        pair, weight = pair[:, left], weight[left]
    return torch.minimum(mate, here).unique(return_inverse=True)[1]


def ranks(pair: Tensor, weight: Tensor, size: int, seed: int) -> Tensor:
    """(P,) the place of each edge from the worst to the best, by score, then by the surroundings of its ends, then by chance.

    So the order, and all that follows, does not depend on the numbers of the vertices unless they look alike.
    """
    degree = weight.new_zeros(size).index_add(0, pair.flatten(), weight.repeat(2))
    score = weight * degree.clamp(min=1e-300).reciprocal()[pair].sum(0)
    level = (
        (score / score.max() * 2**40).round().long() if len(score) else score.long()
    )  # equal but for rounding: equal
    around = torch.full((size,), seed, device=pair.device)
    for _ in range(8):  # colours of Weisfeiler and Leman 1968; sums of whole numbers know no order
        sent = scrambled(around[pair.flip(0)] + level)
        around = scrambled(around + torch.zeros_like(around).index_add(0, pair.flatten(), sent.flatten()))
    order = scrambled(torch.arange(len(level), device=pair.device) + seed).argsort()
    for key in (around[pair].sum(0), level):
        order = order[key[order].argsort(stable=True)]
    return torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))


def scrambled(x: Tensor) -> Tensor:
    """Whole numbers mixed bit by bit (the finaliser of Steele, Lea and Flood 2014), modulo 2^64."""
    x = (x ^ (x >> 30)) * -4658895280553007687
    x = (x ^ (x >> 27)) * -7723592293110705685
    return x ^ (x >> 31)
