"""The edges of a closed, oriented triangulation: which runs back along which, and what is joined across them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cotan.operators import connected


def edge_graph(pos: Tensor, face: Tensor):
    """The edges with their lengths, as a sparse matrix."""
    from scipy.sparse import coo_matrix

    start, end = face.reshape(-1), face.roll(-1, 0).reshape(-1)
    length = (pos[start] - pos[end]).norm(dim=1)
    # Vertices at one place are a little apart: each is taken once where vertices far from each other are looked for.
    length = length.clamp(min=1e-9 * float(length.max()))
    size = len(pos)
    return coo_matrix((length.cpu().numpy(), (start.cpu().numpy(), end.cpu().numpy())), shape=(size, size)).tocsr()


def path(before: NDArray[np.int32], v: int) -> list[int]:
    """From a vertex to the root, by the predecessors that a search of shortest paths gives."""
    out = [v]
    while before[out[-1]] >= 0:
        out.append(int(before[out[-1]]))
    return out


def twins(face: Tensor) -> Tensor:
    """For each directed edge s * F + f, from corner s of face f to its next corner, the one that runs back."""
    start, end = face.reshape(-1), face.roll(-1, 0).reshape(-1)
    size = int(face.max()) + 1
    there, back = torch.sort(start * size + end), torch.sort(end * size + start)
    twin = torch.empty_like(start)
    twin[back.indices] = there.indices
    return twin


def following(face: Tensor) -> Tensor:
    """For each corner s * F + f of face f, the next one there."""
    return torch.arange(face.numel(), device=face.device).roll(-face.shape[1])


def fans(face: Tensor, cut: Tensor | None = None) -> Tensor:
    """(3, F) the number of the fan that each corner is in: corners at a vertex, joined across edges but those in `cut`.

    The corner s * F + f starts the directed edge s of face f; its twin starts at the edge's other end.
    """
    corner, over = torch.arange(face.numel(), device=face.device), following(face)[twins(face)]
    if cut is not None:
        corner, over = corner[~cut], over[~cut]
    return connected(face.numel(), over, corner)[1].view(3, -1)


def owners(fan: Tensor, face: Tensor) -> Tensor:
    """The vertex that each fan is at."""
    out = torch.zeros(int(fan.max()) + 1, dtype=torch.long, device=face.device)
    return out.scatter_(0, fan.reshape(-1), face.reshape(-1))
