"""Edge convolution: the largest of a net's outputs over the edges of a vertex."""

import torch
from torch import Tensor, nn

import cotan
from cotan.sparse import neighbour_max, segment_max, spread


@cotan.layer("edgeconv", invariant_to=("isometry", "scale"))
class EdgeConv(nn.Module):
    """y_i = max_{j -> i} MLP([x_i, x_j - x_i]), per channel; 0 where no edge arrives (Wang et al. 2019).

    The first linear map is one of x_i plus one of x_j, so it is applied to vertices and not to edges. Edge weights play
    no part.

    Arguments:
        hidden: width of the MLP's one hidden layer, with relu, out_dim by default; 0 for a linear map alone, whose
            maximum needs no number per edge but x_j's.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, hidden: int | None = None):
        super().__init__()
        hidden = out_dim if hidden is None else hidden
        self.first = cotan.Linear(2 * in_dim, hidden or out_dim)
        self.last = cotan.Linear(hidden, out_dim) if hidden else None

    def forward(self, x: Tensor, adjacency: cotan.Sparse) -> Tensor:
        pattern = adjacency.pattern
        own, difference = self.first.weight.chunk(2, 1)
        near = cotan.linear(x, difference)
        here = cotan.linear(x, own - difference, self.first.bias)
        if self.last is None:
            some = (pattern.counts > 0).view(-1, *[1] * (x.ndim - 1))
            return torch.where(some, here + neighbour_max(near, pattern), 0)
        h = torch.relu(spread(pattern, near, columns=True) + spread(pattern, here))  # (E, hidden)
        return segment_max(self.last(h), pattern)
