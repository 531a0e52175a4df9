"""Changes to a shape that keep its vertices, or most of them: each takes `Data` and a random generator."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from cotan.operators import vertex_normals

from .remesh import Ints, random_rotation, sheets

if TYPE_CHECKING:
    from torch_geometric.data import Data


def rotated(data: "Data", rng: np.random.Generator) -> "Data":
    """A uniform random rotation about the origin."""
    return _moved(data, data.pos.double() @ torch.from_numpy(random_rotation(rng)).T)


def scaled(data: "Data", rng: np.random.Generator) -> "Data":
    """All of it larger or smaller by a factor between 1/2 and 2."""
    return _moved(data, data.pos.double() * 2 ** rng.uniform(-1, 1))


def noisy(data: "Data", rng: np.random.Generator) -> "Data":
    """Gaussian noise on each coordinate, 0.12 of the mean edge length wide."""
    p = data.pos.double()
    edge = (p[data.face] - p[data.face.roll(1, 0)]).norm(dim=-1).mean()
    return _moved(data, p + 0.12 * edge * torch.from_numpy(rng.standard_normal(p.shape)))


def holes(data: "Data", rng: np.random.Generator) -> "Data":
    """Holes around three random vertices, each of 1.5% of all; the largest piece stays, as a manifold."""
    p, faces = data.pos.double().numpy(), data.face.numpy().T
    reach = np.ptp(p, axis=0).max() / 4  # of normals: a hole stays on one side of a limb instead of cutting it through
    near = np.concatenate([p, reach * vertex_normals(data.pos, data.face).numpy()], 1)
    gone = np.zeros(len(p), dtype=bool)
    for centre in rng.choice(len(p), 3, replace=False):
        distance = ((near - near[centre]) ** 2).sum(1)
        gone[np.argsort(distance)[: max(1, int(0.015 * len(p)))]] = True
    kept = faces[~gone[faces].any(1)]
    while True:
        fans, piece = sheets(kept, len(p))
        good = (fans[kept] == 1).all(1) & (piece[kept[:, 0]] == np.bincount(piece[kept[:, 0]]).argmax())
        if good.all():
            break
        kept = kept[good]
    return _part_of(data, kept)


ALTER: dict[str, Callable[["Data", np.random.Generator], "Data"]] = {
    "rotated": rotated,
    "noisy": noisy,
    "holes": holes,
    "scaled": scaled,
}


def _moved(data: "Data", pos: torch.Tensor) -> "Data":
    data = data.clone()
    data.pos = pos.to(data.pos.dtype)
    return data


def _part_of(data: "Data", faces: Ints) -> "Data":
    """The faces (F, 3) that are left, with only their vertices and all that belongs to these."""
    data, n = data.clone(), len(data.pos)
    used, new = np.unique(faces, return_inverse=True)
    for name, value in data.to_dict().items():
        if name != "face" and len(value) == n:
            data[name] = value[torch.from_numpy(used)]
    data.face = torch.from_numpy(np.ascontiguousarray(new.reshape(-1, 3).T))
    return data
