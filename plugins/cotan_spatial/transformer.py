"""Attention by inner products, over the neighbours only."""

from torch import Tensor, nn

import cotan
from cotan.errors import one_signal
from cotan.sparse import sampled, segment_softmax

from .heads import channels, gather


@cotan.layer("transformer", invariant_to=("isometry", "scale"))
class Transformer(nn.Module):
    """y_i = sum_{j -> i} p_ij v_j + x_i U + b, p_i = softmax over j of <q_i, k_j> / sqrt(C); q, k, v affine in x.

    Vaswani et al. 2017 on the edges of a graph (Shi et al. 2021). C are the channels of a head.
    Edge weights play no part.

    Arguments:
        heads, concat: heads divide out_dim; or, with concat=False, each has out_dim channels and y is their mean.
        dropout: of p. bias: of all four affine maps. root: add x_i U + b.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        heads: int = 1,
        concat: bool = True,
        dropout: float = 0.0,
        bias: bool = True,
        root: bool = True,
    ):
        super().__init__()
        width = heads * channels("transformer", heads, out_dim, concat)
        self.heads, self.concat, self.dropout = heads, concat, cotan.Dropout(dropout)
        self.key, self.query, self.value = (cotan.Linear(in_dim, width, bias=bias) for _ in range(3))
        self.root = cotan.Linear(in_dim, out_dim, bias=bias) if root else None

    def forward(self, x: Tensor, adjacency: cotan.Sparse) -> Tensor:
        one_signal(x)
        q, k, v = (f(x).unflatten(1, (self.heads, -1)) for f in (self.query, self.key, self.value))  # (V, H, C)
        p = segment_softmax(sampled(adjacency.pattern, q * q.shape[2] ** -0.5, k), adjacency.pattern)  # (E, H)
        p = self.dropout(p)
        y = gather(adjacency, p, v, self.concat)
        return y if self.root is None else y + self.root(x)
