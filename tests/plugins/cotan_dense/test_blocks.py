"""Residual and densely connected blocks."""

import pytest
import torch

import cotan


def test_residual_by_hand():
    layer = cotan.create_layer("residual", 2, 2, hidden=1)
    layer.load_state_dict(
        {
            "first.weight": torch.tensor([[1.0, 2.0]]),
            "first.bias": torch.tensor([-1.0]),
            "second.weight": torch.tensor([[10.0], [-10.0]]),
            "second.bias": torch.tensor([0.5, 0.0]),
        }
    )
    assert layer(torch.tensor([[3.0, 1.0], [-3.0, 1.0]])).tolist() == [[43.5, -39.0], [-2.5, 1.0]]


def test_residual_adds_to_what_it_was_given():
    layer = cotan.create_layer("residual", 4, 4)
    layer.second.weight.data.zero_(), layer.second.bias.data.zero_()
    x = torch.randn(7, 4)
    assert torch.equal(layer(x), x)
    assert not any("shortcut" in name for name, _ in layer.named_parameters())


@pytest.mark.parametrize(("out_dim", "projection"), [(6, False), (4, True)])
def test_residual_projects_where_widths_differ_or_when_asked(out_dim, projection):
    layer = cotan.create_layer("residual", 4, out_dim, projection=projection, hidden=9)
    layer.second.weight.data.zero_(), layer.second.bias.data.zero_()
    x = torch.randn(7, 4)
    assert torch.allclose(layer(x), x @ layer.shortcut.weight.T)
    assert layer.first.weight.shape == (9, 4)


def test_dense_block_sees_all_outputs_before():
    layer = cotan.create_layer("dense-block", 2, 1, layers=2, growth=1, nonlinearity="none")
    for part, row in zip(layer.layers, ([1.0, 1.0], [1.0, 0.0, 1.0]), strict=True):
        part.weight.data, part.bias.data = torch.tensor([row]), torch.zeros(1)
    layer.transition.weight.data = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    layer.transition.bias.data.zero_()
    # x = (2, 3): h_1 = 2 + 3 = 5, h_2 = 2 + 5 = 7
    assert layer(torch.tensor([[2.0, 3.0]])).item() == 2 + 30 + 500 + 7000


def test_one_layer_and_one_channel_are_enough():
    assert cotan.create_layer("dense-block", 2, 3, layers=1, growth=1)(torch.zeros(5, 2)).shape == (5, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dense-block", {"layers": -1}, "dense-block: layers=-1, expected a whole number of at least 1"),
        ("dense-block", {"growth": 0}, "dense-block: growth=0, expected a whole number of at least 1"),
        ("residual", {"hidden": 0}, "residual: hidden=0, expected a whole number of at least 1"),
    ],
)
def test_nothing_inside(name, options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cotan.create_layer(name, 20, 4, **options)


@pytest.mark.parametrize("options", [{"projection": True}, {"hidden": 3}])
def test_residual_kit(options):
    cotan.testing.check_layer("residual", 4, 4, compile=False, **options)


def test_dense_block_kit():
    cotan.testing.check_layer("dense-block", layers=3, growth=2, compile=False)
