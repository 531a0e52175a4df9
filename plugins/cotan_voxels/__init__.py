"""Shapes as voxels, and the networks that see them.

`voxels` and `voxel_report` are the nodes, `voxel` and `voxel-dbn` the models.
"""

from . import dbn, voxel, voxels
from .picture import primitives, slices, solids
from .pretrain import pretrain

__all__ = ["dbn", "pretrain", "primitives", "slices", "solids", "voxel", "voxels"]
