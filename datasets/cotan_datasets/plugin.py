"""What the package registers. Apart from `__init__`, so that workers that generate shapes import no torch."""

import cotan

from . import edges, folder, graphs, mnist, planetoid, points, tu  # noqa: F401  (they register themselves)
from .poses import poses

poses.version = 2  # raised when the shapes change: they are kept in the store under it
cotan.dataset("poses")(poses)
