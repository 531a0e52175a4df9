"""Patterns carried between shapes."""

import pytest
import torch

import cotan
from cotan_datasets.edges import crossing_waves, edges, examples


def test_the_same_patterns_on_new_poses_and_triangles():
    splits = edges(vertices=300, patterns=2)
    here = splits.train[0]
    pose, triangles = splits.stress["new pose"][0], splits.stress["new triangles"][0]
    assert torch.equal(pose.face, here.face)
    assert torch.equal(pose.x, here.x)  # a pattern sticks to the body
    assert not torch.allclose(pose.pos, here.pos, atol=1e-2)
    assert triangles.face.shape != here.face.shape or not torch.equal(triangles.face, here.face)
    assert not torch.equal(splits.stress["new patterns"][0].x, here.x)
    assert all(abs(shape.y.double().mean() - 0.5) < 0.01 for shapes in splits.lists().values() for shape in shapes)
    # Where the body is the same, so is the pattern: the nearest vertex of the other triangulation agrees.
    nearest = torch.cdist(triangles.pos, here.pos).min(1)
    close = nearest.values < nearest.values.quantile(0.2)
    agree = (triangles.x - here.x[nearest.indices])[close].abs().mean()
    apart = (triangles.x - here.x[: len(triangles.x)])[close].abs().mean()
    assert agree < 0.3 * apart


def test_edges_are_where_a_linear_wave_turns():
    from torch_geometric.data import Data

    line = torch.linspace(0, 1, 33, dtype=torch.float64)
    pos = torch.cat([torch.cartesian_prod(line, line), torch.zeros(33**2, 1, dtype=torch.float64)], 1)
    i = torch.arange(33**2).view(33, 33)
    a, b, c, d = (part.flatten() for part in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    data = Data(pos=pos.float(), face=torch.cat([torch.stack([a, b, c]), torch.stack([a, c, d])], 1), body=pos)
    frequency = torch.zeros(2, 3, 1, dtype=torch.float64)
    frequency[0, 0] = 2 * torch.pi  # sin(2 pi x): steepest at x = 0, 1/2 and 1
    shape = examples(data, torch.tensor(1.0), (frequency, torch.zeros(2, 1, 1, dtype=torch.float64)))[0]
    grid = shape.y.view(33, 33)[1:-1, 1:-1].double().mean(1)  # by x, without the rim
    assert grid[15] == 1  # x = 1/2
    assert grid[7] == grid[23] == 0  # x = 1/4 and 3/4, the crests


def test_waves_repeat_and_bad_options_are_refused():
    assert torch.equal(crossing_waves(3, 5)[0], crossing_waves(3, 5)[0])
    assert not torch.equal(crossing_waves(3, 5)[0], crossing_waves(3, 6)[0])
    with pytest.raises(cotan.CotanError, match="patterns=0"):
        edges(patterns=0)
