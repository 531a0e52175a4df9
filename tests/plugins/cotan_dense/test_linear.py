import pytest
import torch

import cotan


def test_by_hand():
    layer = cotan.create_layer("linear", 2, 2, nonlinearity="relu")
    layer.affine.weight.data = torch.tensor([[1.0, 2.0], [-1.0, 0.0]])
    layer.affine.bias.data = torch.tensor([0.5, 0.0])
    out = layer(torch.tensor([[1.0, 1.0], [-2.0, 0.0]]))
    assert out.tolist() == [[3.5, 0.0], [0.0, 2.0]]


def test_softmax_is_over_the_channels_of_each_vertex():
    x = torch.randn(5, 3)
    out = cotan.create_layer("linear", 3, 4, nonlinearity="softmax")(x)
    assert torch.allclose(out.sum(1), torch.ones(5))
    assert (out > 0).all()


def test_a_ridge_function_is_constant_across_its_direction():
    layer = cotan.create_layer("ridge", 3, 1, nonlinearity="tanh").double()
    w = layer.affine.weight[0].detach()
    x = torch.randn(10, 3, dtype=torch.float64)
    across = torch.linalg.cross(w.expand(10, 3), torch.randn(10, 3, dtype=torch.float64))
    assert torch.allclose(layer(x), layer(x + across))
    assert not torch.allclose(layer(x), layer(x + w))


def test_step_has_a_gradient_and_it_is_zero():
    layer = cotan.create_layer("ridge", 1, 1, nonlinearity="step")
    layer.affine.weight.data[:], layer.affine.bias.data[:] = 1.0, 0.0
    x = torch.tensor([[-2.0], [-1e-30], [0.0], [3.0]], requires_grad=True)
    out = layer(x)
    assert out.flatten().tolist() == [0.0, 0.0, 1.0, 1.0]
    out.sum().backward()
    assert not x.grad.any()
    assert not layer.affine.weight.grad.any()
    _, tangent = torch.func.jvp(layer, (x.detach(),), (torch.ones(4, 1),))
    assert not tangent.any()


def test_unknown_activation():
    with pytest.raises(
        cotan.CotanError, match=r"unknown activation 'gauss'\. There is: elu, gelu, none, relu, sigmoid"
    ):
        cotan.create_layer("linear", 2, 2, nonlinearity="gauss")


@pytest.mark.parametrize("name", ["linear", "identity"])
def test_the_identity_has_one_name(name):
    for model in ("mlp", "gcn"):
        with pytest.raises(cotan.CotanError, match=rf"unknown activation {name!r}\. Did you mean 'none' \({name}\)\?"):
            cotan.create_model(model, 2, 2, activation=name)


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "elu", "tanh", "sigmoid", "softmax"])
def test_kit(activation):
    cotan.testing.check_layer("linear", nonlinearity=activation, compile=False)
