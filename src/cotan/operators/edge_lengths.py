"""The length of each edge."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from .checks import check_edges, check_pos


@operator(per="edge", invariant_to=("isometry",), many=True)
def edge_lengths(pos: Tensor, edge_index: Tensor) -> Tensor:
    """|x_i - x_j| of edge i -> j. (E,)"""
    pos = check_pos(pos)
    source, target = check_edges(edge_index, len(pos))
    return length(pos[source] - pos[target])


def length(offset: Tensor) -> Tensor:
    """Of vectors along the last axis; where it is 0, so are its derivatives of any order, the second of torch's are NaN."""
    distance = torch.linalg.vector_norm(offset, dim=-1)
    apart = distance != 0
    if apart.all():
        return distance
    return torch.where(apart, torch.linalg.vector_norm(offset.where(apart[..., None], 1), dim=-1), 0)
