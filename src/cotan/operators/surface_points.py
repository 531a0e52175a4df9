"""Points spread over a surface."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from .checks import check_mesh
from .normals import normals, unit
from .triangles import triangles


@operator(gives=("pos", "normal"))
def surface_points(pos: Tensor, face: Tensor, *, size: int = 1024, seed: int = 0) -> Any:
    """Random points spread evenly over a surface, as a `Data`.

    pos and normal (size, 3), that of its face; of_face (size,), the face that a point lies on; barycentric (size, 3), its
    place there: pos_i = sum_k w_ik x_k over the corners k of the face, which has derivatives; so values of vertices are carried.
    The surface, face after face, is cut into `size` parts of one area, each with a point; their order is random.

    Arguments:
        pos: (V, 3). face: (3, F). size: number of points. seed: of the places, and of the order.
    """
    pos, face = check_mesh(pos, face)
    at_least(1, "surface_points", size=size)
    t = triangles(pos, face)
    some = t.area.detach().nonzero().squeeze(1)
    if not len(some):
        raise CotanError("surface_points: all faces have area zero")
    generator = torch.Generator().manual_seed(seed)
    u, v, w = torch.rand(3, size, generator=generator, dtype=torch.float64).to(pos.device)
    order = torch.randperm(size, generator=generator).to(pos.device)
    area = t.area.detach().index_select(0, some).cumsum(0)
    place = torch.searchsorted(area, (order + u) * (area[-1] / size), right=True)
    of_face = some.index_select(0, place.clamp(max=len(some) - 1))
    root = v.sqrt()  # of the distance from the first corner, where the face is the wider the farther
    barycentric = torch.stack([1 - root, root * (1 - w), root * w], 1)
    corners = pos.index_select(0, face.index_select(1, of_face).reshape(-1)).view(3, size, 3)
    from torch_geometric.data import Data

    return Data(
        pos=(barycentric.T[:, :, None] * corners).sum(0),
        normal=unit(normals(t)).index_select(0, of_face),
        of_face=of_face,
        barycentric=barycentric,
    )
