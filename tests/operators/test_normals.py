import numpy as np
import pytest
import torch

from cotan.operators.normals import angles, face_normals, unit, vertex_normals
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
    torch.testing.assert_close(angles(t.area, t.dots).sum(0), torch.full_like(t.area, np.pi))


def test_angles_do_not_depend_on_where_their_triangle_stands(bumpy):
    t = triangles(*bumpy())
    alone = [angles(t.area[f : f + 1], t.dots[:, f : f + 1]) for f in range(200)]
    assert torch.equal(torch.cat(alone, 1), angles(t.area, t.dots)[:, :200])


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
