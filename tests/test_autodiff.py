import pytest
import torch

import cotan
from cotan import autodiff


def counted(f):
    def g(x):
        g.calls += 1
        return f(x)

    g.calls = 0
    return g


@pytest.mark.parametrize(
    ("n", "m", "mode"), [(2, 7, "forward"), (7, 2, "reverse"), (3, 3, "reverse"), (1, 5, "forward"), (5, 1, "reverse")]
)
def test_the_cheaper_direction_and_its_traversals(n, m, mode):
    """n traversals forward, m in reverse, as chapter 5.3.4 of the notes derives."""
    torch.manual_seed(0)
    w = torch.randn(m, n, dtype=torch.float64)
    f = counted(lambda x: torch.sin(w @ x))
    x = torch.randn(n, dtype=torch.float64)
    J = autodiff.jacobian(f, x)
    assert (J.mode, J.traversals) == (mode, min(n, m))
    assert f.calls == (1 if mode == "reverse" else n + 1)  # one evaluation finds m, and serves reverse mode
    assert torch.allclose(J.matrix, torch.cos(w @ x)[:, None] * w)


@pytest.mark.parametrize("layer", ["spectral", "linear"])
def test_both_jacobians_of_a_model_agree(layer, tetrahedron):
    torch.manual_seed(0)
    options = {"k": 3} if layer == "spectral" else {}
    model = cotan.create_model(layer, in_dim=3, out_dim=4, width=5, depth=2, **options).double()
    f = autodiff.along(model, tetrahedron)
    x = tetrahedron.pos.double() + 0.1 * torch.randn(4, 3, dtype=torch.float64)
    forward, reverse = (autodiff.jacobian(f, x, mode=mode) for mode in ("forward", "reverse"))
    assert (forward.traversals, reverse.traversals) == (12, 4)
    assert forward.matrix.shape == (1, 4, 4, 3)
    assert forward.matrix.abs().max() > 1e-3
    assert torch.allclose(forward.matrix, reverse.matrix, atol=1e-5)


def test_a_node_by_its_vertices_against_differences(tetrahedron):
    x = tetrahedron.pos.double()
    area = autodiff.along("mass", tetrahedron)
    direction = torch.randn_like(x)
    _, change = autodiff.forward(lambda p: area(p).sum(), x, direction)
    _, gradient = autodiff.reverse(lambda p: area(p).sum(), x)
    difference = (area(x + 1e-6 * direction).sum() - area(x - 1e-6 * direction).sum()) / 2e-6
    assert torch.allclose(change, difference, atol=1e-6)
    assert torch.allclose((gradient * direction).sum(), difference, atol=1e-6)


def test_what_is_asked_wrongly_is_said():
    with pytest.raises(cotan.CotanError, match=r"mode='backward', expected auto, forward or reverse"):
        autodiff.jacobian(torch.sin, torch.ones(2), mode="backward")
    with pytest.raises(cotan.CotanError, match=r"give a cotangent"):
        autodiff.reverse(torch.sin, torch.ones(2))
    with pytest.raises(cotan.CotanError, match=r"tangent of shape \(1,\) for an input of shape \(2,\)"):
        autodiff.forward(torch.sin, torch.ones(2), torch.ones(1))  # which would broadcast
    for traverse in (autodiff.jacobian, autodiff.reverse):
        with pytest.raises(cotan.CotanError, match="f gives a list; a derivative is taken of a tensor"):
            traverse(lambda x: [x], torch.ones(2))
    with pytest.raises(cotan.CotanError, match=r"the data has no 'x'; it has: pos"):
        from torch_geometric.data import Data

        autodiff.along("mass", Data(pos=torch.ones(1, 3)), wrt="x")


@pytest.mark.parametrize("learned", [False, True])
def test_a_function_that_ignores_its_input_has_derivative_zero(learned):
    constant = torch.ones(3, requires_grad=learned)
    assert not autodiff.jacobian(lambda x: constant, torch.ones(2), mode="reverse").matrix.any()
    assert not autodiff.jacobian(lambda x: constant, torch.ones(2), mode="forward").matrix.any()


def test_the_jacobian_of_nothing():
    nothing = autodiff.jacobian(lambda x: x[:0], torch.ones(2))
    assert (nothing.matrix.shape, nothing.mode, nothing.traversals) == ((0, 2), "reverse", 0)


@pytest.mark.parametrize("inside", [torch.no_grad, torch.inference_mode])
def test_derivatives_where_autograd_is_off(inside):
    with inside():
        x = torch.tensor([1.0, 2.0])
        assert autodiff.forward(torch.square, x, torch.ones(2))[1].tolist() == [2, 4]
        assert autodiff.reverse(lambda x: x.square().sum(), x)[1].tolist() == [2, 4]
        for mode in ("forward", "reverse"):
            assert autodiff.jacobian(torch.square, x, mode=mode).matrix.tolist() == [[2, 0], [0, 4]]
    assert not x.requires_grad
