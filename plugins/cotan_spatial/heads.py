"""Products of attention: each head has its own weights on the edges and its own channels."""

from torch import Tensor

import cotan
from cotan.sparse import multiply_each


def check_heads(name: str, heads: int, out_dim: int) -> None:
    if heads < 1 or out_dim % heads:
        raise cotan.CotanError(f"{name}: heads={heads}, expected a divisor of out_dim={out_dim}")


def gather(adjacency: cotan.Sparse, p: Tensor, h: Tensor) -> Tensor:
    """sum_{j -> i} p_ij h_j in each head, side by side: p (E, H), h (V, H, C) -> (V, H C)."""
    return multiply_each(adjacency.with_values(p), h).flatten(1)
