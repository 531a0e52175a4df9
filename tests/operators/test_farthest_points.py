import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.farthest_points import farthest_points


def test_on_a_line():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3.5, 0, 0], [7, 0, 0]])
    assert farthest_points(pos, size=9).tolist() == [0, 4, 3, 2, 1]
    assert farthest_points(pos, size=2, start=2).tolist() == [2, 4]


def test_each_is_the_farthest(bumpy):
    pos, _ = bumpy()
    chosen = farthest_points(pos, size=40)
    far = (pos[:, None] - pos[chosen]).norm(dim=2)
    for n in range(1, 40):
        to_sample = far[:, :n].min(1).values
        assert to_sample[chosen[n]] == to_sample.max()
    assert torch.equal(farthest_points(pos, size=10), chosen[:10])


def test_points_at_one_place_come_once_each():
    assert sorted(farthest_points(torch.zeros(6, 3), size=6).tolist()) == list(range(6))


def test_refusals():
    with pytest.raises(CotanError, match="start=5, expected a vertex number from 0 to 4"):
        farthest_points(torch.zeros(5, 3), start=5)
    with pytest.raises(CotanError, match="size=0, expected a whole number of at least 1"):
        farthest_points(torch.zeros(5, 3), size=0)
