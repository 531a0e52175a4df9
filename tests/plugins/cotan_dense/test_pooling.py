import pytest
import torch

import cotan


def test_by_hand():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    assert cotan.create_layer("pool2d", 1, 1)(x).tolist() == [[[[5.0, 7.0]]]]  # the third row fills no cell
    assert cotan.create_layer("pool2d", 1, 1, kind="mean")(x).tolist() == [[[[2.5, 4.5]]]]
    for kind, expected in (("max", 2.0), ("mean", 1.0)):
        assert cotan.create_layer("pool1d", 1, 1, kind=kind, size=3)(x[:, :, 0]).tolist() == [[[expected]]]


def test_a_side_shorter_than_the_cell_is_the_cell():
    x = torch.randn(2, 3, 1, 9, 4)
    out = cotan.create_layer("pool3d", 3, 3, size=4)(x)
    assert out.shape == (2, 3, 1, 2, 1)
    assert torch.equal(out[:, :, 0, 0, 0], x[:, :, 0, :4].amax((2, 3)))


def test_widths_that_differ_are_mapped():
    layer = cotan.create_layer("pool2d", 3, 5, kind="mean")
    x = torch.randn(2, 3, 4, 4)
    first_map = torch.einsum("oi,bihw->bohw", layer.project.weight[:, :, 0, 0], x)
    assert torch.allclose(layer(x), torch.nn.functional.avg_pool2d(first_map, 2), atol=1e-6)


def test_unknown_kind():
    with pytest.raises(cotan.CotanError, match=r"unknown pooling 'median'\. Did you mean 'mean'\? There is: max, mean"):
        cotan.create_layer("pool2d", 1, 1, kind="median")
