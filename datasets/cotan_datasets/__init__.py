"""Datasets for cotan: generated shapes and graphs, and readers of public formats."""

import cotan

from . import folder, graphs, points  # noqa: F401  (they register themselves)
from .poses import poses

poses.version = 1  # raised when the shapes change: they are kept in the store under it
cotan.dataset("poses")(poses)
