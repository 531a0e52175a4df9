"""Points of the plane in two or more classes, for dense nets: one `Data` a split, x (V, 2), one class a point."""

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least


@cotan.dataset("xor")
def xor(*, points: int = 400, noise: float = 0.2, seed: int = 0) -> cotan.Splits:
    """The four corners (+-1, +-1) with Gaussian noise; the class is whether the signs differ. No line parts it."""
    generator = _generator(seed, points, noise)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        corner = torch.randint(2, (n, 2), generator=generator)
        return 2.0 * corner - 1, corner[:, 0] ^ corner[:, 1]

    return _splits(draw, points, noise, generator, ("same", "different"))


@cotan.dataset("spiral")
def spiral(*, points: int = 400, noise: float = 0.03, turns: float = 1.5, arms: int = 2, seed: int = 0) -> cotan.Splits:
    """Arms r = t, angle = 2 pi (turns t + arm / arms) for t in [0, 1], wound into each other; the class is the arm."""
    generator = _generator(seed, points, noise)
    at_least(2, "spiral", arms=arms)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        arm = torch.randint(arms, (n,), generator=generator)
        t = torch.rand(n, generator=generator).sqrt()
        angle = 2 * torch.pi * (turns * t + arm / arms)
        return t[:, None] * torch.stack([angle.cos(), angle.sin()], 1), arm

    return _splits(draw, points, noise, generator, [f"arm {i}" for i in range(arms)])


@cotan.dataset("blobs")
def blobs(*, points: int = 400, noise: float = 0.3, classes: int = 4, seed: int = 0) -> cotan.Splits:
    """Gaussian blobs of width `noise` around centres evenly spread on the unit circle; the class is the blob."""
    generator = _generator(seed, points, noise)
    at_least(2, "blobs", classes=classes)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        blob = torch.randint(classes, (n,), generator=generator)
        angle = 2 * torch.pi * blob / classes
        return torch.stack([angle.cos(), angle.sin()], 1), blob

    return _splits(draw, points, noise, generator, [f"blob {i}" for i in range(classes)])


def _generator(seed: int, points: int, noise: float) -> torch.Generator:
    if points < 10 or noise < 0:
        raise cotan.CotanError(f"expected points >= 10 and noise >= 0, got points={points}, noise={noise}")
    return torch.Generator().manual_seed(seed)


def _splits(draw, points: int, noise: float, generator: torch.Generator, classes) -> cotan.Splits:
    """`points` to train on, half as many for each of val and test."""
    from torch_geometric.data import Data

    lists = []
    for n in (points, points // 2, points // 2):
        x, y = draw(n)
        lists.append([Data(x=x + noise * torch.randn(x.shape, generator=generator), y=y, num_nodes=n)])
    return cotan.Splits(*lists, classes=tuple(classes), task="label")
