"""Shapes as voxels, and the networks that see them."""

from . import voxel as _voxel
from . import voxels as _voxels

__all__: list[str] = []
