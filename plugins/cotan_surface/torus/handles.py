"""Cutting a handle: along the shortest loop that leaves the surface in one piece, both its rims closed by caps."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .edges import edge_graph, fans, following, owners, path, twins

BITS = 62  # of an int64. Of more generators some share a bit: a loop is then overlooked, never taken wrongly.


def cut_handle(pos: Tensor, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A closed, oriented surface of genus g >= 1 as one of g - 1: places, faces, and the vertex (or -1) each comes from.

    The vertices of the loop are there twice, once on each rim; the last two, which come from none, are the centres of
    the caps.
    """
    loop = torch.from_numpy(shortest_loop(pos, face)).to(face.device)
    start, end, size = face.reshape(-1), face.roll(-1, 0).reshape(-1), len(pos)
    ahead = torch.isin(start * size + end, loop * size + loop.roll(-1))
    back = torch.isin(start * size + end, loop.roll(-1) * size + loop)
    fan = fans(face, ahead | back)
    origin = owners(fan, face)
    parts, corner = [fan], fan.reshape(-1)
    for centre, rim in enumerate((ahead, back), start=len(origin)):
        first, second = corner[rim], corner[following(face)[rim]]
        parts.append(torch.stack([second, first, torch.full_like(first, centre)]))
    middle = pos[loop].mean(0).expand(2, 3)
    return torch.cat([pos[origin], middle]), torch.cat(parts, 1), torch.cat([origin, origin.new_full((2,), -1)])


def shortest_loop(pos: Tensor, face: Tensor) -> NDArray[np.int64]:
    """The vertices, in order, of the shortest closed path of edges that does not take the surface apart.

    A tree of shortest paths, and a tree of the faces across other edges, leave 2g edges (Eppstein 2003). With the tree
    of faces each closes a ring of faces; `mark` has a bit for each ring that an edge crosses. A closed path whose marks
    add to zero (mod 2) is a boundary, and a simple one separates just if it is. With the tree of paths each closes a
    loop; outside these the surface is a disc, so the one sought passes through a vertex of theirs. From each such root
    the shortest is two shortest paths and one edge between (Erickson and Whittlesey 2005).
    """
    from scipy.sparse.csgraph import dijkstra

    graph, size = edge_graph(pos, face), len(pos)
    start, end = (side.reshape(-1).cpu().numpy() for side in (face, face.roll(-1, 0)))
    once = np.flatnonzero(start < end)
    once = once[np.argsort(start[once] * size + end[once])]
    a, b = start[once], end[once]  # (E,), sorted
    key, length = a * size + b, np.asarray(graph[a, b]).ravel()

    def edge(u: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(key, np.minimum(u, v) * size + np.maximum(u, v))

    _, before = dijkstra(graph, indices=0, return_predecessors=True)
    left, mark = generators(
        once % face.shape[1], twins(face).cpu().numpy()[once] % face.shape[1], edge(np.arange(1, size), before[1:])
    )
    roots = {0}
    for v in np.concatenate([a[left], b[left]]).tolist():
        while v not in roots:
            roots.add(v)
            v = int(before[v])

    shortest, best = np.inf, np.empty(0, np.int64)
    for root in sorted(roots):
        far, before = dijkstra(graph, indices=root, return_predecessors=True, limit=shortest / 2)
        up = np.where(before < 0, root, before).astype(np.int64)
        marks = np.where(before < 0, 0, mark[edge(np.arange(size), up).clip(max=len(key) - 1)])
        while (up != root).any():  # marks: of the path to `up`, which becomes twice as long
            marks, up = marks ^ marks[up], up[up]
        total = np.where(marks[a] ^ marks[b] ^ mark, far[a] + far[b] + length, np.inf)
        e = int(total.argmin())
        if total[e] < shortest:
            shortest = float(total[e])
            best = np.array([*path(before, int(a[e]))[::-1], *path(before, int(b[e]))[:-1]])
    return best


def generators(
    one: NDArray[np.int64], two: NDArray[np.int64], tree: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The 2g edges in neither the tree nor one of faces, and for each edge (E,) the bits of the rings that it crosses.

    one, two: (E,) the faces at each edge. tree: the edges of a spanning tree of the vertices.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import breadth_first_order

    count = int(max(one.max(), two.max())) + 1
    free = np.ones(len(one), dtype=bool)
    free[tree] = False
    number = np.flatnonzero(free)
    # Two faces share two edges only about a vertex of degree two, and one of these is in the tree.
    dual = coo_matrix((number + 1, (one[free], two[free])), shape=(count, count)).tocsr()
    dual = dual + dual.T
    _, above = breadth_first_order(dual, 0)
    across = np.asarray(dual[np.arange(1, count), above[1:]]).ravel() - 1
    free[across] = False
    across = np.concatenate([[-1], across])
    left, mark = np.flatnonzero(free), np.zeros(len(one), dtype=np.int64)
    for i, e in enumerate(left):
        mark[e] ^= 1 << i % BITS
        for f in (int(one[e]), int(two[e])):
            while above[f] >= 0:
                mark[across[f]] ^= 1 << i % BITS
                f = int(above[f])
    return left, mark
