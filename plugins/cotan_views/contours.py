"""Line drawings of views: what a sketch of the shape would show."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

JUMP = 0.05  # of the shape's radius
CREASE = math.cos(math.radians(40))


def lines(depth: Tensor, normal: Tensor, slope: Tensor, ray: Tensor, perspective: bool) -> Tensor:
    """1 on the pixels of a shape that border on the background, on what is behind it, or on a crease.

    A pixel is compared with its four neighbours. It borders on what is behind if its plane, continued to the neighbour,
    is more than `JUMP` before it, measured across the surface: neither a slope nor a round rim is such a border.
    It borders on a crease if the normals differ by more than 40 degrees.

    depth: (N, H, W); normal: (N, 3, H, W), right, up, towards the viewer; slope: as normal, at right angles to the surface
    in the coordinates of `ray`: (H,) where the columns' rays meet the plane one unit before the eye, to the right (and the
    rows' rays, from the top down).

    Returns: (N, H, W)
    """
    right, up, back = slope.unbind(1)
    inside = depth > 0
    drawn = torch.zeros_like(inside)
    pitch = ray[1] - ray[0] if len(ray) > 1 else ray.new_ones(())
    facing = back - right * ray + up * ray.unsqueeze(1) if perspective else back  # against the ray
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside = _shift(depth, dy, dx)
        fall = (right * dx - up * dy) * pitch
        if perspective:
            plane = depth * facing / (facing - fall).clamp(min=0)  # infinite where the plane is not met
        else:
            plane = depth + fall / facing
        behind = (beside - torch.maximum(plane, depth)) * normal[:, 2] > JUMP
        crease = (_shift(normal, dy, dx) * normal).sum(1) < CREASE
        drawn |= inside & ((beside == 0) | behind | crease)
    return drawn.to(depth.dtype)


def _shift(images: Tensor, dy: int, dx: int) -> Tensor:
    """Each pixel's neighbour in a direction, 0 outside."""
    height, width = images.shape[-2:]
    return pad(images, (1, 1, 1, 1))[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
