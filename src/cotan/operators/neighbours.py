"""Neighbours in space as edges, neighbour -> centre: exact, by a k-d tree on the CPU and by all distances on CUDA."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from ..untraced import array
from ..values import is_live, numbers
from .checks import check_pos
from .edge_lengths import length

CHUNK = 2**26  # distances held at once


@operator(per="edge", index="vertex", invariant_to=("rigid", "scale"))
def nearest_neighbours(pos: Tensor, *, k: int = 16) -> Tensor:
    """The k nearest other points of each point. (2, V * min(k, V - 1)); by centre, then by distance.

    As `edge_index` of other nodes it makes a graph of a point cloud:
    `cotan.node("laplacian", kind="graph", edge_index=cotan.node("nearest_neighbours", k=8))`.

    Arguments:
        pos: (V, 3). k: number of neighbours.
    """
    at_least(1, "nearest_neighbours", k=k)
    pos = check_pos(pos).detach()
    _, other, centre = _others(pos, min(k, len(pos) - 1))
    return torch.stack([other, centre])


@operator(per="edge", index="vertex", invariant_to=("rigid",))
def radius_neighbours(pos: Tensor, *, radius: float = 0.1, limit: int | None = None) -> Tensor:
    """All other points within a distance of each point. (2, E); by centre, then by distance.

    Arguments:
        pos: (V, 3). radius: the distance, at most. limit: keep only so many nearest of each point.
    """
    if not radius > 0:
        raise CotanError(f"radius_neighbours: radius={radius}, expected a positive number")
    if limit is not None:
        at_least(1, "radius_neighbours", limit=limit)
    pos = check_pos(pos).detach()
    if limit is not None and _usual_number_within(pos, radius) > limit:  # as before a scanner, of 50 times as many
        distance, other, centre = _others(pos, min(limit, len(pos) - 1))
        return torch.stack([other, centre])[:, distance <= radius]
    centre, other = _within(pos, radius)
    distance = torch.linalg.vector_norm(pos.index_select(0, centre) - pos.index_select(0, other), dim=1)
    # The bits of distances are in their order, and whole numbers are sorted in a quarter of the time.
    order = torch.argsort(distance.double().view(torch.int64), stable=True)
    order = order[torch.argsort(centre.index_select(0, order), stable=True)]
    centre, other = centre.index_select(0, order), other.index_select(0, order)
    if limit is not None:
        count = torch.bincount(centre)
        rank = torch.arange(len(centre), device=pos.device) - (count.cumsum(0) - count)[centre]
        centre, other = centre[rank < limit], other[rank < limit]
    return torch.stack([other, centre])


def nearest(points: Tensor, queries: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Distances and numbers (Q, k) of the k points (P, D) nearest to each query (Q, D), ascending.

    Distances have derivatives: `nearest(a, b)[0].square().mean() + nearest(b, a)[0].square().mean()` is the chamfer
    distance of two clouds.
    """
    points = check_pos(numbers("nearest: points", points), None, "nearest: points")
    queries = check_pos(numbers("nearest: queries", queries), points.shape[-1], "nearest: queries")
    if not 1 <= k <= len(points):
        raise CotanError(f"nearest: k={k} of {len(points)} points")
    if points.device.type == "cpu":
        from scipy.spatial import cKDTree

        found, index = cKDTree(array(points)).query(array(queries), k=range(1, k + 1))
        distance, index = torch.from_numpy(found).to(points.dtype), torch.from_numpy(index).long()
    else:
        fixed, asked = points.detach(), queries.detach()
        parts = [_distances(part, fixed).topk(k, largest=False) for part in asked.split(max(1, CHUNK // len(points)))]
        distance, index = torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])
    if is_live(points) or is_live(queries):
        distance = length(queries[:, None] - points[index])
    return distance, index


def _others(pos: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k nearest other points of each point: distance, number and point, (V * k,) of each."""
    distance, found = nearest(pos, pos, k + 1)
    centre = torch.arange(len(pos), device=pos.device)[:, None]
    own = found == centre
    own[:, -1] |= ~own.any(1)  # among more than k points at one place, a point may miss itself
    return distance[~own], found[~own], centre.expand(-1, k).reshape(-1)


def _usual_number_within(pos: Tensor, radius: float) -> float:
    """Of the points about a point and itself, the mean over every so many points; 0 on CUDA, where all distances are
    looked at anyway. To count for all takes longer than the list of pairs of a usual radius."""
    if pos.device.type != "cpu" or not len(pos):
        return 0.0
    from scipy.spatial import cKDTree

    some = pos[:: 1 + len(pos) // 2000]
    return float(cKDTree(array(some)).count_neighbors(cKDTree(array(pos)), radius) / len(some))


def _within(pos: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Pairs of two points at a distance of at most radius, in both orders."""
    if pos.device.type == "cpu":
        from scipy.spatial import cKDTree

        pairs = torch.from_numpy(cKDTree(array(pos)).query_pairs(radius, output_type="ndarray")).long()
        return torch.cat([pairs[:, 0], pairs[:, 1]]), torch.cat([pairs[:, 1], pairs[:, 0]])
    found, start = [], 0
    for part in pos.split(max(1, CHUNK // len(pos))):
        centre, other = (_distances(part, pos) <= radius).nonzero(as_tuple=True)
        found.append(torch.stack([centre + start, other]))
        start += len(part)
    both = torch.cat(found, 1)
    centre, other = both[:, both[0] != both[1]]
    return centre, other


def _distances(queries: Tensor, points: Tensor) -> Tensor:
    # By differences: by products, nearby points would lose half of their digits.
    return torch.cdist(queries, points, compute_mode="donot_use_mm_for_euclid_dist")
