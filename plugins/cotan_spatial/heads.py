"""Products of attention: each head has its own weights on the edges and its own channels."""

import torch
from torch import Tensor

import cotan
from cotan.sparse import Pattern, sampled


def check_heads(name: str, heads: int, out_dim: int) -> None:
    if heads < 1 or out_dim % heads:
        raise cotan.CotanError(f"{name}: heads={heads}, expected a divisor of out_dim={out_dim}")


def gather(adjacency: cotan.Sparse, p: Tensor, h: Tensor) -> Tensor:
    """sum_{j -> i} p_ij h_j in each head, side by side: p (E, H), h (V, H, C) -> (V, H C)."""
    return torch.cat([adjacency.with_values(w) @ x for w, x in zip(p.unbind(1), h.unbind(1), strict=True)], 1)


def match(pattern: Pattern, q: Tensor, k: Tensor) -> Tensor:
    """<q_i, k_j> for each edge j -> i in each head: (V, H, C) twice -> (E, H)."""
    return torch.stack([sampled(pattern, a, b) for a, b in zip(q.unbind(1), k.unbind(1), strict=True)], 1)
