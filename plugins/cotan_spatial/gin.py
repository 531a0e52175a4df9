"""The graph isomorphism network's layer: sums, then a perceptron."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least


@cotan.layer("gin", invariant_to=("isometry", "scale"))
class GIN(nn.Module):
    """y_i = MLP((1 + eps) x_i + sum_{j -> i} x_j), MLP of one hidden layer with relu (Xu et al. 2019).

    Edge weights, where there are some, multiply what comes along the edge.

    Arguments:
        hidden: width of the MLP, out_dim by default. eps, train_eps: eps, and whether it is learned.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden: int | None = None, eps: float = 0.0, train_eps: bool = False
    ):
        super().__init__()
        hidden = out_dim if hidden is None else hidden
        at_least(1, "gin", hidden=hidden)
        self.mlp = nn.Sequential(cotan.Linear(in_dim, hidden), nn.ReLU(inplace=True), cotan.Linear(hidden, out_dim))
        if train_eps:
            self.eps = nn.Parameter(torch.tensor(float(eps)))
        else:
            self.register_buffer("eps", torch.tensor(float(eps)))

    def forward(self, x: Tensor, adjacency: cotan.Sparse) -> Tensor:
        first, *rest = self.mlp
        y = cotan.linear(x, first.weight)  # sums commute with it, and it may leave fewer channels
        y = torch.addcmul(adjacency @ y, y, 1 + self.eps).add_(first.bias)
        for module in rest:
            y = module(y)
        return y
