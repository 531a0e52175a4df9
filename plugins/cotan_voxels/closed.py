"""What the edges of a mesh say about an inside."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cotan.operators import is_triangle, orientation, topology, undirected
from cotan.sparse import numbered


class Edges(NamedTuple):
    """What the edges of faces say.

    Attributes:
        odd: how many edges have an odd number of faces; if none has, a line meets the mesh an even number of times.
        closed: each edge has two faces.
        oriented: each edge has one or two faces, and two run along it in opposite directions.
        face: (3, F) the faces, by the numbers of vertices that were looked at.
    """

    odd: int
    closed: bool
    oriented: bool
    face: Tensor


def edges(face: Tensor, triangles: Tensor) -> Edges:
    """Look at the edges by vertex number and, where that leaves an open edge, by position (seams are no holes)."""
    found = _edges(face)
    return _edges(weld(triangles)) if found.odd else found


def agreeing(found: Edges, triangles: Tensor) -> tuple[Edges, Tensor]:
    """The fewest faces turned so that those that share an edge agree, and closed pieces then turned outwards.

    A piece in the box of another turns along with the outermost of them: a cavity stays one.
    """
    turn, piece = _patches(found.face)
    triangles = torch.where(turn[:, None, None], triangles.flip(1), triangles)
    face = torch.where(turn, found.face.flip(0), found.face)
    open_ = torch.isin(face, torch.stack(boundary(face)[:2])).any(0)
    count = int(piece.max()) + 1
    whole = torch.ones(count, dtype=torch.bool, device=face.device).index_fill_(0, piece[open_], False)
    index = piece[:, None].expand(-1, 3)
    low = triangles.new_full((count, 3), math.inf).scatter_reduce_(0, index, triangles.amin(1), "amin")
    high = triangles.new_full((count, 3), -math.inf).scatter_reduce_(0, index, triangles.amax(1), "amax")
    a, b, c = triangles.unbind(1)
    volume = low.new_zeros(count).index_add_(0, piece, (a * torch.linalg.cross(b, c)).sum(1))
    out = torch.full_like(whole, -1, dtype=torch.long)
    for i in torch.where(whole, (high - low).norm(dim=1), -1).argsort(descending=True)[: int(whole.sum())].tolist():
        if out[i] < 0:
            out[whole & (out < 0) & (low >= low[i]).all(1) & (high <= high[i]).all(1)] = i
    wrong = (whole & (volume[out] < 0))[piece]
    triangles = torch.where(wrong[:, None, None], triangles.flip(1), triangles)
    return _edges(torch.where(wrong, face.flip(0), face)), triangles


def _patches(face: Tensor) -> tuple[Tensor, Tensor]:
    """Which faces (F,) to turn, the fewest, so that two at an edge agree; and the number of the patch of each."""
    proper = is_triangle(face)  # a face that has collapsed to an edge joins nothing
    found = orientation(topology(face[:, proper]))
    turn, patch = torch.zeros_like(proper), torch.arange(len(proper), device=face.device) + found.patches
    turn[proper], patch[proper] = found.flip.to(face.device), found.patch.to(face.device)
    return turn, torch.unique(patch, return_inverse=True)[1]


def distinct(face: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """The faces (3, F) and their corners (F, 3, 3) without those that lie on an earlier one, either way round.

    A wall that is drawn from both sides is one wall; counted as two, it would have the outside on both sides.
    """
    # Sums of few bits do not depend on the order of the corners: of two faces in one place, both have the same.
    x, y, z = (triangles * 2.0**20).round_().sum(1).unbind(1)
    mark, order = torch.sort(x + math.sqrt(2) * y + math.sqrt(3) * z)
    again = mark[1:] == mark[:-1]
    if not again.any():
        return face, triangles
    some = order[functional.pad(again, (1, 0)) | functional.pad(again, (0, 1))].sort().values
    place = numbered(weld(triangles[some]).sort(0).values.T)
    first = torch.full_like(some, len(triangles)).scatter_reduce_(0, place, some, "amin")
    keep = torch.ones(len(triangles), dtype=torch.bool, device=face.device)
    keep[some] = first[place] == some
    return face[:, keep], triangles[keep]


def weld(triangles: Tensor) -> Tensor:
    """Faces (3, F) numbered so that corners at one position are one vertex."""
    return numbered(triangles.reshape(-1, 3)).view(-1, 3).t()


def directed(face: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end (3F,) of the edges of all faces; of a face that has collapsed to an edge, none."""
    keep = is_triangle(face)
    face = face if bool(keep.all()) else face[:, keep]
    return face.reshape(-1), face.roll(-1, 0).reshape(-1)


def _edges(face: Tensor) -> Edges:
    start, end = directed(face)
    count = int(face.max()) + 1 if face.numel() else 0
    key = torch.minimum(start, end) * count + torch.maximum(start, end)
    # An edge used once each way is 2 key and 2 key + 1 beside each other: one sort answers both questions.
    key = torch.sort(2 * key + (start > end)).values
    _, uses = torch.unique_consecutive(torch.div(key, 2, rounding_mode="floor"), return_counts=True)
    return Edges(
        odd=int((uses % 2).sum()),
        closed=len(uses) > 0 and bool((uses == 2).all()),
        oriented=bool((key[1:] != key[:-1]).all()),
        face=face,
    )


def boundary(face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The boundary of the faces as a chain: edges start -> end, and how often each runs that way, all net."""
    start, end = directed(face)
    count = int(face.max()) + 1
    low, high, number = undirected(start, end, count)
    net = torch.zeros_like(low).index_add_(0, number, 1 - 2 * (start > end).long())
    open_ = net != 0
    return low[open_], high[open_], net[open_]
