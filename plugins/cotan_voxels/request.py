"""What a model asks for, looked at when it is made: not with the first of its shapes."""

from __future__ import annotations

from typing import Any

import torch

import cotan

from .voxels import voxels

FACES = [[0, 0, 0, 1], [2, 1, 3, 2], [1, 3, 2, 3]]  # of a tetrahedron


def request(**options: Any) -> cotan.Node:
    """The node `voxels`; options that it refuses are refused now."""
    with torch.device("cpu"):
        voxels(torch.eye(4, 3), torch.tensor(FACES), **options)
    return cotan.node("voxels", **options)
