"""GraphSAGE: the mean of the neighbours beside the vertex itself."""

from torch import Tensor, nn

import cotan

from .adjacency import propagate


@cotan.layer("sage", invariant_to=("isometry", "scale"))
class SAGE(nn.Module):
    """y_i = mean_{j -> i} x_j W + b + x_i U (Hamilton, Ying and Leskovec 2017).

    Edge weights, where there are some, multiply what comes along the edge; the mean is over the number of edges.

    Arguments:
        bias: add b. root: add x_i U.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True, root: bool = True):
        super().__init__()
        self.neighbours = cotan.Linear(in_dim, out_dim, bias=bias)
        self.root = cotan.Linear(in_dim, out_dim, bias=False) if root else None

    def forward(self, x: Tensor, mean_adjacency: cotan.Sparse) -> Tensor:
        y = propagate(mean_adjacency, x, self.neighbours.weight, self.neighbours.bias)
        return y if self.root is None else y + self.root(x)
