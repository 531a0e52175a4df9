"""Graph attention: each vertex weighs its neighbours."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import one_signal
from cotan.sparse import segment_softmax, spread

from .heads import channels, gather


@cotan.layer("gat", invariant_to=("isometry", "scale"))
class GAT(nn.Module):
    """y_i = sum_{j -> i} p_ij x_j W + b, p_i = softmax over j of leaky_relu(<s, x_j W> + <t, x_i W>).

    Velickovic et al. 2018. Each head has its own W, s and t and gives out_dim / heads of the channels. Every
    vertex has one self-loop. Edge weights play no part.

    Arguments:
        heads, concat: heads divide out_dim; or, with concat=False, each has out_dim channels and y is their mean.
        slope: of leaky_relu below 0. dropout: of p. bias: add b.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        heads: int = 1,
        concat: bool = True,
        slope: float = 0.2,
        dropout: float = 0.0,
        bias: bool = True,
    ):
        super().__init__()
        width = channels("gat", heads, out_dim, concat)
        self.needs = {"adjacency": cotan.node("adjacency", self_loops=True)}
        self.heads, self.concat, self.slope, self.dropout = heads, concat, slope, cotan.Dropout(dropout)
        self.linear = cotan.Linear(in_dim, heads * width, bias=False)
        self.from_source = nn.Parameter(torch.empty(heads, width))
        self.from_target = nn.Parameter(torch.empty(heads, width))
        for weight in (self.linear.weight, self.from_source, self.from_target):
            nn.init.xavier_uniform_(weight)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, adjacency: cotan.Sparse) -> Tensor:
        one_signal(x)
        h = self.linear(x)  # (V, H C)
        ends = torch.stack([self.from_source, self.from_target], 1)  # (H, 2, C)
        source, target = nn.functional.linear(h, torch.block_diag(*ends)).unflatten(1, (-1, 2)).unbind(2)  # (V, H)
        pattern = adjacency.pattern
        score = spread(pattern, source, columns=True).add_(spread(pattern, target))  # (E, H)
        p = segment_softmax(nn.functional.leaky_relu(score, self.slope), pattern)
        p = self.dropout(p)
        y = gather(adjacency, p, h.unflatten(1, (self.heads, -1)), self.concat)
        return y if self.bias is None else y + self.bias
