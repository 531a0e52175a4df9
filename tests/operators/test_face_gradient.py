import numpy as np
import torch

from cotan.operators.checks import check_mesh
from cotan.operators.face_areas import face_areas
from cotan.operators.face_gradient import divergence, face_gradient
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.triangles import triangles


def test_laplacian_is_minus_divergence_of_gradient(hard):
    pos, face = hard
    L = cotan_laplacian(pos, face).to_scipy()
    DG = divergence(pos, face).to_scipy() @ face_gradient(pos, face).to_scipy()
    assert abs(L + DG).max() <= 1e-12 * max(abs(L).max(), 1)


def test_laplacian_is_gradient_squared_by_areas(bumpy):
    pos, face = bumpy()
    G = face_gradient(pos, face).to_dense()
    A = face_areas(pos, face).repeat_interleave(3)
    torch.testing.assert_close(G.T @ (A[:, None] * G), cotan_laplacian(pos, face).to_dense())


def test_divergence_is_minus_gradient_transposed_by_areas_with_their_floor(hard):
    pos, face = hard
    t = triangles(*check_mesh(pos, face))
    G, D = (operator(pos, face).to_scipy() for operator in (face_gradient, divergence))
    A = t.floored.repeat_interleave(3).numpy()[:, None]
    off = (D.T + G.multiply(A)).tocsr()
    assert np.abs(off.data).max(initial=0) <= 1e-12 * np.abs(D.data).max(initial=0)
    flat = (t.floored > face_areas(pos, face)) | (t.floored == 0)
    assert torch.equal(flat, t.flat)


def test_linear_function(bumpy):
    pos, face = bumpy()
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = (face_gradient(pos, face) @ (pos @ slope)).view(-1, 3)
    n = torch.linalg.cross(pos[face[1]] - pos[face[0]], pos[face[2]] - pos[face[0]])
    n = n / n.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, slope - (n @ slope)[:, None] * n)


def test_against_libigl(real):
    import igl

    pos, face = real
    theirs = igl.grad(pos.numpy(), face.T.numpy()).tocsr()  # rows by component, then face
    faces = face.shape[1]
    theirs = theirs[np.arange(3 * faces).reshape(3, faces).T.reshape(-1)]
    assert abs(face_gradient(pos, face).to_scipy() - theirs).max() < 1e-6 * abs(theirs).max()


def test_divergence_of_a_radial_field(square):
    pos, face = square(9)
    field = pos[face].mean(0).reshape(-1)
    total = divergence(pos, face) @ field
    inside = ((pos[:, :2] > 0) & (pos[:, :2] < 1)).all(1)
    torch.testing.assert_close(total[inside], torch.full_like(total[inside], 2 / 64))
    assert abs(total.sum()) < 1e-12  # what is made inside leaves over the rim


def test_hard(hard, finite_or_refused):
    finite_or_refused(face_gradient, *hard)
    finite_or_refused(divergence, *hard)


def test_derivative(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: face_gradient(p, face).values, pos.clone().requires_grad_())
