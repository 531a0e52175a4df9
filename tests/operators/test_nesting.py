"""Which closed surfaces lie in which others: by crossings as by solid angles alone."""

import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from cotan.operators import nesting
from cotan.operators.nesting import crossings, depths, winding

SOLIDS = [
    trimesh.creation.icosphere(subdivisions=0),
    trimesh.creation.icosphere(subdivisions=2),
    trimesh.creation.box(),
    trimesh.creation.cylinder(0.5, 1, sections=6),
    trimesh.creation.torus(1, 0.4, major_sections=8, minor_sections=5),
]


def corners(mesh):
    return torch.tensor(mesh.vertices)[torch.tensor(mesh.faces).T]


def by_angles(parts):
    """The same by sums of solid angles at all six ends alone."""
    depth = torch.zeros(len(parts), dtype=torch.long)
    for outer in parts:
        for i, part in enumerate(parts):
            low, high = outer.amin((0, 1)), outer.amax((0, 1))
            if bool((part.amin((0, 1)) > low).all() & (part.amax((0, 1)) < high).all()):
                corner = part.reshape(-1, 3)
                ends = corner[torch.cat([corner.argmin(0), corner.argmax(0)])]
                depth[i] += all(winding(outer, end) > 0.75 for end in ends)
    return depth


def some(seed):
    """A few closed parts: on a grid or turned, inverted, crumpled through themselves, going round twice, touching."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(9, 8, generator=generator).tolist()
    grid, parts = seed % 3 == 0, []
    for form, size, invert, crumple, touch, other, place, twice in uniform[: 2 + seed % 7]:
        part = corners(SOLIDS[int(form * len(SOLIDS))]) * 2.0 ** int(4 * size - 2)
        if grid:
            part = part + torch.randint(-2, 3, (3,), generator=generator) / 4
        else:
            turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
            part = part @ turn + torch.randn(3, generator=generator) * place / 2
        if crumple < 0.2:
            part = torch.sin(part @ torch.randn(3, 3, generator=generator, dtype=torch.float64) * 4 * size) + part
        if parts and touch < 0.4:
            face = parts[int(other * len(parts))][:, 0]
            weights = torch.tensor([[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]])[int(place * 3)]
            part = part - part[0, 0] + weights.double() @ face
        if twice < 0.1:
            part = torch.cat([part, part], 1)
        parts.append(part.flip(0) if invert < 0.4 else part)
    return parts


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_as_by_solid_angles(seed):
    parts = some(seed)
    assert torch.equal(depths(parts), by_angles(parts))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_crossings_are_the_winding_number(seed):
    """Also in chunks smaller than the pairs of one face; signed, of surfaces that go round some points several times."""
    whole = torch.cat(some(seed), 1)
    points = torch.randn(100, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nesting, "CHUNK", 7)
        count, near = crossings(whole, points)
    assert not near.any()
    turns = torch.tensor([winding(whole, point) for point in points], dtype=torch.float64)
    assert torch.allclose(count.abs().double(), turns, atol=1e-9)


def test_a_surface_is_left_outwards():
    ball = corners(SOLIDS[1])
    points = torch.tensor([[0.0, 0, 0], [0, 0, 2], [0, 0, -2]], dtype=torch.float64)
    assert crossings(ball, points)[0].tolist() == [1, 0, 0]
    assert crossings(ball.flip(0), points)[0].tolist() == [-1, 0, 0]
    assert crossings(torch.cat([ball, ball], 1), points)[0].tolist() == [2, 0, 0]


def test_points_on_the_surface_are_in_doubt():
    cube = corners(SOLIDS[2])
    half = cube.amax()
    at = half * torch.tensor([[1.0, 1, 1], [1, 0, 1], [0.3, 0.1, 1], [-1, 0.2, 0.1]], dtype=torch.float64)
    assert crossings(cube, at)[1].all()
    assert crossings(cube, at * (1 + 1e-14))[1].all()
    assert not crossings(cube, at * (1 - 1e-9))[1].any()


def test_many_islands_in_a_large_surface(monkeypatch):
    """Not every face is looked at for every island: fewer pairs of the two than there are faces."""
    ball, island = corners(trimesh.creation.icosphere(subdivisions=6)), corners(SOLIDS[0]) / 500
    middle = torch.rand(200, 1, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    pairs, looked = nesting._pairs, []
    monkeypatch.setattr(nesting, "_pairs", lambda *a: (looked.append(len(f)) or (f, p) for f, p in pairs(*a)))
    monkeypatch.setattr(nesting, "winding", lambda part, at: looked.append(part.shape[1]) or winding(part, at))
    depth = depths([ball, *(island + middle)])
    assert 0 < sum(looked) < ball.shape[1]
    away = middle[:, 0, 0].norm(dim=1)
    clear = (away - 1).abs() > 0.01
    assert torch.equal(depth[1:][clear] == 1, away[clear] < 1)


def test_pairs_take_bounded_memory(monkeypatch):
    """A fan's long faces have nearly every point in their boxes."""
    monkeypatch.setattr(nesting, "CHUNK", 500)
    fan = corners(trimesh.creation.cylinder(1, 2, sections=100))[..., :2]
    at = torch.rand(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    chunks = list(nesting._pairs(fan.amin(0), fan.amax(0), at))
    assert max(len(face) for face, _ in chunks) < 500 + 20
    found = torch.zeros(fan.shape[1], len(at), dtype=torch.bool)
    for face, point in chunks:
        found[face, point] = True
    inside = ((fan.amin(0)[:, None] <= at) & (at <= fan.amax(0)[:, None])).all(2)
    assert inside.sum() > 5000
    assert not (inside & ~found).any()
