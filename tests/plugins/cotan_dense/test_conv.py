import pytest
import torch
from scipy import ndimage

import cotan

SIDES = {1: (11,), 2: (7, 8), 3: (5, 6, 7)}
SCIPY = {"zeros": "constant", "circular": "wrap", "reflect": "mirror", "replicate": "nearest"}


@pytest.mark.parametrize("padding", SCIPY)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_against_scipy(dims, padding):
    layer = cotan.create_layer(f"conv{dims}d", 2, 3, padding=padding).double()
    x = torch.randn(4, 2, *SIDES[dims], dtype=torch.float64)
    weight = layer.conv.weight.detach().numpy()
    with torch.no_grad():
        out = layer(x)
    for b in range(4):
        for o in range(3):
            expected = sum(ndimage.correlate(x[b, i].numpy(), weight[o, i], mode=SCIPY[padding]) for i in range(2))
            assert torch.allclose(out[b, o], torch.from_numpy(expected) + layer.conv.bias[o].detach())


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_shift_around_the_border_is_the_same_shift_of_the_output(dims):
    layer = cotan.create_layer(f"conv{dims}d", 2, 2, padding="circular", batchnorm=True, shortcut=True, kernel_size=5)
    layer.double().eval()
    x = torch.randn(2, 2, *SIDES[dims], dtype=torch.float64)
    axes, by = tuple(range(2, 2 + dims)), tuple(range(3, 3 + dims))
    assert torch.allclose(layer(x.roll(by, axes)), layer(x).roll(by, axes))


def test_residual_and_its_projection():
    same, other = (cotan.create_layer("conv2d", 3, out, shortcut=True) for out in (3, 5))
    for layer in (same, other):
        layer.conv.weight.data.zero_(), layer.conv.bias.data.zero_()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(same(x), x)
    assert torch.allclose(other(x), torch.einsum("oi,bihw->bohw", other.shortcut.weight[:, :, 0, 0], x), atol=1e-6)


def test_without_padding_the_grid_shrinks():
    x = torch.zeros(1, 1, 9, 8)
    assert cotan.create_layer("conv2d", 1, 1, padding="none", kernel_size=5)(x).shape[2:] == (5, 4)
    assert cotan.create_layer("conv2d", 1, 1, padding="none", kernel_size=1, shortcut=True)(x).shape[2:] == (9, 8)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"padding": "mirror"}, "unknown padding 'mirror'. There is: circular, none, reflect, replicate, zeros"),
        ({"kernel_size": 4}, "kernel_size=4, expected an odd number"),
        ({"padding": "none", "shortcut": True}, "shortcut=True needs a padding"),
    ],
)
def test_errors(options, text):
    with pytest.raises(cotan.CotanError, match=text):
        cotan.create_layer("conv2d", 1, 1, **options)


@pytest.mark.parametrize("options", [{"padding": "circular", "shortcut": True}, {"batchnorm": True}])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_kit(dims, options):
    cotan.testing.check_layer(f"conv{dims}d", compile=False, **options)
