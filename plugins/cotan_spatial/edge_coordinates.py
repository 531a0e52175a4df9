"""Numbers of each edge as a sparse matrix, whose entries are in the order of those of `adjacency`."""

from torch import Tensor

import cotan


@cotan.operator
def edge_coordinates(edge_index: Tensor, num_nodes: int, pseudo_coordinates: Tensor) -> cotan.Sparse:
    """The pseudo-coordinates (E, D) of edge j -> i as entry (i, j), in the order of the entries of `adjacency`.

    Any other node per edge can take their place: `node("edge_coordinates", pseudo_coordinates="edge_attr")`.

    Arguments:
        edge_index: (2, E). pseudo_coordinates: (E, D) or (E,), in the order of `edge_index`.
    """
    given = pseudo_coordinates
    if given.shape[:1] != edge_index.shape[1:]:
        raise cotan.CotanError(
            f"expected numbers for each of {edge_index.shape[1]} edges, got {tuple(given.shape)}; "
            "for numbers of other pairs of vertices, give these pairs as edge_index="
        )
    values = given[:, None] if given.ndim == 1 else given.flatten(1)
    return cotan.sparse.adjacency(edge_index, num_nodes, values.double())[0]
