"""Shapes for the spectral tests."""

import pytest
import torch
from torch_geometric.data import Data


def sphere(points):
    """The triangulation of points on the unit sphere, made bumpy; `place` is the point on the sphere."""
    import numpy as np
    from scipy.spatial import ConvexHull

    face = ConvexHull(points).simplices
    a, b, c = (points[face[:, i]] for i in range(3))
    outward = (np.cross(b - a, c - a) * a).sum(1) > 0
    face = np.where(outward[:, None], face, face[:, ::-1])
    place = torch.from_numpy(points)
    x, y, z = place.T
    radius = 1 + 0.25 * torch.sin(2 * x + 1) + 0.2 * torch.cos(3 * y) + 0.15 * torch.sin(2 * z * x + 2 * z)
    pos = place * radius[:, None] * torch.tensor([1.0, 1.2, 0.8], dtype=torch.float64)
    return Data(pos=pos, face=torch.from_numpy(face.T.copy()).long(), place=place)


@pytest.fixture(scope="session")
def bumpy():
    """Two triangulations of one bumpy sphere without symmetry, of 300 and of 350 vertices."""
    import numpy as np

    def spiral(count, turn):
        i = np.arange(count) + 0.5
        z, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i + turn
        r = np.sqrt(1 - z * z)
        return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1)

    return sphere(spiral(300, 0.0)), sphere(spiral(350, 1.0)[:, [1, 2, 0]].copy())


@pytest.fixture(scope="session")
def cycle():
    """The cycle of n vertices: all but one or two of its eigenvalues are double."""

    def make(n=12):
        i = torch.arange(n)
        edges = torch.stack([i, (i + 1) % n])
        return Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=n)

    return make


@pytest.fixture(scope="session")
def random_graph():
    """Directed or not, with duplicate edges, self-loops and (the last two) isolated vertices."""

    def make(seed=0, vertices=30, edges=80, directed=False, weighted=False):
        g = torch.Generator().manual_seed(seed)
        edge_index = torch.randint(0, vertices - 2, (2, edges), generator=g)
        edge_index = torch.cat([edge_index, edge_index[:, :9], torch.arange(3).expand(2, 3)], 1)
        weight = torch.rand(edge_index.shape[1], generator=g) + 0.1
        if not directed:
            edge_index, weight = torch.cat([edge_index, edge_index.flip(0)], 1), weight.repeat(2)
        data = Data(edge_index=edge_index, num_nodes=vertices)
        if weighted:
            data.edge_weight = weight
        return data

    return make
