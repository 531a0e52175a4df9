"""The edges of a mesh as a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from .checks import check_face
from .undirected import symmetric_pattern, undirected


@operator(per="edge", index="vertex", invariant_to=("isometry", "scale"), many=True)
def edge_index(face: Tensor) -> Tensor:
    """The sides of all faces, in both directions: (2, E), no self-loops, each once, sorted by source, then target.

    Arguments:
        face: (3, F).
    """
    face = check_face(face)
    source, target = half_edges(face)
    if bool((loops := source == target).any()):
        source, target = source[~loops], target[~loops]
    size = int(face.max()) + 1
    low, high, _ = undirected(source, target, size)
    pattern, _ = symmetric_pattern(low, high, size, diagonal=False)
    return torch.stack([pattern.row, pattern.col])


def half_edges(face: Tensor) -> tuple[Tensor, Tensor]:
    """Source and target (3F,) of each side; the side facing corner i of face f is at i * F + f."""
    return face.roll(2, 0).reshape(-1), face.roll(1, 0).reshape(-1)


def is_triangle(face: Tensor) -> Tensor:
    """Whether a face names three different vertices. (F,)"""
    return (face[0] != face[1]) & (face[1] != face[2]) & (face[2] != face[0])


def on_rim(face: Tensor, num_nodes: int) -> Tensor:
    """Whether a vertex is at a side that belongs to one face only, of faces that are triangles. (V,)"""
    low, high, edge = undirected(*half_edges(face), num_nodes)
    alone = torch.bincount(edge, minlength=len(low)) == 1
    rim = torch.zeros(num_nodes, dtype=torch.bool, device=face.device)
    return rim.index_fill(0, torch.cat([low[alone], high[alone]]), True)
