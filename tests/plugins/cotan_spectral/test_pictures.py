import pytest
import torch

import cotan
from cotan_spectral.pictures import at_vertex, curves, draw_filters


def test_a_row_for_each_layer(bumpy, tmp_path):
    class Three(cotan.Network):
        def __init__(self):
            super().__init__()
            self.a = cotan.create_layer("spectral", 3, 4, k=16)
            self.b = cotan.create_layer("smooth-spectral", 4, 4, k=16)
            self.c = cotan.create_layer("chebyshev", 4, 1)

        def forward(self, x, **nodes):
            return x

    figure = draw_filters(Three(), bumpy[0], vertex=5, file=tmp_path / "filters.png")
    assert len(figure.axes) == 6
    assert [len(axes.lines) for axes in figure.axes[::2]] == [4, 4, 4]  # three multipliers and zero
    assert (tmp_path / "filters.png").stat().st_size > 10_000


def test_what_is_drawn(bumpy, cycle):
    layer = cotan.create_layer("spectral", 2, 3, k=16)
    u, multipliers = curves(layer, bumpy[0])
    assert (float(u[0]), float(u[-1])) == (0, 1)
    assert torch.equal(multipliers, layer.weight.detach())
    local = cotan.create_layer("chebyshev", 1, 1, order=3)
    local.bias.data.fill_(7)  # the filter alone is drawn
    assert at_vertex(local, cycle(12), 6).nonzero().flatten().tolist() == [4, 5, 6, 7, 8]


def test_errors(bumpy):
    with pytest.raises(cotan.CotanError, match="Linear has no spectral, smooth-spectral or chebyshev layer"):
        draw_filters(torch.nn.Linear(1, 1), bumpy[0])
    with pytest.raises(cotan.CotanError, match="vertex=300, expected 0 to 299"):
        at_vertex(cotan.create_layer("spectral", 1, 1), bumpy[0], 300)
