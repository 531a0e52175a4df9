"""Merge, drop and turn what can be mended on a mesh, and say what was done."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CotanError
from ..sparse import first_alike
from .checks import check_face, check_shape
from .edge_index import is_triangle
from .mesh_report import inside_out, repeats
from .topology import orientation, topology
from .triangles import triangles


class Repaired(NamedTuple):
    """data: the mended mesh. done: what was done, a sentence each; empty if nothing had to be."""

    data: Any
    done: list[str]


def repair(data: Any) -> Repaired:
    """A mesh without non-finite, duplicate and loose vertices, without degenerate, flat and duplicate faces, oriented.

    In this order: vertices that are not finite go, with their faces; vertices at one place become one; faces that name
    a vertex twice go; the longest side of a flat face is flipped into its neighbour (or the face goes, at a rim or a
    non-manifold edge); repeated faces go, then loose vertices; faces are turned to agree, and closed parts outwards
    (cavities, closed parts within an odd number of others, inwards).
    Non-manifold edges and vertices and holes stay: the operators take them.

    Arguments:
        data: pos (V, 3), face (3, F), and any attributes per vertex or face (recognised by their length), which follow.

    >>> mended, done = repair(data)
    """
    if getattr(data, "face", None) is None or getattr(data, "pos", None) is None:
        raise CotanError("repair: expected a mesh, with pos and face")
    check_shape(data.pos)
    device, done = data.pos.device, []
    pos, face = data.pos.detach().double().cpu(), check_face(data.face, len(data.pos)).cpu()
    vertex, tag = torch.arange(len(pos)), torch.arange(face.shape[1])  # where each one left comes from

    def keep(faces: Tensor, what: str) -> None:
        nonlocal face, tag
        if not faces.all():
            done.append(f"dropped {int((~faces).sum())} {what}")
            face, tag = face[:, faces], tag[faces]

    finite = torch.isfinite(pos).all(1)
    if not finite.all():
        done.append(f"dropped {int((~finite).sum())} vertices that are not finite")
        keep(finite[face].all(0), "faces at vertices that are not finite")
    place = vertex.clone()
    place[finite] = vertex[finite][first_alike(pos[finite])]
    if (merged := int((place[finite] != vertex[finite]).sum())) > 0:
        done.append(f"merged {merged} vertices at the place of another")
        face = place[face]
    keep(is_triangle(face), "faces that name a vertex twice")
    face, flips, flat = flip_flat(pos, face)
    if flips:
        done.append(f"flipped the longest side of {flips} faces without area")
    keep(~flat, "faces without area")
    keep(~repeats(face), "repeated faces")
    if not face.shape[1]:
        raise CotanError(f"repair: no face is left: {'; '.join(done)}")

    used = torch.zeros(len(pos), dtype=torch.bool)
    used[face] = True
    if (loose := int((finite & (place == vertex) & ~used).sum())) > 0:
        done.append(f"dropped {loose} vertices without a face")
    vertex = used.nonzero()[:, 0]
    number = used.long().cumsum(0) - 1
    pos, face = pos[vertex], number[face]
    face = _orient(pos, face, done)
    return Repaired(_carry(data, vertex.to(device), tag.to(device), face.to(device)), done)


def flip_flat(pos: Tensor, face: Tensor) -> tuple[Tensor, int, Tensor]:
    """Flip the longest side of each flat face where one other face is there and both new ones have area.

    Returns the faces, how many were flipped, and which are flat still. Flat faces are few: only those about them are looked at.
    """
    face, flipped = face.clone(), 0
    flat = triangles(pos, face).flat
    while flat.any():
        about = torch.zeros(len(pos), dtype=torch.bool).index_fill(0, face[:, flat].reshape(-1), True)
        near = about[face].any(0).nonzero()[:, 0]
        corner, faces = face[:, near].reshape(-1), len(near)
        top = topology(face[:, near])
        other = torch.full((3 * faces,), -1)
        other[top.across] = top.across.flip(0)

        f = flat[near].nonzero()[:, 0]
        side = triangles(pos, face[:, near[f]]).sides.square().sum(-1).argmax(0) * faces + f
        side = side[other[side] >= 0]
        apex, far = corner[side], corner[other[side]]
        start, end = corner[(side + faces) % (3 * faces)], corner[(side + 2 * faces) % (3 * faces)]
        first, second = torch.stack([start, far, apex]), torch.stack([far, end, apex])
        key = _key(torch.stack([apex, far]).sort(0).values)
        able = ~(triangles(pos, first).flat | triangles(pos, second).flat | torch.isin(key, _key(top.edges)))

        turned, made, chosen = set[int](), set[int](), list[int]()
        at, across = near[side % faces], near[other[side] % faces]
        for i in able.nonzero()[:, 0].tolist():
            both, edge = {int(at[i]), int(across[i])}, int(key[i])
            if not turned & both and edge not in made:
                turned |= both
                made.add(edge)
                chosen.append(i)
        if not chosen:
            break
        face[:, at[chosen]], face[:, across[chosen]] = first[:, chosen], second[:, chosen]
        flat[list(turned)] = False
        flipped += len(chosen)
    return face, flipped, flat


def _key(edge: Tensor) -> Tensor:
    """A number for each edge (2, E), the lower vertex first."""
    return edge[0] << 32 | edge[1]


def _orient(pos: Tensor, face: Tensor, done: list[str]) -> Tensor:
    t = topology(face)
    o = orientation(t)
    if o.flip.any():
        done.append(f"turned {int(o.flip.sum())} faces to agree with their neighbours")
    wrong = inside_out(pos, face, t, o)
    if wrong.any():
        done.append(f"turned {int(wrong.sum())} closed parts outwards (cavities inwards)")
    if not o.orientable.all():
        done.append(f"left {int((~o.orientable).sum())} parts whose faces cannot agree")
    return torch.where(o.flip != wrong[o.patch], face.flip(0), face)


def _carry(data: Any, vertex: Tensor, tag: Tensor, face: Tensor) -> Any:
    """A copy of the data with the vertices and faces that are left."""
    vertices, faces = len(data.pos), data.face.shape[1]
    copy = type(data)()
    for name, value in data.to_dict().items():
        if name in ("face", "num_nodes", "edge_index", "edge_weight", "edge_attr"):
            continue  # edges are derived from the faces anew
        if isinstance(value, Tensor) and value.ndim and len(value) == vertices:
            value = value[vertex]
        elif isinstance(value, Tensor) and value.ndim and len(value) == faces:
            value = value[tag]
        copy[name] = value
    copy.face = face
    return copy
