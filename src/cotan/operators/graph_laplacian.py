"""Laplacians of graphs: by edge weights given, or by edge lengths."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, one_of
from ..sparse import Sparse, edge_weights
from .checks import check_edges, check_pos
from .laplacian import weighted_laplacian


@operator("laplacian", kind="graph", invariant_to=("isometry", "scale"), many=True)
def graph_laplacian(
    edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None, *, normalization: str = "none"
) -> Sparse:
    """L = D - W; symmetric: D^-1/2 L D^-1/2; random-walk: D^-1 L.

    W = (A + A^T) / 2 with A_ij the sum of the weights of the edges i -> j, so an edge listed in both directions counts
    once and one listed in a single direction counts half. Self-loops are left out. Rows of isolated vertices are zero.
    "random-walk" is not symmetric; its eigenpairs are those of L with `mass` of kind "degree". On a mesh `mass` is areas in
    any case: the eigenpairs of its edges alone are those with `mass` of kind "ones".

    Arguments:
        edge_index: (2, E). edge_weight: (E,) not negative, ones by default. normalization: as above.
    """
    edge_index = check_edges(edge_index, num_nodes)
    weight = edge_weights(edge_index, edge_weight)
    return normalized(weighted_laplacian(edge_index[0], edge_index[1], weight / 2, num_nodes), normalization)


@operator("laplacian", kind="heat", invariant_to=("rigid",))
def heat_laplacian(
    pos: Tensor, edge_index: Tensor, *, time: float | None = None, normalization: str = "none"
) -> Sparse:
    """D - W with W_ij = exp(-|x_i - x_j|^2 / t): the heat kernel on edges (Belkin and Niyogi 2003).

    Arguments:
        pos: (V, 3). edge_index: (2, E), each edge once in each direction.
        time: t; the mean squared edge length by default. normalization: as for kind "graph".
    """
    pos = check_pos(pos)
    edge_index = check_edges(edge_index, len(pos))
    if time is not None and not time > 0:
        raise CotanError(f"laplacian, kind='heat': time={time}, expected a positive number")
    square = (pos[edge_index[0]] - pos[edge_index[1]]).square().sum(-1)
    mean = square.sum() / max(len(square), 1)
    weight = torch.exp(-square / (torch.where(mean > 0, mean, 1) if time is None else time))
    return normalized(weighted_laplacian(edge_index[0], edge_index[1], weight / 2, len(pos)), normalization)


def normalized(laplacian: Sparse, normalization: str) -> Sparse:
    """D - W scaled by its diagonal D; a zero in D leaves its row and column zero."""
    one_of("normalization", normalization, ("none", "symmetric", "random-walk"))
    if normalization == "none":
        return laplacian
    degree = laplacian.diagonal()
    connected = degree > 0
    if normalization == "random-walk":
        return laplacian.with_values(
            laplacian.values * torch.where(connected, 1 / degree.where(connected, 1), 0)[laplacian.row]
        )
    root = torch.where(connected, degree.where(connected, 1).rsqrt(), 0)
    return laplacian.with_values(laplacian.values * root[laplacian.row] * root[laplacian.col])
