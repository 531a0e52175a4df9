"""What the package registers. Apart from `__init__`, so that workers that generate shapes import no torch."""

from . import edges, folder, graphs, mnist, planetoid, points, poses, tu  # noqa: F401  (they register themselves)
