import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cotan.errors import CotanError
from cotan.operators import nearest_on_surface, nearest_on_triangles


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    return "cpu" if request.param == "cpu" else request.getfixturevalue("gpu")


def around(pos, size=300, seed=0):
    """Some far away, some among the faces, some near a vertex and some on it."""
    random = torch.Generator().manual_seed(seed)
    span = pos.amax(0) - pos.amin(0)
    away = torch.randn(size, 3, generator=random, dtype=torch.float64) * span.norm()
    at = pos[torch.randint(len(pos), (size,), generator=random)]
    return torch.cat([at + scale * away for scale in (3, 0.3, 1e-3, 0)])


def same_as_igl(points, pos, face):
    igl = pytest.importorskip("igl")
    squared, *_ = igl.point_mesh_squared_distance(points.numpy(), pos.numpy(), face.T.contiguous().numpy())
    found = nearest_on_surface(points, pos, face)
    size = (pos.amax(0) - pos.amin(0)).norm().item()
    torch.testing.assert_close(found.distance, torch.from_numpy(squared).sqrt(), rtol=1e-12, atol=1e-14 * size)
    corners = pos[face[:, found.of_face]]  # (3, N, 3)
    torch.testing.assert_close(found.pos, (found.barycentric.T[:, :, None] * corners).sum(0))
    torch.testing.assert_close(found.distance, (points - found.pos).norm(dim=1), rtol=1e-9, atol=1e-12 * size)
    assert (found.barycentric >= 0).all()
    torch.testing.assert_close(found.barycentric.sum(1), torch.ones(len(points), dtype=torch.float64))


def test_on_real_meshes(real):
    pos, face = real
    same_as_igl(around(pos), pos, face)


def test_on_damaged_meshes(hard):
    pos, face = hard
    pos = pos.double()
    same_as_igl(around(pos), pos, face)


def test_far_from_the_origin(bumpy):
    """As metres of UTM are."""
    pos, face = bumpy()
    points = around(pos)
    near, there = nearest_on_surface(points, pos, face), nearest_on_surface(points + 5e6, pos + 5e6, face)
    torch.testing.assert_close(there.distance, near.distance, rtol=0, atol=1e-8)


def test_among_slivers_beside_huge_faces():
    """All distances, by the function of pairs."""
    random = torch.Generator().manual_seed(0)
    middle, one, other, off = torch.randn(4, 400, 3, generator=random, dtype=torch.float64)
    soup = torch.stack([middle, middle + one, middle + one + 1e-3 * off], 1)
    soup[:5] = 1e5 * torch.stack([middle[:5], one[:5], other[:5]], 1)
    points = torch.randn(50, 3, generator=random, dtype=torch.float64)
    every, _ = nearest_on_triangles(points.repeat_interleave(400, 0), soup.repeat(50, 1, 1))
    found = nearest_on_surface(points, soup.view(-1, 3), torch.arange(1200).view(-1, 3).T)
    assert torch.equal(found.of_face, every.view(50, 400).argmin(1))
    assert torch.equal(found.distance, every.view(50, 400).amin(1))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([1e-6, 1.0, 1e6]), st.booleans())
def test_no_point_of_a_face_is_nearer(seed, size, flat):
    random = torch.Generator().manual_seed(seed)
    pos = size * torch.randn(12, 3, generator=random, dtype=torch.float64)
    if flat:  # all in a plane, on a line or at a point
        pos[:, seed % 3 :] = 0
    face = torch.randint(12, (3, 9), generator=random)
    points = size * torch.randn(6, 3, generator=random, dtype=torch.float64)
    step = torch.arange(21, dtype=torch.float64) / 20
    v, w = (t[step[:, None] + step <= 1 + 1e-9] for t in torch.meshgrid(step, step, indexing="ij"))
    dense = torch.einsum("kn,kfc->nfc", torch.stack([1 - v - w, v, w]), pos[face])
    least = torch.cdist(points, dense.reshape(-1, 3)).amin(1)
    found = nearest_on_surface(points, pos, face)
    assert (found.distance <= least * (1 + 1e-9) + 1e-9 * size).all()


def test_by_hand(device):
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]], device=device)
    points = [[0.25, 0.25, 2], [-1, -1, 0], [2, -1, 0], [0.5, -3, 0], [1, 1, 0], [-2, 0.5, 0], [0, 0, 0]]
    found = nearest_on_surface(torch.tensor(points, device=device), pos, torch.tensor([[0], [1], [2]], device=device))
    expected = [[0.5, 0.25, 0.25], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [1, 0, 0]]
    assert found.barycentric.tolist() == expected
    assert not found.of_face.any()
    far = [2, 2**0.5, 2**0.5, 3, 0.5**0.5, 2, 0]
    torch.testing.assert_close(found.distance.cpu(), torch.tensor(far, dtype=torch.float64))


def test_faces_without_area_are_segments_and_points():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [9, 9, 9]], dtype=torch.float64)
    face = torch.tensor([[0, 1, 3, 0], [1, 2, 3, 2], [1, 0, 3, 1]])
    found = nearest_on_surface([[2.0, 1, 0], [10, 9, 9], [0.5, 0, 1]], pos, face)
    assert found.of_face.tolist() == [1, 2, 0]
    assert found.distance.tolist() == [1, 1, 1]
    assert found.pos.tolist() == [[2, 0, 0], [9, 9, 9], [0.5, 0, 0]]


def test_of_equally_near_faces_the_lowest(bumpy, rotation):
    """At vertices, over sides and among copies, also where rounding differs from face to face."""
    pos, face = bumpy(1)
    turn, shift = rotation
    pos = pos @ turn.T + shift
    side = (pos[face[0]] + pos[face[1]]) / 2
    points = torch.cat([pos, side, side + 0.1 * (side - pos.mean(0))])
    every, _ = nearest_on_triangles(points.repeat_interleave(face.shape[1], 0), pos[face.T].repeat(len(points), 1, 1))
    every = every.view(len(points), -1)
    expected = (every <= every.amin(1, keepdim=True) + 1e-14).int().argmax(1)
    assert torch.equal(nearest_on_surface(points, pos, face).of_face, expected)
    assert torch.equal(nearest_on_surface(points, pos, torch.cat([face, face], 1)).of_face, expected)
    assert torch.equal(nearest_on_surface(points, pos, face.roll(1, 0)).of_face, expected)


def test_parts_and_one_point_at_a_time_give_the_same(bumpy, monkeypatch):
    pos, face = bumpy()
    points = around(pos, 20)
    found = nearest_on_surface(points, pos, face)
    monkeypatch.setattr(sys.modules["cotan.operators.nearest_on_surface"], "CHUNK", 50)
    for got, whole in zip(nearest_on_surface(points, pos, face), found, strict=True):
        assert torch.equal(got, whole)
    assert torch.equal(nearest_on_surface(points[5:6], pos, face).distance, found.distance[5:6])


def test_derivatives(bumpy):
    pos, face = bumpy(0)
    points = around(pos, 4)[:12].clone().requires_grad_()
    pos = pos.clone().requires_grad_()

    def places(points, pos):
        found = nearest_on_surface(points, pos, face)
        return found.distance, found.barycentric, found.pos

    regions = (nearest_on_surface(points, pos, face).barycentric > 0).sum(1)
    assert set(regions.tolist()) == {1, 2, 3}
    assert torch.autograd.gradcheck(places, (points, pos), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(places, (points, pos))


def test_derivatives_on_the_surface_and_of_faces_without_area(bumpy):
    pos, face = bumpy(0)
    face = torch.cat([face[:, :1].expand(3, 2) * 0 + face[0, 0], face], 1)  # a point, twice
    face[1, 1] = face[1, 2]  # and a segment
    pos = pos.clone().requires_grad_()
    found = nearest_on_surface(pos, pos, face)
    total = found.distance.sum() + found.pos.square().sum()
    (first,) = torch.autograd.grad(total, pos, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), pos)
    assert first.isfinite().all()
    assert second.isfinite().all()
    assert not torch.autograd.grad(nearest_on_surface(pos, pos, face).distance.sum(), pos)[0].any()


def test_float32_and_arrays(bumpy):
    pos, face = bumpy()
    points = around(pos, 10).float()
    found = nearest_on_surface(points, pos.float(), face)
    assert found.distance.dtype == torch.float64
    again = nearest_on_surface(points.numpy(), pos.float().numpy(), np.asarray(face))
    assert torch.equal(found.distance, again.distance)


def test_refusals(bumpy):
    pos, face = bumpy(0)
    for points, text in (
        (pos[:0], ": a shape without vertices"),
        (pos[:, :2], r": expected shape \(V, 3\), got \(12, 2\)"),
        (pos[0], r": expected shape \(V, 3\)"),
        (pos * torch.nan, ": 12 of 12 vertices are not finite"),
        ("scan.ply", " is a str, expected numbers"),
    ):
        with pytest.raises(CotanError, match=f"nearest_on_surface: points{text}"):
            nearest_on_surface(points, pos, face)
    with pytest.raises(CotanError, match="without faces"):
        nearest_on_surface(pos, pos, face[:, :0])
    with pytest.raises(CotanError, match="face"):
        nearest_on_surface(pos, pos, face + 1)


def test_torch_func(sphere):
    pos, face = sphere.pos.double(), sphere.face
    points = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def total(points, pos):
        return nearest_on_surface(points, pos, face).distance.square().sum()

    found = torch.func.grad(total, (0, 1))(points, pos)
    expected = torch.autograd.grad(total(points.requires_grad_(), pos.requires_grad_()), (points, pos))
    assert all(map(torch.equal, found, expected))
