import pytest
import torch

import cotan


def test_by_dense_complex_matrices(bumpy):
    layer = cotan.create_layer("cayley", 2, 3, order=3, steps=80, zoom=0.7).double()
    layer.bias.data.uniform_()
    matrix = cotan.inputs(layer, bumpy[0])["rescaled_laplacian"]
    x = torch.randn(300, 2, dtype=torch.float64)
    one = torch.eye(300, dtype=torch.complex128)
    hL = 0.7 * (matrix.to_dense() + torch.eye(300).double()).to(torch.complex128)
    C = torch.linalg.solve(hL + 1j * one, hL - 1j * one)
    W = layer.weight.detach()
    expected = x @ W[0] + layer.bias.detach()
    for j in range(1, 4):
        expected += 2 * (torch.linalg.matrix_power(C, j) @ x.to(C.dtype) @ (W[2 * j - 1] + 1j * W[2 * j])).real
    assert torch.allclose(layer(x, matrix), expected, atol=1e-6)


def test_what_is_left_shrinks_with_each_step(random_graph):
    data = random_graph()
    x = torch.randn(30, 1, dtype=torch.float64)

    def output(steps):
        torch.manual_seed(0)
        layer = cotan.create_layer("cayley", 1, 1, order=1, steps=steps).double()
        return layer(x, **cotan.inputs(layer, data)).detach()

    errors = [float((output(steps) - output(200)).norm()) for steps in (4, 8, 16)]
    for before, after, steps in zip(errors, errors[1:], (4, 8), strict=False):
        assert after < 1.5 * 0.5 ** (steps / 2) * before  # 1 / sqrt(2) a step for h = 1


def test_a_larger_zoom_tells_small_eigenvalues_apart(bumpy):
    u = torch.tensor([0.01, 0.02])
    laplacian = cotan.compute(bumpy[0], "rescaled_laplacian")
    spread = []
    for zoom in (1.0, 20.0):
        torch.manual_seed(0)
        m = cotan.create_layer("cayley", 1, 1, zoom=zoom).multipliers(u, laplacian)
        spread.append(float((m[0] - m[1]).detach().abs()))
    assert spread[1] > 2 * spread[0]


def test_a_vertex_sees_order_times_steps_edges_far(cycle):
    layer = cotan.create_layer("cayley", 1, 1, order=2, steps=2, bias=False)
    x = torch.zeros(20, 1)
    x[0] = 1
    reached = layer(x, **cotan.inputs(layer, cycle(20))).nonzero()[:, 0]
    assert reached.tolist() == [0, 1, 2, 3, 4, 16, 17, 18, 19]


def test_errors():
    for name in ("order", "steps"):
        with pytest.raises(cotan.CotanError, match=f"cayley: {name}=0, expected a whole number of at least 1"):
            cotan.create_layer("cayley", 1, 1, **{name: 0})
    for wrong in (0.0, float("nan"), float("inf")):
        with pytest.raises(cotan.CotanError, match=f"cayley: zoom={wrong}, expected a positive number"):
            cotan.create_layer("cayley", 1, 1, zoom=wrong)
