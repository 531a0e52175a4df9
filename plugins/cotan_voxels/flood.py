"""What the outside cannot reach."""

import math

import torch
from torch import Tensor

import cotan

from .grid import MOST
from .surface import surface


def enclosed(triangles: Tensor, resolution: int) -> Tensor:
    """Voxels that a face touches, and all that no 6-connected path from outside reaches without them: (R, R, R) bool.

    Outside is outside the shape: the grid is widened to hold all of it, or the outside would come in where it is cut off.
    """
    import numpy
    from scipy import ndimage

    least, most = map(float, triangles.aminmax())
    margin = max(0, math.ceil(-least), math.ceil(most - resolution))
    if resolution + 2 * margin > MOST:
        raise cotan.CotanError(
            f"a flood needs a grid that holds all of the shape: {resolution + 2 * margin} voxels a side, where "
            f"{MOST} are the most. Cut less off (padding, normalize), or use another method"
        )
    wall = surface(triangles + margin, resolution + 2 * margin)
    region, _ = ndimage.label(numpy.pad(~wall.cpu().numpy(), 1, constant_values=True))
    own = slice(1 + margin, 1 + margin + resolution)
    return torch.from_numpy(region[own, own, own] != region[0, 0, 0]).to(wall.device)
