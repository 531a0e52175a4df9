import pytest
import torch
from torch_geometric.data import Batch, Data

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


@pytest.mark.parametrize("what", ["spectrum", "gradient", "coarsen", "nearest", "a batch"])
def test_torch_func_takes_the_same_derivatives(what):
    """Of a mesh large enough that its pattern is sorted by scipy."""
    torch.manual_seed(0)
    d = bumpy_sphere()
    if what == "a batch":
        d = Batch.from_data_list([d, bumpy_sphere(1)])
        f = autodiff.along(cotan.create_model("spectral", in_dim=3, out_dim=4, width=5, depth=2, k=3).double(), d)
    else:
        f = {
            "spectrum": lambda pos: autodiff.along("spectrum", d, k=6)(pos).vectors.abs(),
            "gradient": lambda pos: autodiff.along("gradient", d)(pos).x.values,
            "coarsen": lambda pos: autodiff.along("coarsen", d)(pos).pos,
            "nearest": lambda pos: cotan.operators.nearest(pos, pos * 1.1 + 0.3, 2)[0],
        }[what]
    weights, tangent = torch.randn_like(f(d.pos)), torch.randn_like(d.pos)
    energy = lambda pos: (f(pos).sin() * weights).sum()  # noqa: E731
    value, expected = autodiff.reverse(energy, d.pos)
    change = autodiff.forward(energy, d.pos, tangent)[1]
    torch.testing.assert_close(torch.func.grad(energy)(d.pos), expected)
    torch.testing.assert_close(torch.func.jvp(energy, (d.pos,), (tangent,)), (value, change))
    f_value, pull = torch.func.vjp(f, d.pos)
    (found,) = torch.func.vmap(pull)(torch.stack([weights, f_value.cos() * weights]))
    torch.testing.assert_close(found[1], expected)


def test_what_torch_func_has_computed_on_the_way_is_kept_as_numbers():
    d = bumpy_sphere(2)
    torch.func.grad(lambda pos: autodiff.along("gradient", d)(pos).x.values.sum())(d.pos)
    cotan.counts(reset=True)
    edges = cotan.compute(d, "edge_index")
    assert cotan.counts()["edge_index"].hits == 1
    assert not torch._C._functorch.is_functorch_wrapped_tensor(edges)


def bumpy_sphere(seed=0):
    import trimesh

    ball = trimesh.creation.icosphere(3)
    pos = torch.from_numpy(ball.vertices * [1, 1.2, 1.4]) + 0.02 * torch.randn(
        len(ball.vertices), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return Data(pos=pos, face=torch.from_numpy(ball.faces.T.copy()))


def test_vmap_over_shapes_is_refused():
    values = torch.rand(2, 12, dtype=torch.float64)
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    with pytest.raises(cotan.CotanError, match=r"torch\.vmap over a shape, expected one shape at a time"):
        torch.func.vmap(lambda v: cotan.Sparse.from_coo(*edges, v[:3], (3, 3)).to_scipy().sum())(values)


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
