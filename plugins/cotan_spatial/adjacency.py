"""Adjacency matrices of the shared graph: row = target, column = source, so that A x sums over the edges that come in.

Each edge is an entry of its own, also where several join the same two vertices.
"""

import torch
from torch import Tensor

import cotan
from cotan.sparse import edge_weights


@cotan.operator(invariant_to=("isometry", "scale"), many=True)
def adjacency(
    edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None, *, self_loops: bool = False
) -> cotan.Sparse:
    """A_ij = the weight of edge j -> i, 1 by default.

    Arguments:
        edge_index: (2, E). edge_weight: (E,).
        self_loops: exactly one at each vertex, of weight 1 where there is none; of several, the last given.
    """
    weight = edge_weights(edge_index, edge_weight, signed=True)
    if self_loops:
        edge_index, weight = with_self_loops(edge_index, weight, num_nodes)
    return cotan.sparse.adjacency(edge_index, num_nodes, weight)[0]


@cotan.operator(invariant_to=("isometry", "scale"), many=True)
def mean_adjacency(adjacency: cotan.Sparse) -> cotan.Sparse:
    """D^-1 A with D_ii the number of edges that reach i. Rows of vertices that none reaches are zero.

    Arguments:
        adjacency: (V, V).
    """
    return adjacency.with_values(adjacency.values / adjacency.pattern.counts[adjacency.row])


@cotan.operator(invariant_to=("isometry", "scale"), many=True)
def normalized_adjacency(edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None = None) -> cotan.Sparse:
    """D^-1/2 A D^-1/2, A with one self-loop at each vertex and D_ii the sum of row i (Kipf and Welling 2017).

    Where D_ii is zero, row and column i are zero; below zero it has no root, and is refused.

    Arguments:
        edge_index: (2, E). edge_weight: (E,), ones by default.
    """
    matrix = adjacency(edge_index, num_nodes, edge_weight, self_loops=True)
    degree = matrix.sum_rows()
    if edge_weight is not None and bool((degree < 0).any()):
        raise cotan.CotanError(
            f"normalized_adjacency: the weights of the edges to vertex {int(degree.argmin())}, with its self-loop, sum to "
            f"{float(degree.min()):.3g}, expected at least 0; edge_weight.abs() counts both signs alike, and sage, gin and "
            "aggregate take negative weights as they are"
        )
    return normalized(matrix, degree)


def normalized(matrix: cotan.Sparse, degree: Tensor) -> cotan.Sparse:
    """D^-1/2 A D^-1/2, D_ii = degree_i the sum of row i; where that is not positive, row and column i are zero."""
    root = torch.where(degree > 0, degree.where(degree > 0, 1).rsqrt(), 0)
    return matrix.with_values(root[matrix.row] * matrix.values * root[matrix.col])


def with_self_loops(edge_index: Tensor, weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The edges with exactly one self-loop at each vertex, after all others; one that was given keeps its weight."""
    source, target = edge_index
    is_loop = source == target
    loop = weight.new_ones(size)
    if bool(is_loop.any()):
        at, given = source[is_loop], weight[is_loop]
        last = at.new_full((size,), -1)
        last = last.scatter_reduce(0, at, torch.arange(len(at), device=at.device), "amax")
        loop = torch.where(last >= 0, given[last.clamp(min=0)], loop)
    here = torch.arange(size, device=source.device)
    return torch.cat([edge_index[:, ~is_loop], here.expand(2, -1)], 1), torch.cat([weight[~is_loop], loop])


def propagate(matrix: cotan.Sparse, x: Tensor, weight: Tensor, bias: Tensor | None, hops: int = 1) -> Tensor:
    """A^hops x W^T + b, W (out_dim, in_dim) before A where that leaves fewer channels to gather."""
    first = weight.shape[0] < weight.shape[1]
    y = cotan.linear(x, weight) if first else x
    for _ in range(hops):
        y = matrix @ y
    if not first:
        return cotan.linear(y, weight, bias)
    return y if bias is None else y + bias
