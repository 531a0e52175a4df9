"""Cutting a sphere open from one cone point through a second to a third."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cotan.operators import triangles

from .edges import fans, owners, path
from .sphere import Sphere

EXTREMITIES = 5


class Disc(NamedTuple):
    """The cut sphere: corner (3, F) and, for each of its D vertices, the sphere's vertex and which copy it is.

    `copy` is 0, 1 right of the cut from the first cone point to the middle one, 2 right of that from the middle one
    to the last. `cones` are the three points as vertices of the sphere: first, middle, last.
    """

    corner: NDArray[np.int64]
    vertex: NDArray[np.int64]
    copy: NDArray[np.int64]
    cones: tuple[int, int, int]


def extremities(sphere: Sphere, graph, count: int) -> list[int]:
    """Vertices far from each other along edges: ends of limbs, whatever the pose. The first two are farthest apart."""
    from scipy.sparse.csgraph import dijkstra

    def farthest(distance: NDArray[np.float64]) -> int:
        return int(np.round(distance / distance.max(), 9).argmax())  # of equals the first, in spite of rounding

    first = _sharpest(sphere)
    for _ in range(2):
        first = farthest(dijkstra(graph, indices=first))
    chosen, near = [first], dijkstra(graph, indices=first)
    while len(chosen) < min(count, len(sphere.pos)):
        chosen.append(farthest(near))
        near = np.minimum(near, dijkstra(graph, indices=chosen[-1]))
    return chosen


def _sharpest(sphere: Sphere) -> int:
    """The vertex with the smallest sum of angles."""
    angle = triangles(sphere.pos, sphere.face).angles
    total = angle.new_zeros(len(sphere.pos)).index_add(0, sphere.face.reshape(-1), angle.reshape(-1))
    return int((total * 1e9).round().argmin())


def triples(count: int, seed: int) -> list[tuple[int, int, int]]:
    """All ways to pick (first, middle, last) of `count` points up to swapping first and last.

    The points that were picked least come first, so that a few maps already have each limb at a cone point once. Seed
    0 goes through them in order, any other seed in an order of its own.
    """
    left = [t for t in itertools.permutations(range(count), 3) if t[0] < t[2]]
    if seed:
        generator = torch.Generator().manual_seed(seed)
        left = [left[i] for i in torch.randperm(len(left), generator=generator).tolist()]
    used, out = [0] * count, []
    while left:
        best = min(left, key=lambda t: sum(4 ** used[p] for p in t))
        left.remove(best)
        out.append(best)
        for p in best:
            used[p] += 1
    return out


def cut(sphere: Sphere, graph, cones: tuple[int, int, int]) -> Disc | None:
    """Cut along shortest paths of edges; None where the first path leaves no way for the second."""
    from scipy.sparse.csgraph import dijkstra

    first, middle, last = cones
    _, before = dijkstra(graph, indices=middle, return_predecessors=True)
    left = path(before, first)
    keep = np.ones(len(before), dtype=bool)
    keep[left[:-1]] = False
    here = np.flatnonzero(keep)
    index = np.cumsum(keep) - 1
    reached, before = dijkstra(graph[here][:, here], indices=index[middle], return_predecessors=True)
    if not keep[last] or not np.isfinite(reached[index[last]]):
        return None
    right = here[path(before, int(index[last]))].tolist()
    return _open(sphere, left, right[::-1], cones)


def _open(sphere: Sphere, left: list[int], right: list[int], cones: tuple[int, int, int]) -> Disc:
    face, size = sphere.face, len(sphere.pos)
    start, end = face.reshape(-1), face.roll(-1, 0).reshape(-1)
    key = start * size + end
    path = torch.tensor(left + right[1:], device=face.device)
    forward = path[:-1] * size + path[1:]
    fan = fans(face, torch.isin(key, torch.cat([forward, path[1:] * size + path[:-1]])))
    vertex = owners(fan, face)
    copy, number = torch.zeros_like(vertex), fan.reshape(-1)
    # The faces right of the cut hold its edges in the direction back.
    for which, part in ((1, left), (2, right)):
        part = torch.tensor(part, device=face.device)
        copy[number[torch.isin(key, part[1:] * size + part[:-1])]] = which
    copy[number[torch.isin(start, torch.tensor([cones[0], cones[2]], device=face.device))]] = 0
    return Disc(fan.cpu().numpy(), vertex.cpu().numpy(), copy.cpu().numpy(), cones)
