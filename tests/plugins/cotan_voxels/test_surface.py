import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cotan_voxels.surface import surface

R = 5


def clipped(triangle: list[list[float]], low: tuple[int, int, int], slack: float) -> bool:
    """Does a triangle meet a cube? Cut it by the six half-spaces and see whether any of it is left."""
    polygon = [list(p) for p in triangle]
    for axis in range(3):
        for sign, bound in ((1, low[axis] - slack), (-1, -(low[axis] + 1 + slack))):
            kept = []
            for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
                dp, dq = sign * p[axis] - bound, sign * q[axis] - bound
                if dp >= 0:
                    kept.append(p)
                if dp * dq < 0:
                    kept.append([a + dp / (dp - dq) * (b - a) for a, b in zip(p, q, strict=True)])
            polygon = kept
            if not polygon:
                return False
    return True


coordinate = st.one_of(st.floats(-1, R + 1), st.integers(-2, 2 * R + 2).map(lambda n: n / 2))
corner = st.lists(coordinate, min_size=3, max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(corner, min_size=3, max_size=3))
@example([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 2.2e-309, 0.0]])
@example([[3.0, 0.0, 2.0], [0.0, 1.0, 0.0], [-2.2e-16, 0.0, 0.0]])
def test_exactly_the_voxels_that_a_triangle_meets(triangle):
    found = surface(torch.tensor([triangle], dtype=torch.float64), R)
    for voxel in torch.cartesian_prod(*[torch.arange(R)] * 3).tolist():
        if clipped(triangle, tuple(voxel), slack=-1e-6):  # meets the inside: must be there
            assert found[tuple(voxel)], voxel
        if found[tuple(voxel)]:  # touches at least
            assert clipped(triangle, tuple(voxel), slack=1e-6), voxel


def test_many_are_the_union_of_each(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    triangles = torch.rand(40, 3, 3, generator=generator, dtype=torch.float64) * R
    each = torch.stack([surface(t[None], R) for t in triangles]).any(0)
    assert torch.equal(surface(triangles, R), each)
    monkeypatch.setattr("cotan_voxels.grid.BUDGET", 3)
    assert torch.equal(surface(triangles, R), each)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_sheet_between_two_layers_touches_both(axis):
    sheet = torch.tensor([[[0.5, 0.5, 2.0], [4.5, 0.5, 2.0], [0.5, 4.5, 2.0]]], dtype=torch.float64)
    found = surface(sheet.roll(axis, -1), R)
    layers = found.sum([d for d in range(3) if d != (2 + axis) % 3])
    assert layers.tolist() == [0, 19, 19, 0, 0]  # those that it touches in a corner too
