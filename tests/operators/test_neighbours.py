import pytest
import torch

from cotan.errors import CotanError
from cotan.operators import neighbours
from cotan.operators.neighbours import nearest, nearest_neighbours, radius_neighbours


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    return "cpu" if request.param == "cpu" else request.getfixturevalue("gpu")


def cloud(size=150, seed=0):
    return torch.rand(size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def distances(pos):
    return (pos[:, None] - pos).norm(dim=2)


@pytest.mark.parametrize("size", [1, 1e-7])
def test_nearest_by_all_distances(device, size):
    """Small ones far from the origin too: inner products would lose their digits."""
    pos = 1 + size * cloud().to(device)
    found = nearest_neighbours(pos, k=7)
    expected = distances(pos).fill_diagonal_(9).topk(7, largest=False).indices
    assert torch.equal(found[0].view(-1, 7), expected)
    assert torch.equal(found[1].view(-1, 7)[:, 0], torch.arange(len(pos), device=device))


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_radius_by_all_distances(device, limit, monkeypatch):
    monkeypatch.setattr(neighbours, "CHUNK", 1000)
    pos = cloud().to(device)
    source, target = radius_neighbours(pos, radius=0.2, limit=limit)
    far = distances(pos).fill_diagonal_(9)
    for i in range(len(pos)):
        order = far[i].argsort()
        expected = order[: int((far[i] <= 0.2).sum())][:limit]
        assert torch.equal(source[target == i], expected)


def test_where_many_are_within_the_distance_a_limit_lists_no_more(monkeypatch):
    """A scan has thousands within a metre of each point near the scanner."""
    monkeypatch.setattr(neighbours, "_within", None)
    expected = distances(cloud()).fill_diagonal_(9).topk(3, largest=False).indices
    assert torch.equal(radius_neighbours(cloud(), radius=2.0, limit=3)[0].view(-1, 3), expected)


def test_at_just_the_distance_and_one_neighbour(device):
    pos = torch.tensor([[0.0, 0, 0], [2, 0, 0], [5, 0, 0]], device=device)
    assert radius_neighbours(pos, radius=2.0).tolist() == [[1, 0], [0, 1]]
    assert nearest_neighbours(pos, k=1).tolist() == [[1, 0, 1], [0, 1, 2]]


def test_points_at_one_place():
    pos = torch.cat([torch.zeros(6, 3), torch.ones(1, 3)])
    source, target = nearest_neighbours(pos, k=3)
    assert (source != target).all()
    assert torch.bincount(target).tolist() == [3] * 7
    assert (source.view(-1, 3).sort(1).values.diff(dim=1) > 0).all()
    assert radius_neighbours(pos, radius=0.5).shape == (2, 30)


def test_fewer_points_than_asked():
    assert nearest_neighbours(cloud(4), k=10).shape == (2, 12)
    assert nearest_neighbours(cloud(1), k=10).shape == (2, 0)
    assert radius_neighbours(cloud(1)).shape == (2, 0)


def test_the_chamfer_distance_has_derivatives(device):
    a, b = cloud(40).requires_grad_(), cloud(30, 2).requires_grad_()
    here, there = a.to(device), b.to(device)
    found = nearest(here, there)[0].square().mean() + nearest(there, here)[0].square().mean()
    square = (a[:, None] - b).square().sum(2)
    expected = square.amin(0).mean() + square.amin(1).mean()
    torch.testing.assert_close(found.cpu(), expected)
    torch.testing.assert_close(torch.autograd.grad(found, (a, b)), torch.autograd.grad(expected, (a, b)))
    nearest(here, here)[0].sum().backward()
    assert not a.grad.any()  # no NaN at the point itself


def test_distances_to_a_cloud_of_which_the_points_are_have_second_derivatives():
    points = cloud(5).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda p: nearest(p, p, 3)[0], points)


def test_nearest_to_others():
    points, queries = cloud(80, 1), cloud(30, 2)
    distance, index = nearest(points, queries, 1)
    assert torch.equal(index[:, 0], (queries[:, None] - points).norm(dim=2).argmin(1))
    torch.testing.assert_close(distance[:, 0], (queries - points[index[:, 0]]).norm(dim=1))


def test_points_may_be_arrays():
    """As numpy.loadtxt gives landmarks."""
    pos = cloud()
    _, index = nearest(pos, (pos[[5, 80]] + 1e-3).numpy())
    assert torch.equal(index[:, 0], torch.tensor([5, 80]))
    assert torch.equal(nearest(pos.numpy(), pos.tolist())[1][:, 0], torch.arange(len(pos)))
    with pytest.raises(CotanError, match="nearest: queries is a str, expected numbers"):
        nearest(pos, "landmarks.csv")


def test_refusals():
    with pytest.raises(CotanError, match="k=0"):
        nearest_neighbours(cloud(5), k=0)
    with pytest.raises(CotanError, match="radius=0"):
        radius_neighbours(cloud(5), radius=0)
    with pytest.raises(CotanError, match="limit=0, expected a whole number of at least 1"):
        radius_neighbours(cloud(5), limit=0)
    with pytest.raises(CotanError, match="k=6 of 5 points"):
        nearest(cloud(5), cloud(2), 6)
    with pytest.raises(CotanError, match=r"expected shape \(V, 3\), got \(2, 2\)"):
        nearest(cloud(5), cloud(2)[:, :2])
