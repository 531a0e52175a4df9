"""The shape in the unit ball, where the cameras expect it."""

import math

import torch
from torch import Tensor

import cotan

from .shading import face_normals

ALIGNMENTS = ("none", "principal")


def normalise(pos: Tensor, face: Tensor, align: str = "none") -> Tensor:
    """Positions with the surface's centre of mass at the origin and the farthest corner at distance one.

    align: "principal" also turns the shape onto its principal axes (see `principal_axes`).
    Vertices without a face count for neither (they move along, and may end outside the ball).
    """
    if align not in ALIGNMENTS:
        raise cotan.CotanError(f"align is 'none' or 'principal'; got {align!r}")
    if pos.shape[1:] != (3,):
        raise cotan.CotanError(f"pos: expected shape (V, 3), got {tuple(pos.shape)}")
    if face.shape[1] == 0:
        raise cotan.CotanError("views need a surface: this shape has no faces")
    if not pos.isfinite().all():
        raise cotan.CotanError("views need finite positions: this shape has some that are not")
    # By a power of two, which rounds nothing: squares of areas would leave the range of float64.
    pos = pos / 2.0 ** (math.frexp(float(pos.detach()[face].abs().max()))[1] - 1)
    area = face_normals(pos, face).norm(dim=1)
    if not area.sum() > 0:
        raise cotan.CotanError("views need a surface: all faces of this shape have area zero")
    weight = area / area.sum()
    pos = pos - weight @ pos[face].mean(0)
    if align == "principal":
        pos = pos @ principal_axes(pos[face], weight)
    return pos / pos[face.flatten()].norm(dim=1).max()


def principal_axes(corners: Tensor, weight: Tensor) -> Tensor:
    """The rotation (3, 3) whose columns are the axes along which a centred surface extends most, less and least.

    They are eigenvectors of its second moment, sum_f w_f (a a^T + b b^T + c c^T + 9 m m^T) / 12 with m the middle of a
    face. The third moment along the first two is made positive; where it vanishes, or two extents agree, the shape is
    symmetric and the axes are as good as others.

    corners: (3, F, 3); weight: (F,) areas that sum to one.
    """
    middle = corners.mean(0)
    points = torch.cat((corners.flatten(0, 1), middle))
    share = torch.cat((weight.repeat(3), 9 * weight)) / 12
    axes = torch.linalg.eigh((points.T * share) @ points).eigenvectors.flip(1)
    skew = (weight @ (middle @ axes) ** 3).detach()
    first, second = (axes * torch.ones_like(skew).copysign_(skew)).T[:2]
    return torch.stack((first, second, torch.linalg.cross(first, second)), 1)
