"""Each line meets a closed mesh an even number of times, and no point lies in two cells or in none."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cotan_voxels.crossings import counts_above, edge_function, snap

TETRAHEDRON = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
R = 8
halves = st.integers(1, 2 * R - 1).map(
    lambda n: n / 2
)  # corners, edge midpoints and centres of voxels: nothing but ties
corner = st.tuples(halves, halves, halves)


@settings(max_examples=200, deadline=None)
@given(st.lists(corner, min_size=4, max_size=4), st.booleans(), st.sampled_from([snap, torch.clone]))
def test_closed_in_every_column(corners, signed, shape):
    triangles = torch.tensor(corners, dtype=torch.float64)[TETRAHEDRON]
    up = torch.tensor([0.0, 0.0, 1.0])  # the lowest layer of centres sees all crossings
    assert counts_above(shape(triangles + up), R + 2, signed=signed)[..., 0].abs().max() == 0


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(8)), st.lists(halves, min_size=3, max_size=3), st.sampled_from([snap, torch.clone]))
def test_cells_share_no_centre_and_miss_none(numbers, middle, shape):
    """A box cut from an inner point into 12 tetrahedra, with lines and centres on every kind of edge."""
    corners = torch.tensor(list(itertools.product((0.5, 7.5), repeat=3)), dtype=torch.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = []
    for a, b, c, d in quads:
        # Which diagonal cuts a side is drawn; both of its cells use the same.
        faces += [(a, b, c), (a, c, d)] if numbers.index(a) < numbers.index(b) else [(a, b, d), (b, c, d)]
    inner = torch.tensor(middle, dtype=torch.float64).clamp(1, 7)
    total = torch.zeros(R, R, R, dtype=torch.int64)
    for face in faces:
        cell = torch.cat([corners[list(face)], inner[None]])[TETRAHEDRON]
        total += counts_above(shape(cell), R, signed=False)
    whole = counts_above(shape(corners[torch.tensor(faces)]), R, signed=False)
    assert torch.equal(total, whole.long())
    assert int(whole.sum()) == 7**3  # of the centres on two opposite sides, one side's are inside


@pytest.mark.parametrize("size", [1e-3, 8.0, 700.0])
def test_edge_functions_of_snapped_corners_are_exact(size):
    generator = torch.Generator().manual_seed(0)
    a, b, _ = snap(size * torch.randn(50, 3, 3, generator=generator, dtype=torch.float64)).unbind(1)
    found = edge_function(a, b, torch.tensor(3.5), torch.tensor(5.5))
    for value, start, end in zip(found.tolist(), a.tolist(), b.tolist(), strict=True):
        (ax, ay, _), (bx, by, _) = (map(Fraction, p) for p in (start, end))
        assert value == (bx - ax) * (Fraction(11, 2) - ay) - (by - ay) * (Fraction(7, 2) - ax)


def test_sign_is_that_of_the_side_seen_from_above():
    triangle = torch.tensor([[[0.0, 0, 2], [8, 0, 2], [0, 8, 2]]], dtype=torch.float64)
    up = counts_above(snap(triangle), R, signed=True)
    assert up[1, 1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert torch.equal(counts_above(snap(triangle.flip(1)), R, signed=True), -up)


@pytest.mark.parametrize("budget", [1, 7, 100])
def test_chunks_change_nothing(budget, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    triangles = snap(torch.rand(50, 3, 3, generator=generator, dtype=torch.float64) * 8)
    whole = counts_above(triangles, R, signed=True)
    monkeypatch.setattr("cotan_voxels.grid.BUDGET", budget)
    assert torch.equal(counts_above(triangles, R, signed=True), whole)


def test_outside_the_grid_is_cut_off():
    triangle = torch.tensor([[[-1e6, -1e6, 3.0], [1e6, -1e6, 3], [0, 1e6, 3]]], dtype=torch.float64)
    above = counts_above(snap(triangle), R, signed=True)
    assert torch.equal(above, (torch.arange(R) < 3).to(torch.int16).expand(R, R, R))
