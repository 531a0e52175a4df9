import warnings

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan import match
from cotan.operators import point_map
from cotan_datasets.poses import creature


def errors(source, points, truth):
    """Mean distance on the source from where a vertex is sent to where it belongs, by the root of the area."""
    from potpourri3d import MeshHeatMethodDistanceSolver

    solver = MeshHeatMethodDistanceSolver(source.pos.double().numpy(), source.face.T.numpy())
    far = torch.stack([torch.from_numpy(solver.compute_distance(i)) for i in range(source.num_nodes)])
    return float(far[points, truth].mean()) / float(cotan.compute(source, "mass").sum()) ** 0.5


def pair(name):
    """Two poses of one individual on two triangulations, and the vertex of the first at the place of the second's."""
    source, target = (creature(name, 0, pose=i, mesh=i, vertices=600) for i in (0, 3))
    return source, target, torch.cdist(target.body, source.body).argmin(1)


@pytest.mark.parametrize("name", ["giraffe", "human"])
def test_two_poses_of_one_creature(name):
    source, target, truth = pair(name)
    at = torch.linspace(0, target.num_nodes - 1, 6).long()
    told = match(source, target, landmarks=torch.stack([truth[at], at]))
    alone = match(source, target).points
    other = torch.arange(target.num_nodes) % source.num_nodes
    found = [errors(source, points, truth) for points in (told.points, alone, other)]
    print(f"{name}: geodesic error {found[0]:.3f} with six landmarks, {found[1]:.3f} without, {found[2]:.3f} of no map")
    assert told.functional.shape == (100, 100)
    assert found[0] < 0.03
    assert found[1] < 0.1  # here left is told from right
    assert found[2] > 0.3
    assert (source.part[told.points] == target.part).double().mean() > 0.95


@pytest.mark.parametrize("name", ["giraffe", "elephant"])
def test_left_is_told_from_right_by_the_way_faces_lie(name):
    """By signatures alone, of these shapes a third to three quarters are on the other side."""
    for seed in range(2):
        source, target = (creature(name, seed, pose=i, mesh=i, vertices=250) for i in (0, 1))
        points = match(source, target).points
        left, found = target.body[:, 0], source.body[points, 0]
        assert (left * found < 0)[left.abs() > 0.05].double().mean() < 0.2
        target.face = target.face.flip(0)  # inside out
        assert torch.equal(match(source, target).points, points)


def test_an_open_sheet_may_be_bent_the_other_way():
    i, j = torch.meshgrid(torch.arange(24), torch.arange(12), indexing="ij")
    flat = torch.stack([i, j], -1).view(-1, 2) / 12
    corner = (i * 12 + j)[:-1, :-1][~((i > 14) & (j > 5))[:-1, :-1]]  # an L, so that no mirror image fits
    face = torch.stack([corner, corner + 12, corner + 13, corner, corner + 13, corner + 1]).view(2, 3, -1)
    used, face = face.transpose(0, 1).reshape(3, -1).unique(return_inverse=True)
    along, across = flat[used].T
    shapes = [
        Data(pos=torch.stack([(along * b).sin() / b, across, (1 - (along * b).cos()) / b], 1), face=face)
        for b in (0.6, -0.6)
    ]
    points = match(*shapes).points
    assert float((flat[used][points] - flat[used]).norm(dim=1).mean()) < 0.05  # the other way round half the width


@pytest.mark.parametrize("size", [1.02, 1000.0])
def test_sizes_may_differ(size):
    source = creature("giraffe", 0, vertices=400)
    target = source.clone()
    target.pos = source.pos * size
    points, functional = match(source, target)
    assert (points == torch.arange(400)).double().mean() > 0.99
    # A function's coefficients are integrals over vectors that are 1 / size of the source's and an area of size^2.
    torch.testing.assert_close(
        functional.diagonal().abs(), torch.full((100,), size, dtype=torch.float64), rtol=0.01, atol=0
    )


def test_landmarks_stay_in_place_where_shapes_are_not_isometric():
    """Refined without them, the map took landmarks 3.6% of the diagonal away on average."""
    source = creature("giraffe", 0, vertices=500)
    target = source.clone()
    target.pos = source.pos * (1 + 0.5 * torch.sin(3 * source.pos))
    at = cotan.compute(source, "farthest_points", size=12)
    points, functional = match(source, target, landmarks=(at, at.int()))
    assert torch.equal(points[at], at)
    spectra = (cotan.compute(shape, "spectrum", k=100, dtype=torch.float64) for shape in (source, target))
    away = (source.pos[point_map(functional, *spectra)] - source.pos).norm(dim=1)
    assert away[at].mean() < 0.015 * (source.pos.amax(0) - source.pos.amin(0)).norm()


def test_refusals(sphere):
    with pytest.raises(cotan.CotanError, match="start=20 and k=10"):
        match(sphere, sphere, k=10)
    with pytest.raises(cotan.CotanError, match=r"expected landmarks \(2, P\), got \(3,\)"):
        match(sphere, sphere, landmarks=torch.tensor([1, 2, 3]))
    sphere.pos = sphere.pos.clone().requires_grad_()
    match(sphere, sphere, k=20)  # without a warning
    with pytest.raises(cotan.CotanError, match=r"landmarks out of range: vertex numbers -1 to 3, expected 0 to"):
        match(sphere, sphere, landmarks=[[1, 2], [3, -1]])
    with pytest.raises(cotan.CotanError, match=r"landmarks send several vertices to the target's 7, expected one"):
        match(sphere, sphere, landmarks=[[1, 4, 2, 1], [7, 9, 7, 7]])
    match(sphere, sphere, landmarks=[[1, 4, 1], [7, 9, 7]], k=20)


def test_loose_vertices_are_said():
    source, target, _ = pair("giraffe")
    loose = Data(pos=torch.cat([source.pos, torch.rand(2, 3)]), face=source.face)
    with pytest.warns(UserWarning, match="the source falls into 3 parts"):
        match(loose, target, k=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        match(source, target, k=30)
