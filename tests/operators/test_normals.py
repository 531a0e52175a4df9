import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.operators.neighbours import nearest_neighbours
from cotan.operators.normals import cloud_normals, face_normals, unit, vertex_normals
from cotan.operators.triangles import triangles

WEIGHTS = pytest.mark.parametrize("weight", ["area", "angle"])


@WEIGHTS
def test_of_a_sphere_is_the_position(weight, icosphere):
    pos, face = icosphere(3)
    torch.testing.assert_close(vertex_normals(pos, face, weight=weight), pos, rtol=0, atol=0.02)


@WEIGHTS
def test_of_a_cube_corner(weight):
    # The corner's three squares, one of them halved otherwise: only by angles is the normal (1, 1, 1).
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1.0]])
    face = torch.tensor([[0, 1, 4], [0, 4, 2], [0, 2, 5], [0, 5, 3], [0, 3, 1], [3, 6, 1]]).T
    n = vertex_normals(pos, face, weight=weight)[0]
    assert torch.allclose(n, torch.full((3,), 3**-0.5, dtype=torch.float64)) == (weight == "angle")


@pytest.mark.parametrize(("weight", "theirs"), [("area", "AREA"), ("angle", "ANGLE")])
def test_against_libigl(weight, theirs, real):
    import igl

    pos, face = real
    expected = igl.per_vertex_normals(
        pos.numpy(), face.T.numpy(), getattr(igl, f"PER_VERTEX_NORMALS_WEIGHTING_TYPE_{theirs}")
    )
    used = torch.unique(face).numpy()
    ours = vertex_normals(pos, face, weight=weight).numpy()[used]
    close = np.abs(ours - expected[used]).max(1) < 1e-6
    assert close.mean() > 0.9999  # fold-over corners, where normals cancel, are left to rounding


@WEIGHTS
def test_hard(weight, hard, finite_or_refused):
    n = finite_or_refused(vertex_normals, *hard, weight=weight).norm(dim=1)
    assert (((n - 1).abs() < 1e-12) | (n == 0)).all()
    n = finite_or_refused(face_normals, *hard).norm(dim=1)
    assert (((n - 1).abs() < 1e-12) | (n == 0)).all()


def test_angles_of_a_triangle_sum_to_pi(bumpy):
    t = triangles(*bumpy())
    torch.testing.assert_close(t.angles.sum(0), torch.full_like(t.area, np.pi))


def test_angles_do_not_depend_on_where_their_triangle_stands(bumpy):
    pos, face = bumpy()
    alone = [triangles(pos, face[:, f : f + 1]).angles for f in range(200)]
    assert torch.equal(torch.cat(alone, 1), triangles(pos, face).angles[:, :200])


@WEIGHTS
@pytest.mark.parametrize("place", [False, True])
def test_faces_without_area_have_no_normal_and_no_say(weight, place, bumpy):
    pos, face = bumpy()
    first, second = face[:2, :50]
    third = torch.tensor(len(pos)).expand(50) + torch.arange(50) if place else first
    more = torch.cat([pos, pos[first]]) if place else pos
    every = torch.cat([face, torch.stack([first, third, second])], 1)
    assert (face_normals(more, every)[-50:] == 0).all()
    normals = vertex_normals(more, every, weight=weight)
    torch.testing.assert_close(normals[: len(pos)], vertex_normals(pos, face, weight=weight))
    assert (normals[len(pos) :] == 0).all()


@WEIGHTS
def test_normals_of_a_shape_drawn_from_both_sides_cancel(weight, bumpy):
    pos, face = bumpy()
    assert (vertex_normals(pos, torch.cat([face, face.flip(0)], 1), weight=weight) == 0).all()


@WEIGHTS
def test_turns_with_the_shape(weight, bumpy, rotation):
    pos, face = bumpy()
    turned = vertex_normals(3 * pos @ rotation[0].T + rotation[1], face, weight=weight)
    torch.testing.assert_close(turned, vertex_normals(pos, face, weight=weight) @ rotation[0].T)


@WEIGHTS
def test_gradient(weight, bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: vertex_normals(p, face, weight=weight), pos.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda p: face_normals(p, face), pos.clone().requires_grad_())


def test_unit_vectors_of_all_sizes():
    v = torch.tensor([[3e-300, 4e-300, 0], [3e300, 0, 4e300], [0, 0, 0]], dtype=torch.float64, requires_grad=True)
    n = unit(v)
    torch.testing.assert_close(n, torch.tensor([[0.6, 0.8, 0], [0.6, 0, 0.8], [0, 0, 0]], dtype=torch.float64))
    (n[2].sum()).backward()
    assert torch.isfinite(v.grad).all()


def on_sphere(size: int, seed: int = 0) -> torch.Tensor:
    return unit(torch.randn(size, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_of_points_on_a_sphere_is_the_position(scale):
    p = on_sphere(2000)
    n = cloud_normals(5 * scale + scale * p, nearest_neighbours(p))
    torch.testing.assert_close(n.norm(dim=1), torch.ones(2000, dtype=torch.float64))
    assert float((n * p).sum(1).min()) > 0.98


def test_of_points_against_numpys_singular_vectors():
    p = torch.rand(60, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    edges = nearest_neighbours(p, k=9)
    n = cloud_normals(p, edges)
    for i in range(60):
        part = torch.cat([p[i : i + 1], p[edges[0][edges[1] == i]]]).numpy()
        axis = torch.from_numpy(np.linalg.svd(part - part.mean(0))[2][2])
        assert abs(float(n[i] @ axis)) == pytest.approx(1, abs=1e-9)
        assert float(n[i] @ (p[i] - p.mean(0))) >= 0


def test_points_of_one_line_and_place_have_no_normal():
    line = torch.arange(20.0, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    for p in (line, line[:1], line[:2], torch.ones(20, 3)):
        assert not cloud_normals(p, nearest_neighbours(p)).any()
    with pytest.raises(cotan.CotanError, match="vertex_normals, kind='cloud' has no derivative"):
        cloud_normals(line.requires_grad_(), nearest_neighbours(line))


def test_points_take_their_own_normals_first():
    p = on_sphere(50)
    own = torch.roll(2 * p, 1, 0)
    data = Data(pos=p, normal=own)
    given = cotan.compute(data, "vertex_normals", dtype=torch.float64)
    torch.testing.assert_close(given, own / 2)
    torch.testing.assert_close(cotan.compute(data, "tangent_frames", dtype=torch.float64)[:, 2], given)
    with pytest.raises(cotan.CotanError, match=r"normal: expected finite numbers of shape \(50, 3\), got \(50, 2\)"):
        cotan.compute(Data(pos=p, normal=own[:, :2]), "vertex_normals")
