"""Predict, then propagate: a perceptron at each vertex, and personalised PageRank over its outputs."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least


@cotan.layer("appnp", invariant_to=("isometry", "scale"))
class APPNP(nn.Module):
    """z_0 = h = MLP(x), z_{t+1} = (1 - alpha) A z_t + alpha h, y = z_hops (Gasteiger, Bojchevski and Guennemann 2019).

    A is the normalised adjacency with self-loops. More hops add no weights, and each vertex keeps a share alpha of its own h.

    Arguments:
        hidden: width of the MLP's one hidden layer, with relu; 0 for a linear map alone.
        hops: number of steps. alpha: the share of h in each.
        dropout: of the MLP's hidden units and, drawn anew in each step, of A's entries.

    Shape: x (V, in_dim) -> (V, out_dim); or (V, B, in_dim) -> (V, B, out_dim).
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, hidden: int = 64, hops: int = 10, alpha: float = 0.1, dropout: float = 0.0
    ):
        super().__init__()
        at_least(0, "appnp", hops=hops, hidden=hidden)
        if not 0 <= alpha <= 1:
            raise cotan.CotanError(f"appnp: alpha={alpha}, expected a number from 0 to 1")
        self.hops, self.alpha, self.dropout = hops, alpha, cotan.Dropout(dropout)
        before = [cotan.Linear(in_dim, hidden), nn.ReLU(), cotan.Dropout(dropout)] if hidden else []
        self.mlp = nn.Sequential(*before, cotan.Linear(hidden or in_dim, out_dim))

    def forward(self, x: Tensor, normalized_adjacency: cotan.Sparse) -> Tensor:
        h = y = self.mlp(x)
        matrix = normalized_adjacency
        for _ in range(self.hops):
            if self.training and self.dropout.p:
                values = self.dropout(normalized_adjacency.values)
                matrix = normalized_adjacency.with_values(values)
            y = matrix @ y
            y = torch.lerp(y, h.to(y.dtype), self.alpha)  # in mixed precision h has fewer digits
        return y
