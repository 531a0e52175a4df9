"""One shape from a class and a seed, as arrays; numpy only, so that worker processes start fast."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .body import Array, Body
from .creatures import CLASSES, body
from .remesh import Ints, MeshError, random_rotation, triangulate

Seed = int | Sequence[int]


def generate(
    name: str,
    seed: Seed,
    *,
    pose: int = 0,
    mesh: int = 0,
    vertices: int = 250,
    bend: tuple[float, float] = (0.0, 0.5),
    vary: float = 0.08,
    rotate: bool = False,
) -> dict[str, Array | Ints]:
    """pos (V, 3), face (3, F), part (V,) and body (V, 3) of the individual `seed` of a class.

    The same seed with another `pose` or `mesh` is the same individual in another pose or triangulation.
    `bend` is the range of each joint's angle as a share of its limit, `vary` the range of the log size of each limb.
    """
    kind, key = body(name), [CLASSES.index(name), *([seed] if isinstance(seed, int) else seed)]
    scale = np.exp(vary * np.random.default_rng([0, *key]).uniform(-1, 1, len(kind.parent)))[kind.twin]
    angles = _angles(kind, scale, bend, np.random.default_rng([1, pose, *key]))
    at, faces = _mesh(kind, vertices, [mesh, *key])
    weights = kind.weights(at)
    pos = kind.bend(at, weights, angles, scale)
    if rotate:
        pos = pos @ random_rotation(np.random.default_rng([3, pose, *key])).T
    return {"pos": pos, "face": faces.T, "part": kind.part[weights.argmax(1)], "body": at}


def make(job: dict[str, Any]) -> dict[str, Array | Ints]:
    """`generate(**job)`, by a name that worker processes find."""
    return generate(**job)


def _angles(kind: Body, scale: Array, bend: tuple[float, float], rng: np.random.Generator) -> Array:
    """Joint rotation vectors (B, 3) of a pose in which no two limbs touch."""
    angles, redraw = np.zeros((len(kind.parent), 3)), np.full(len(kind.parent), True)
    for _ in range(1000):
        size = rng.uniform(*bend, (len(kind.parent), 3, 1))
        sign = rng.choice([-1.0, 1.0], size.shape)
        angles[redraw] = (size * (sign * kind.turn + kind.fold)).sum(1)[redraw]
        touching = kind.touching(angles, scale)
        if not touching.any():
            return angles
        redraw = kind.below @ touching  # the joints that can part them
    raise ValueError(f"no pose with bend={bend} found in which no two limbs touch")


def _mesh(kind: Body, vertices: int, key: list[int]) -> tuple[Array, Ints]:
    for attempt in range(12):
        try:
            rng = np.random.default_rng([2, attempt, *key])
            return triangulate(kind, vertices, rng, step=1.2 * 0.88**attempt * kind.thinnest)
        except MeshError:
            continue  # a grid too coarse for the thinnest limb at this angle
    raise ValueError(f"no sphere of {vertices} vertices came out in 12 attempts")
