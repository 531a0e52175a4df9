"""Graph attention whose scores are a net of both ends of an edge."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import one_signal
from cotan.sparse import segment_softmax, spread

from .heads import channels, gather


@cotan.layer("gatv2", invariant_to=("isometry", "scale"))
class GATv2(nn.Module):
    """y_i = sum_{j -> i} p_ij h_j + b, p_i = softmax over j of <a, leaky_relu(h_j + g_i)>, h = x W + c, g = x U + d.

    Brody, Alon and Yahav 2022: unlike in `gat`, the order of i's neighbours by p_ij may depend on i. Each head has its
    own parameters and gives out_dim / heads of the channels. Every vertex has one self-loop. Edge weights play no part.

    The scores need a number per edge and channel, which is most of the time and memory it takes.

    Arguments:
        heads, concat: heads divide out_dim; or, with concat=False, each has out_dim channels and y is their mean.
        slope: of leaky_relu below 0. dropout: of p. bias: add b, c and d.

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
        width = channels("gatv2", heads, out_dim, concat)
        self.needs = {"adjacency": cotan.node("adjacency", self_loops=True)}
        self.heads, self.concat, self.slope, self.dropout = heads, concat, slope, cotan.Dropout(dropout)
        self.source, self.target = (cotan.Linear(in_dim, heads * width, bias=bias) for _ in range(2))
        self.score = nn.Parameter(torch.empty(heads, width))
        for weight in (self.source.weight, self.target.weight, self.score):
            nn.init.xavier_uniform_(weight)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, adjacency: cotan.Sparse) -> Tensor:
        one_signal(x)
        pattern = adjacency.pattern
        h = self.source(x)
        both = spread(pattern, h, columns=True) + spread(pattern, self.target(x))  # (E, H C)
        both = nn.functional.leaky_relu(both, self.slope)
        p = segment_softmax(cotan.linear(both, torch.block_diag(*self.score[:, None])), pattern)  # (E, H)
        p = self.dropout(p)
        y = gather(adjacency, p, h.unflatten(1, (self.heads, -1)), self.concat)
        return y if self.bias is None else y + self.bias
