"""A mesh as a triangulated sphere: pinched vertices split, handles cut."""

from typing import NamedTuple

import torch
from torch import Tensor

import cotan
from cotan.operators import connected, is_triangle, orientation, topology
from cotan.sparse import firsts, numbered

from .edges import fans, owners, twins
from .handles import cut_handle


class Sphere(NamedTuple):
    """A closed triangulation of Euler number 2.

    Attributes:
        pos: (N, 3) its vertices; face: (3, F) its faces, counterclockwise seen from outside.
        vertex: (N,) the vertex of the mesh that each stands for. Several may stand for one: at a pinch, a seam, a cut
            handle. The centres of the caps of cut handles stand for none: -1.
        place: (V,) for each vertex of the mesh the one that is seen in its stead: another one at a seam.
    """

    pos: Tensor
    face: Tensor
    vertex: Tensor
    place: Tensor


def sphere(pos: Tensor, face: Tensor, *, handles: int = 0) -> Sphere:
    """See a mesh as a sphere, or say why it is none.

    Seams (corners at one place with several numbers) are sewn, faces turned to one orientation, and a vertex at which
    several fans of faces meet becomes one vertex for each fan. Up to `handles` handles are then cut.
    """
    if face.numel() == 0:
        raise cotan.CotanError("the torus map needs a mesh with faces, got none")
    if not bool(torch.isfinite(pos[face]).all()):
        raise cotan.CotanError("the torus map needs finite positions, got NaN or infinity")
    own = torch.arange(len(pos), device=pos.device)
    try:
        return Sphere(*_sphere(pos, face, own, handles), own)
    except cotan.CotanError:
        used = torch.unique(face)
        number = numbered(pos[used])
        first = used[firsts(number)]
        if len(first) == len(used):
            raise
    place = own.index_copy(0, used, first[number])
    return Sphere(*_sphere(pos[first], own.index_copy(0, used, number)[face], first, handles), place)


def _sphere(pos: Tensor, face: Tensor, name: Tensor, handles: int) -> tuple[Tensor, Tensor, Tensor]:
    face = face[:, is_triangle(face)]
    if not face.numel():
        raise cotan.CotanError("the torus map needs a mesh with faces, got only faces collapsed to an edge or a point")
    face = _orient(face)
    fan = fans(face)
    vertex = owners(fan, face)
    genus = _genus(fan, twins(face), len(vertex) - len(torch.unique(face)), handles)
    pos, vertex, face = pos[vertex].double(), name[vertex], fan
    x, y, z = (pos - pos.mean(0))[face].unbind(0)
    if not torch.linalg.cross(y - x, z - x).any():
        raise cotan.CotanError("the torus map needs a surface of some area, got one whose faces are all flat")
    if (torch.linalg.cross(x, y) * z).sum() < 0:
        face = face.flip(0)
    for _ in range(genus):
        pos, face, origin = cut_handle(pos, face)
        vertex = torch.where(origin < 0, -1, vertex[origin])
    return pos, face, vertex


def _orient(face: Tensor) -> Tensor:
    """Turn faces so that neighbours run along their edge in opposite directions."""
    found = topology(face)
    once, more = int((found.faces_at == 1).sum()), int((found.faces_at > 2).sum())
    if once or more:
        repeated = torch.unique(face.sort(0).values, dim=1).shape[1] < face.shape[1]
        mend = "Fill its holes, or use" if once else "Use"
        if repeated:
            mend = "Drop its repeated faces, as `repair` does, or use"
        raise cotan.CotanError(
            "the torus map needs a closed surface, each edge with two faces; this mesh has "
            f"{once} edges with one face and {more} with more. {mend} another model"
        )
    flip, _, _, orientable = orientation(found)
    if not orientable.all():
        raise cotan.CotanError("the torus map needs a surface with two sides, got a mesh that cannot be oriented")
    return torch.where(flip.to(face.device), face.flip(0), face)


def _genus(face: Tensor, twin: Tensor, pinched: int, handles: int) -> int:
    count = face.shape[1]
    parts, _ = connected(count, torch.arange(3 * count, device=face.device) % count, twin % count)
    repaired = f" (after {pinched} pinched vertices were split)" if pinched else ""
    if parts > 1:
        raise cotan.CotanError(
            f"the torus map needs one surface, got {parts} that are not joined{repaired}. Keep the largest of them"
        )
    euler = int(face.max()) + 1 - count // 2
    genus = 1 - euler // 2
    if genus > handles:
        raise cotan.CotanError(
            f"the torus map needs a surface like a sphere, of Euler number 2; this mesh has Euler number {euler}, genus "
            f"{genus}{repaired}, and at most {handles=} are cut. Allow more, or use a model that takes any surface"
        )
    return genus
