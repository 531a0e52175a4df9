import pytest
import torch

from cotan.operators.laplacian import cotan_laplacian

X = torch.float64


def test_two_equilateral_triangles():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0.5, 3**0.5 / 2, 0], [0.5, -(3**0.5) / 2, 0]], dtype=X)
    face = torch.tensor([[0, 1, 2], [1, 0, 3]]).T
    half = 1 / 3**0.5 / 2  # cot 60 degrees, halved
    expected = torch.tensor([[4, -2, -1, -1], [-2, 4, -1, -1], [-1, -1, 2, 0], [-1, -1, 0, 2]], dtype=X) * half
    torch.testing.assert_close(cotan_laplacian(pos, face).to_dense(), expected)


def test_energy_of_a_linear_function_is_area(square):
    pos, face = square(7)
    L = cotan_laplacian(pos, face)
    f = pos @ torch.tensor([3.0, 4.0, 0.0], dtype=X)
    assert (f @ (L @ f)).item() == pytest.approx(25)


def test_against_libigl(real):
    import igl

    pos, face = real
    theirs = -igl.cotmatrix(pos.numpy(), face.T.numpy())
    difference = abs(cotan_laplacian(pos, face).to_scipy() - theirs).max()
    assert difference < 1e-6 * abs(theirs).max()


def test_hard(hard):
    pos, face = hard
    L = cotan_laplacian(pos, face)
    assert torch.isfinite(L.values).all()
    size = L.values.abs().max()
    assert L.sum_rows().abs().max() <= 1e-12 * size
    assert (L.values - L.T.values).abs().max() <= 1e-12 * size
    x = torch.randn(len(pos), 16, dtype=X, generator=torch.Generator().manual_seed(0))
    for _ in range(3):  # towards rough functions and back: energies stay positive
        energy = (x * (L @ x)).sum(0)
        assert (energy >= -1e-10 * size * (x * x).sum(0)).all()
        x = x / x.norm(dim=0) + (L @ x) / (size + 1e-300)


def test_small_hard_meshes_are_positive_semidefinite():
    # A flat cap, a needle, a point, a repeated vertex and a collinear face, beside a healthy one.
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0.4, 1e-14, 0], [0, 1, 0], [1e-13, 1, 0], [0, 0, 0], [2, 0, 0]], dtype=X)
    face = torch.tensor([[0, 1, 2], [0, 3, 4], [0, 5, 0], [1, 1, 3], [0, 1, 6], [0, 1, 3], [0, 5, 5]]).T
    L = cotan_laplacian(pos, face).to_dense()
    assert torch.isfinite(L).all()
    values = torch.linalg.eigvalsh(L)
    assert values[0] > -1e-10 * values[-1]


def test_vertex_on_a_side_is_held_at_the_linear_interpolation():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0.25, 0, 0]], dtype=X)
    L = cotan_laplacian(pos, torch.tensor([[0], [1], [2]])).to_dense()
    linear = torch.tensor([0, 1, 0.25], dtype=X)
    bent = torch.tensor([0, 1, 0.5], dtype=X)
    assert (linear @ L @ linear).abs() < 1e-9
    assert bent @ L @ bent > 1e3


def test_rigid_motion_and_scale(bumpy, rotation):
    pos, face = bumpy()
    L = cotan_laplacian(pos, face)
    moved = cotan_laplacian(7.5 * (pos @ rotation[0].T + rotation[1]), face)
    torch.testing.assert_close(L.values, moved.values, rtol=1e-9, atol=1e-11)


def test_permutation(bumpy):
    pos, face = bumpy()
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(1))
    place = torch.argsort(order)
    dense = cotan_laplacian(pos, face).to_dense()
    permuted = cotan_laplacian(pos[order], place[face][[1, 2, 0]].flip(1)).to_dense()
    torch.testing.assert_close(permuted, dense[order][:, order])


def test_gradient_of_positions(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: cotan_laplacian(p, face).values, pos.clone().requires_grad_())


def test_gradient_is_finite_on_flat_faces():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0.25, 0, 0], [0, 0, 0]], dtype=X, requires_grad=True)
    cotan_laplacian(pos, torch.tensor([[0, 1, 2], [0, 0, 3]]).T).values.square().sum().backward()
    assert torch.isfinite(pos.grad).all()
