"""What the outside cannot reach."""

from __future__ import annotations

import torch
from torch import Tensor


def enclosed(wall: Tensor) -> Tensor:
    """Voxels of ``wall`` (R, R, R) and all that no 6-connected path from outside the grid reaches without it."""
    import numpy
    from scipy import ndimage

    free = numpy.pad(~wall.cpu().numpy(), 1, constant_values=True)
    region, _ = ndimage.label(free)
    outside = region == region[0, 0, 0]
    return torch.from_numpy(~outside[1:-1, 1:-1, 1:-1]).to(wall.device)
