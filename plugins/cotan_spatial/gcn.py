"""Graph convolution by the normalised adjacency."""

import torch
from torch import Tensor, nn

import cotan

from .adjacency import propagate


@cotan.layer("gcn", invariant_to=("isometry", "scale"))
class GCN(nn.Module):
    """y = D^-1/2 A D^-1/2 x W + b, A with self-loops (Kipf and Welling 2017).

    Arguments:
        bias: add b.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool = True):
        super().__init__()
        self.linear = cotan.Linear(in_dim, out_dim, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, normalized_adjacency: cotan.Sparse) -> Tensor:
        return propagate(normalized_adjacency, x, self.linear.weight, self.bias)
