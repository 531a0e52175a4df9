"""Generated shapes that break solvers: a result that satisfies its definition, or one clear sentence."""

import math

import pytest
import torch
from torch.utils._pytree import tree_leaves
from torch_geometric.data import Data

import cotan

NODES = ("mass", "gradient", "vertex_normals", "mean_curvature", "heat_kernel_signature")


def mesh(pos, face):
    return Data(pos=torch.as_tensor(pos, dtype=torch.float64), face=torch.as_tensor(face).T.contiguous())


def ball(icosphere, change):
    pos, face = icosphere(2)
    return Data(pos=change(pos.clone()), face=face)


def moebius(around=40, across=5):
    turn = torch.arange(around).double() * 2 * math.pi / around
    width = torch.linspace(-0.3, 0.3, across).double()
    t, w = torch.meshgrid(turn, width, indexing="ij")
    radius = 1 + w * torch.cos(t / 2)
    pos = torch.stack([radius * torch.cos(t), radius * torch.sin(t), w * torch.sin(t / 2)], -1).reshape(-1, 3)

    def at(i, j):
        return i * across + j if i < around else across - 1 - j  # the strip closes upside down

    corners = [
        (at(i, j), at(i + 1, j), at(i, j + 1), at(i + 1, j + 1)) for i in range(around) for j in range(across - 1)
    ]
    return mesh(pos, [face for a, b, c, d in corners for face in ((a, b, c), (c, b, d))])


def strip(height, length=60):
    x = torch.linspace(0, 1, length).double()
    pos = torch.cat([torch.stack([x, x * 0 + y, x * 0], 1) for y in (0, height)])
    low = [(i, i + 1, length + i) for i in range(length - 1)]
    return mesh(pos, low + [(i + 1, length + i + 1, length + i) for i in range(length - 1)])


SHAPES = {
    "triangle": lambda _: mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]),
    "two triangles at a vertex": lambda _: mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], [[0, 1, 2], [0, 3, 4]]
    ),
    "tiny": lambda make: ball(make, lambda p: p * 1e-12),
    "huge": lambda make: ball(make, lambda p: p * 1e30),
    "far away": lambda make: ball(make, lambda p: p + 1e9),
    "stretched": lambda make: ball(make, lambda p: p * p.new_tensor([1e6, 1, 1])),
    "flattened": lambda make: ball(make, lambda p: p * p.new_tensor([1, 1e-9, 1])),
    "crumpled": lambda make: ball(make, lambda p: torch.where(p[:, :1] > 0, 1e-4 * p, p)),
    "moebius": lambda _: moebius(),
    "slivers": lambda _: strip(1e-4),
    "repeated faces": lambda make: mesh(make(1)[0], torch.cat([make(1)[1].T, make(1)[1].T[:9]])),
    "inside and outside": lambda make: mesh(make(1)[0], torch.cat([make(1)[1].T, make(1)[1].T.flip(1)])),
    "isolated vertices": lambda make: mesh(torch.cat([make(1)[0], torch.ones(9, 3).double()]), make(1)[1].T),
    "soup": lambda _: mesh(
        torch.rand(90, 3, generator=torch.Generator().manual_seed(0)), torch.randperm(90).reshape(30, 3)
    ),
    "coincident points": lambda make: Data(pos=make(2)[0].repeat(2, 1)),
    "flat cloud": lambda make: Data(pos=make(2)[0] * torch.tensor([1.0, 1.0, 0.0])),
}

REFUSED = {
    "empty": (lambda: Data(pos=torch.zeros(0, 3), face=torch.zeros(3, 0).long()), "without vertices"),
    "no faces": (lambda: Data(pos=torch.rand(4, 3), face=torch.zeros(3, 0).long()), "without faces"),
    "not a number": (
        lambda: mesh([[0, 0, 0], [1, 0, 0], [0, math.nan, 0]], [[0, 1, 2]]),
        "NaN or infinite values at 1",
    ),
    "one place": (lambda: mesh(torch.zeros(9, 3), torch.arange(9).reshape(3, 3)), "without area"),
    "a line": (lambda: mesh([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]), "without area"),
    "beyond all floats": (lambda: mesh([[0, 0, 0], [1e200, 0, 0], [0, 1e200, 0]], [[0, 1, 2]]), "scale the shape"),
    "cloud at one place": (lambda: Data(pos=torch.ones(50, 3)), "at one place"),
    "cloud on a line": (lambda: Data(pos=torch.arange(50.0)[:, None] * torch.tensor([[1.0, 0, 0]])), "on one line"),
    "one point": (lambda: Data(pos=torch.ones(1, 3)), "at least 4 points"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_definitions_hold(name, icosphere):
    data = SHAPES[name](icosphere)
    wanted = [node for node in NODES if data.get("face") is not None or node in ("mass", "heat_kernel_signature")]
    for node in wanted:
        value = cotan.compute(data, node, dtype=torch.float64)
        assert all(bool(leaf.isfinite().all()) for leaf in tree_leaves(value) if torch.is_tensor(leaf)), node
    L, mass, spectrum = (cotan.compute(data, n, dtype=torch.float64) for n in ("laplacian", "mass", "spectrum"))
    values, phi = spectrum.values, spectrum.vectors
    assert float(mass.min()) > 0
    assert len(values) == min(128, len(mass))
    assert float(values[0]) >= 0
    assert float(values.diff().min()) >= 0
    gram = phi.T @ (mass[:, None] * phi)
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-8)
    above = values[values > 1e-10 * (L.diagonal() / mass).median()]
    error = ((L @ phi - mass[:, None] * phi * values) / mass.sqrt()[:, None]).norm(dim=0)
    assert float((error / values.clamp(min=float(above[0]))).max()) < 2e-6


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence(name):
    make, sentence = REFUSED[name]
    for node in ("spectrum", "mass"):
        with pytest.raises(cotan.CotanError, match=sentence) as refusal:
            cotan.compute(make(), node)
        assert "\n" not in str(refusal.value)
