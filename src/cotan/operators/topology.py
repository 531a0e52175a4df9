"""What is joined to what on a triangle mesh: edges, fans of faces about vertices, orientation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..sparse import grouped
from ..untraced import array
from .edge_index import half_edges
from .undirected import undirected


class Topology(NamedTuple):
    """Of F faces that name three different vertices each; side s of 3F is numbered as in `half_edges`.

    Attributes:
        edges (2, E): vertices of each undirected edge, the lower first, sorted.
        faces_at (E,): how many faces meet there.
        edge (3F,): the edge of each side. forward (3F,): whether the side runs from the lower vertex to the higher.
        pairs (2, P): sides that meet at the same edge, each with the next one there.
    """

    edges: Tensor
    faces_at: Tensor
    edge: Tensor
    forward: Tensor
    pairs: Tensor

    @property
    def across(self) -> Tensor:
        """(2, P) the pairs at edges of exactly two faces."""
        return self.pairs[:, self.faces_at[self.edge[self.pairs[0]]] == 2]


def topology(face: Tensor) -> Topology:
    """What is joined to what: edges, faces_at, edge, forward and pairs, as `Topology` says. On the CPU.

    Arguments:
        face: (3, F), no face naming a vertex twice.
    """
    face = face.cpu()
    source, target = half_edges(face)
    stride = int(face.max()) + 1 if face.numel() else 1
    low, high, edge = undirected(source, target, stride)
    edges, faces_at = torch.stack([low, high]), torch.bincount(edge, minlength=len(low))

    order = grouped(edge, len(low))[1]
    along = edge.index_select(0, order)
    same = (along[1:] == along[:-1]).nonzero()[:, 0]
    pairs = torch.stack([order.index_select(0, same), order.index_select(0, same + 1)])
    return Topology(edges, faces_at, edge, source < target, pairs)


def fans(t: Topology) -> tuple[int, Tensor]:
    """Of faces about a vertex, joined along the edges at it: how many, and that of corner i of face f at i * F + f. (3F,)"""
    # A side facing corner i starts at corner i + 1 and ends at corner i + 2 of its face.
    side, faces = torch.arange(len(t.edge)), len(t.edge) // 3
    start, end = side.roll(-faces), side.roll(-2 * faces)
    at_low, at_high = torch.where(t.forward, start, end), torch.where(t.forward, end, start)
    ends = (torch.cat([at_low.index_select(0, sides), at_high.index_select(0, sides)]) for sides in t.pairs)
    return connected(len(side), *ends)


def connected(size: int, source: Tensor, target: Tensor) -> tuple[int, Tensor]:
    """The number of connected components of a graph with edges source - target (E,), and that of each of `size` vertices."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if size == 0:
        return 0, torch.zeros_like(source)
    ones = np.ones(len(source), dtype=np.int8)
    graph = coo_array((ones, (array(source), array(target))), shape=(size, size))
    count, label = connected_components(graph, directed=False)
    return int(count), torch.from_numpy(label).to(source)


class Orientation(NamedTuple):
    """flip (F,): the faces to turn, the fewest, so that faces agree across every edge of two faces.

    patch (F,), patches: of faces joined across such edges. orientable (patches,): whether its faces can agree.
    """

    flip: Tensor
    patch: Tensor
    patches: int
    orientable: Tensor


def orientation(t: Topology) -> Orientation:
    """Which faces of a `topology` to turn so that all agree: flip, patch, patches and orientable, as `Orientation` says."""
    faces = len(t.edge) // 3
    pairs = t.across
    first, second = (pairs % faces).unbind(0)
    agree = t.forward[pairs[0]] != t.forward[pairs[1]]
    patches, patch = connected(faces, first, second)
    if agree.all():
        return Orientation(
            torch.zeros_like(patch, dtype=torch.bool), patch, patches, torch.ones(patches, dtype=torch.bool)
        )
    # Each face, and a turned copy of it, is joined to those that agree: orientable patches keep the two apart.
    crossed = torch.where(agree, 0, faces)
    _, sheet = connected(
        2 * faces, torch.cat([first, first + faces]), torch.cat([second + crossed, second + faces - crossed])
    )
    as_is, turned = sheet[:faces], sheet[faces:]
    orientable = torch.ones(patches, dtype=torch.bool)
    orientable[patch[as_is == turned]] = False
    # Of a patch's two sheets, each face is on one as it is: keep the sheet that most faces are on.
    votes = torch.zeros(patches).index_add(0, patch, torch.where(as_is < turned, 1.0, -1.0))
    flip = (as_is < turned) != (votes[patch] >= 0)
    return Orientation(flip & orientable[patch], patch, patches, orientable)
