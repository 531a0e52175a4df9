"""Small random turns of voxels, for training."""

import math

import torch
from torch import Tensor
from torch.nn import functional

import cotan


def angle(turn: float) -> float:
    """The option `turn` of a model, if it is an angle."""
    if not 0 <= turn < math.inf:
        raise cotan.CotanError(f"turn is an angle from 0, in radians; got {turn!r}")
    return turn


def rotations(vector: Tensor) -> Tensor:
    """(B, 3, 3) those about vectors (B, 3) by their lengths: Rodrigues' formula, since torch's exponential waits for a GPU."""
    skew = vector.new_zeros(len(vector), 3, 3)
    for k in range(3):
        skew[:, k - 2, k - 1], skew[:, k - 1, k - 2] = -vector[:, k], vector[:, k]
    turns, one = vector.norm(dim=1)[:, None, None] / math.pi, torch.eye(3, dtype=vector.dtype, device=vector.device)
    return one + torch.sinc(turns) * skew + torch.sinc(turns / 2) ** 2 / 2 * skew @ skew


def turned(grid: Tensor, angle: float, scale: float = 0.1, *, mirror: bool = False) -> Tensor:
    """Each of the grids (B, R, R, R) turned about its middle by a random rotation, and stretched by a random factor.

    The rotation vector is uniform in a cube of half-side `angle` (radians), the factor in [1 - scale, 1 + scale].
    With `mirror` it is first moved by one of the 48 symmetries of the cube: axes swapped, and each reversed or not.
    """
    b = len(grid)
    vector = (2 * torch.rand(b, 3, device=grid.device, dtype=grid.dtype) - 1) * angle
    with torch.autocast(grid.device.type, enabled=False):  # bfloat16 is not for places: it tells 256 of them apart
        rotation = rotations(vector)
        if mirror:
            axes = functional.one_hot(torch.rand(b, 3, device=grid.device).argsort(1), 3).to(grid)
            rotation = axes * (2 * torch.randint_like(vector, 2) - 1)[:, None] @ rotation
        factor = 1 + (2 * torch.rand(b, 1, 1, device=grid.device, dtype=grid.dtype) - 1) * scale
        motion = torch.cat([rotation * factor, grid.new_zeros(b, 3, 1)], 2)
        at = functional.affine_grid(motion, [b, 1, *grid.shape[1:]], align_corners=False)
    out = functional.grid_sample(grid[:, None], at, padding_mode="border", align_corners=False)
    return out[:, 0].clamp(min=grid.min(), max=grid.max())  # interpolation rounds beyond them
