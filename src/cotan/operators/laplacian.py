"""The cotangent Laplacian of a triangle mesh."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..sparse import Sparse
from .checks import check_mesh
from .edge_index import half_edges
from .triangles import triangles
from .undirected import symmetric_pattern, undirected


@operator("laplacian", kind="cotan", invariant_to=("isometry", "scale"), many=True)
def cotan_laplacian(pos: Tensor, face: Tensor) -> Sparse:
    """L_ij = -(cot a + cot b) / 2, a and b the angles facing edge ij; L_ii = -sum_j L_ij (Pinkall and Polthier 1993).

    Weak form, positive semi-definite, rows sum to zero; each row has its diagonal entry. Weights are finite on every
    mesh (see `triangles`), sum over all faces of a non-manifold edge, and may be negative where a + b > pi.

    Arguments:
        pos: (V, 3). face: (3, F).
    """
    pos, face = check_mesh(pos, face)
    source, target = half_edges(face)
    weight = triangles(pos, face).cotangents.reshape(-1) / 2
    return weighted_laplacian(source, target, weight, len(pos))


def weighted_laplacian(source: Tensor, target: Tensor, weight: Tensor, num_nodes: int) -> Sparse:
    """D - W of undirected edges, each given once: W_ij = W_ji = the sum of the weights between i and j."""
    if bool((loops := source == target).any()):
        source, target, weight = source[~loops], target[~loops], weight[~loops]
    low, high, edge = undirected(source, target, num_nodes)
    weight = weight.new_zeros(len(low)).index_add(0, edge, weight)
    diagonal = weight.new_zeros(num_nodes).index_add(0, low, weight).index_add(0, high, weight)
    pattern, place = symmetric_pattern(low, high, num_nodes)
    values = weight.new_zeros(len(place)).index_copy(0, place, torch.cat([-weight, -weight, diagonal]))
    return Sparse(pattern, values)
