"""A mesh as a triangulated sphere, with corners of its own where the mesh is pinched."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import cotan


class Sphere(NamedTuple):
    """A closed triangulation of Euler number 2.

    - pos: (N, 3) its vertices; face: (3, F) its faces, counterclockwise seen from outside.
    - vertex: (N,) the vertex of the mesh that each stands for (several may stand for one: a pinch, a seam).
    - kept: (F,) the face of the mesh that each stands for (faces collapsed to an edge are left out).
    """

    pos: Tensor
    face: Tensor
    vertex: Tensor
    kept: Tensor


def sphere(pos: Tensor, face: Tensor) -> Sphere:
    """See a mesh as a sphere, or say why it is none.

    Seams (corners at one place with several numbers) are sewn, faces turned to one orientation, and a vertex at which
    several fans of faces meet becomes one vertex for each fan. What then has another Euler number than 2 is refused.
    """
    if face.numel() == 0:
        raise cotan.CotanError("the torus map needs a mesh with faces, got none")
    if not bool(torch.isfinite(pos[face]).all()):
        raise cotan.CotanError("the torus map needs finite positions, got NaN or infinity")
    try:
        return _sphere(pos, face, torch.arange(len(pos), device=pos.device))
    except cotan.CotanError:
        place, number = torch.unique(pos, dim=0, return_inverse=True)
        if len(place) == len(pos):
            raise
    first = torch.full((len(place),), len(pos), device=pos.device)
    first = first.scatter_reduce_(0, number, torch.arange(len(pos), device=pos.device), "amin")
    return _sphere(place, number[face], first)


def _sphere(pos: Tensor, face: Tensor, name: Tensor) -> Sphere:
    a, b, c = face
    kept = ((a != b) & (b != c) & (c != a)).nonzero().squeeze(1)
    if len(kept) == 0:
        raise cotan.CotanError("the torus map needs a mesh with faces, got only faces collapsed to an edge or a point")
    face = _orient(face[:, kept])
    twin = twins(face)
    count = face.shape[1]
    # Corner (s, f) starts the edge s of face f. The twin of that edge starts at its other end.
    corner = torch.arange(3 * count, device=face.device)
    following = (corner + count) % (3 * count)
    fan = components(3 * count, following[twin], corner)
    number = int(fan.max()) + 1
    vertex = torch.zeros(number, dtype=torch.long, device=face.device).scatter_(0, fan, face.reshape(-1))
    _check(fan.view(3, count), twin, pinched=number - len(torch.unique(face)))
    face = fan.view(3, count)
    x, y, z = pos[vertex][face].double().unbind(0)
    if (torch.linalg.cross(x, y) * z).sum() < 0:
        face = face.flip(0)
    return Sphere(pos[vertex].double(), face, name[vertex], kept)


def _orient(face: Tensor) -> Tensor:
    """Turn faces so that neighbours run along their edge in opposite directions."""
    start, end = face.reshape(-1), face.roll(-1, 0).reshape(-1)
    size, count = int(face.max()) + 1, face.shape[1]
    key, order = torch.sort(torch.minimum(start, end) * size + torch.maximum(start, end))
    _, uses = torch.unique_consecutive(key, return_counts=True)
    wrong = int((uses != 2).sum())
    if wrong:
        once, more = int((uses == 1).sum()), int((uses > 2).sum())
        raise cotan.CotanError(
            "the torus map needs a closed surface, each edge with two faces; this mesh has "
            f"{once} edges with one face and {more} with more. Fill its holes, or use another model"
        )
    one, two = order[0::2], order[1::2]
    same = start[one] == start[two]
    if not bool(same.any()):
        return face
    # Each face twice, as it is and turned: neighbours that agree are joined.
    f, g = one % count, two % count
    side = components(2 * count, torch.cat([f, f + count]), torch.cat([g + count * same, g + count * ~same]))
    as_is, turned = side[:count], side[count:]
    if bool((as_is == turned).any()):
        raise cotan.CotanError("the torus map needs a surface with two sides, got a mesh that cannot be oriented")
    return torch.where(as_is > turned, face.flip(0), face)


def twins(face: Tensor) -> Tensor:
    """For each directed edge s * F + f, from corner s of face f to its next corner, the one that runs back."""
    start, end = face.reshape(-1), face.roll(-1, 0).reshape(-1)
    size = int(face.max()) + 1
    there, back = torch.sort(start * size + end), torch.sort(end * size + start)
    twin = torch.empty_like(start)
    twin[back.indices] = there.indices
    return twin


def components(count: int, a: Tensor, b: Tensor) -> Tensor:
    """Number the parts of the graph with edges a - b."""
    import numpy
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = numpy.ones(len(a), dtype=numpy.int8)
    graph = coo_matrix((ones, (a.cpu().numpy(), b.cpu().numpy())), shape=(count, count))
    return torch.from_numpy(connected_components(graph, directed=False)[1]).to(a)


def _check(face: Tensor, twin: Tensor, pinched: int) -> None:
    count = face.shape[1]
    parts = int(components(count, torch.arange(3 * count, device=face.device) % count, twin % count).max()) + 1
    repaired = f" (after {pinched} pinched vertices were split)" if pinched else ""
    if parts > 1:
        raise cotan.CotanError(
            f"the torus map needs one surface, got {parts} that are not joined{repaired}. Keep the largest of them"
        )
    euler = int(face.max()) + 1 - count // 2
    if euler != 2:
        raise cotan.CotanError(
            f"the torus map needs a surface like a sphere, of Euler number 2; this mesh has Euler number {euler}, "
            f"genus {1 - euler // 2}{repaired}. Close its handles, or use a model that takes any surface"
        )
