"""The lumped mass of each vertex, (V,): positive everywhere, so that M^-1 exists."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from ..sparse import edge_weights
from .checks import check_edges, check_mesh
from .triangles import Triangles, inner, triangles

LEAST = 1e-6


@operator("mass", kind="barycentric", per="vertex", invariant_to=("isometry",), many=True)
def barycentric_mass(pos: Tensor, face: Tensor, batch: Tensor | None = None) -> Tensor:
    """m_i = a third of the area of the faces around vertex i. (V,); sums to the surface's area.

    At least 1e-6 of the shape's mean mass: that is what a vertex without faces gets.

    Arguments:
        pos: (V, 3). face: (3, F). batch: (V,) the shape of each vertex; one shape by default.
    """
    pos, face = check_mesh(pos, face)
    area = measurable(triangles(pos, face), face, batch).area
    return raised(pos.new_zeros(len(pos)).index_add(0, face.reshape(-1), area.repeat(3) / 3), batch)


@operator("mass", kind="voronoi", per="vertex", invariant_to=("isometry",), many=True)
def voronoi_mass(pos: Tensor, face: Tensor, batch: Tensor | None = None) -> Tensor:
    """m_i = the mixed Voronoi area of vertex i (Meyer et al. 2003). (V,); sums to the surface's area.

    A face without an obtuse angle gives corner i the part that is nearest to it, (|e_j|^2 cot_j + |e_k|^2 cot_k) / 8,
    e_j the side facing corner j; one with an obtuse angle gives half of its area to that corner and a quarter to the others.
    At least 1e-6 of the shape's mean mass: that is what a vertex without faces gets.

    Arguments:
        pos: (V, 3). face: (3, F). batch: (V,) the shape of each vertex; one shape by default.
    """
    pos, face = check_mesh(pos, face)
    t = measurable(triangles(pos, face), face, batch)
    part = inner(t.sides, t.sides) * t.cotangents / 8  # (3, F)
    nearest = part.sum(0) - part
    obtuse = t.dots < 0
    halves = torch.where(obtuse, t.area / 2, t.area / 4)
    share = torch.where(obtuse.any(0), halves, nearest)
    return raised(pos.new_zeros(len(pos)).index_add(0, face.reshape(-1), share.reshape(-1)), batch)


@operator("mass", kind="ones", per="vertex", invariant_to=("isometry", "scale"), many=True)
def unit_mass(edge_index: Tensor, num_nodes: int) -> Tensor:
    """m_i = 1: the mass of a graph's vertices. (V,)"""
    return torch.ones(num_nodes, dtype=torch.float64, device=edge_index.device)


@operator("mass", kind="degree", per="vertex", invariant_to=("isometry", "scale"), many=True)
def degree_mass(edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None) -> Tensor:
    """m_i = the weights of the edges at vertex i summed, the diagonal of the graph Laplacian; 1 if it has none.

    With it, M^-1 L is the random-walk Laplacian. (V,)

    Arguments:
        edge_index: (2, E). edge_weight: (E,), ones by default.
    """
    edge_index = check_edges(edge_index, num_nodes)
    weight = torch.where(edge_index[0] == edge_index[1], 0, edge_weights(edge_index, edge_weight) / 2)
    degree = weight.new_zeros(num_nodes).index_add(0, edge_index[0], weight).index_add(0, edge_index[1], weight)
    return torch.where(degree > 0, degree, 1)


def raised(mass: Tensor, batch: Tensor | None = None) -> Tensor:
    """The mass, raised to 1e-6 of its shape's mean where it is less."""
    batch = torch.zeros_like(mass, dtype=torch.long) if batch is None else batch
    count = torch.bincount(batch)
    mean = mass.new_zeros(len(count)).index_add(0, batch, mass) / count
    return torch.maximum(mass, LEAST * mean.index_select(0, batch))


def measurable(t: Triangles, face: Tensor, batch: Tensor | None = None) -> Triangles:
    """The triangles themselves; an error if all of a shape's are flat."""
    thick = face[0, ~t.flat]
    owner = torch.zeros_like(thick) if batch is None else batch.index_select(0, thick)
    if not torch.bincount(owner, minlength=1 if batch is None else int(batch[-1]) + 1).all():
        raise CotanError(f"a mesh without area: all of its {len(t.area)} faces are points or lines")
    return t
