"""The shape in the unit ball, where the cameras expect it."""

from torch import Tensor

import cotan

from .shading import face_normals


def normalise(pos: Tensor, face: Tensor) -> Tensor:
    """Positions with the surface's centre of mass at the origin and the farthest corner at distance one.

    Vertices without a face count for neither (they move along, and may end outside the ball).
    """
    if face.shape[1] == 0:
        raise cotan.CotanError("views need a surface: this shape has no faces")
    if not pos.isfinite().all():
        raise cotan.CotanError("views need finite positions: this shape has some that are not")
    area = face_normals(pos, face).norm(dim=1)
    if not area.sum() > 0:
        raise cotan.CotanError("views need a surface: all faces of this shape have area zero")
    middle = pos[face].mean(0)  # (F, 3)
    pos = pos - (area @ middle) / area.sum()
    return pos / pos[face.flatten()].norm(dim=1).max()
