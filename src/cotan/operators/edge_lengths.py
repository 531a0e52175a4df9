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
    return torch.linalg.vector_norm(pos[source] - pos[target], dim=1)
