"""Simplified graph convolution: several steps of propagation, one linear map."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least

from .adjacency import propagate


@cotan.layer("sgc", invariant_to=("isometry", "scale"))
class SGC(nn.Module):
    """y = (D^-1/2 A D^-1/2)^hops x W + b, A with self-loops (Wu et al. 2019).

    Arguments:
        hops: the power. bias: add b.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, hops: int = 2, bias: bool = True):
        super().__init__()
        at_least(0, "sgc", hops=hops)
        self.hops = hops
        self.linear = cotan.Linear(in_dim, out_dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, normalized_adjacency: cotan.Sparse) -> Tensor:
        return propagate(normalized_adjacency, x, self.linear.weight, self.bias, self.hops)
