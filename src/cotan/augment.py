"""Augmentations: nodes between the sources and the operators that give a moved copy of the shape.

An operator that declares itself invariant to the motion keeps its stored value; the others follow the moved vertices.
Each shape moves in its own way: the generator is seeded with `seed` and with the shape's vertices.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .decorators import operator
from .errors import one_of
from .nodes import Request, as_node
from .registry import all_definitions
from .untraced import array


@operator(augments="rigid", gives=("pos", "normal"))
def random_rotation(pos: Tensor, normal: Tensor | None = None, *, seed: int = 0, axis: str = "any") -> Any:
    """The shape turned about the origin: by a random rotation, or by a random angle about one `axis` (x, y or z).

    pos and, where the data has it, normal turn; what else there is stays.
    """
    from scipy.spatial.transform import Rotation

    generator = _generator(pos, seed)
    if axis == "any":
        q = torch.nn.functional.normalize(torch.randn(4, generator=generator, dtype=torch.float64), dim=0)
    else:
        angle = torch.rand((), generator=generator, dtype=torch.float64) * torch.pi  # half of a full turn's
        q = torch.zeros(4, dtype=torch.float64)
        q[0], q[1 + "xyz".index(axis)] = angle.cos(), angle.sin()
    turn = torch.from_numpy(Rotation.from_quat(array(q.roll(-1))).as_matrix()).to(pos).T
    return _moved(pos @ turn, None if normal is None else normal.to(pos) @ turn)


@operator(augments="scale", gives=("pos",))
def random_scale(pos: Tensor, *, seed: int = 0, low: float = 0.8, high: float = 1.25) -> Any:
    """The shape times one random factor, log-uniform in [low, high]."""
    t = torch.rand((), generator=_generator(pos, seed), dtype=torch.float64)
    return _moved(pos * (low * (high / low) ** float(t)))


@operator(augments="jitter", gives=("pos",))
def random_jitter(pos: Tensor, *, seed: int = 0, size: float = 0.01) -> Any:
    """Each vertex moved by Gaussian noise of `size` times the shape's extent."""
    extent = (pos.amax(0) - pos.amin(0)).norm().detach()
    noise = torch.randn(pos.shape, generator=_generator(pos, seed), dtype=torch.float64)
    return _moved(pos + size * extent * noise.to(pos))


def check_augment(requests: Iterable[Request]) -> None:
    """Raise for what is no augmentation."""
    there = sorted({d.name for d in all_definitions() if d.kind == "operator" and d.augments})
    for request in map(as_node, requests):
        one_of("augmentation", request.name, there)


def _generator(pos: Tensor, seed: int) -> torch.Generator:
    # Into 32 bits: torch's generator on the CPU keeps no more of a seed.
    own = zlib.crc32(array(pos).tobytes(), zlib.crc32(str(seed).encode()))
    return torch.Generator().manual_seed(own)


def _moved(pos: Tensor, normal: Tensor | None = None) -> Any:
    from torch_geometric.data import Data

    return Data(pos=pos) if normal is None else Data(pos=pos, normal=normal)
