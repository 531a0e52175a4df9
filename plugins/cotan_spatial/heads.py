"""Products of attention: each head has its own weights on the edges and its own channels."""

from torch import Tensor

import cotan
from cotan.sparse import multiply_each


def channels(name: str, heads: int, out_dim: int, concat: bool) -> int:
    """The channels of each head."""
    if heads < 1 or (concat and out_dim % heads):
        raise cotan.CotanError(
            f"{name}: heads={heads}, expected a divisor of out_dim={out_dim}, or concat=False, which is their mean"
        )
    return out_dim // heads if concat else out_dim


def gather(adjacency: cotan.Sparse, p: Tensor, h: Tensor, concat: bool) -> Tensor:
    """sum_{j -> i} p_ij h_j in each head: p (E, H), h (V, H, C) -> (V, H C) side by side, or their mean (V, C)."""
    y = multiply_each(adjacency.with_values(p), h)
    return y.flatten(1) if concat else y.mean(1)
