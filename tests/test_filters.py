"""Pictures of filters: which layers are drawn, what of them, and the command that draws a run's."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan.filters import at_vertex, draw_filters, draw_signal, filtering, multipliers


class Three(cotan.Network):
    def __init__(self):
        super().__init__()
        self.a = cotan.create_layer("spectral", 3, 4, k=16)
        self.b = cotan.create_layer("smooth-spectral", 4, 4, k=16)
        self.c = cotan.create_layer("chebyshev", 4, 1)

    def forward(self, x, **nodes):
        return x


def path(size=9):
    i = torch.arange(size - 1)
    return Data(edge_index=torch.cat([torch.stack([i, i + 1]), torch.stack([i + 1, i])], 1), num_nodes=size)


def test_a_row_for_each_layer(sphere, tmp_path):
    figure = draw_filters(Three(), sphere, vertex=5, file=tmp_path / "filters.png")
    assert len(figure.axes) == 6
    assert [len(axes.lines) for axes in figure.axes[::2]] == [4, 4, 4]  # three multipliers and zero
    assert (tmp_path / "filters.png").read_bytes()[:4] == b"\x89PNG"


def test_the_largest_are_drawn():
    layer = cotan.create_layer("chebyshev", 2, 2, order=1)
    layer.weight.data = torch.tensor([[[1.0, -5], [3, 0]]])
    figure = draw_filters(layer, path(), curves=2)
    drawn = [line.get_ydata()[0] for line in figure.axes[0].lines[:2]]
    assert drawn == [-5, 3]


def test_what_is_drawn(sphere):
    layer = cotan.create_layer("spectral", 2, 3, k=16)
    u, found = multipliers(layer, sphere)
    assert (float(u[0]), float(u[-1])) == (0, 1)
    assert torch.equal(found, layer.weight.detach())
    local = cotan.create_layer("chebyshev", 1, 1, order=3)
    local.bias.data.fill_(7)  # the filter alone is drawn
    assert at_vertex(local, path(), 4).nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


def test_a_smooth_curve_between_eigenvalues_and_dots_at_them(sphere):
    """The wavelets of a sphere, whose first eigenvalues lie far apart; free multipliers have nothing between them."""
    torch.manual_seed(0)
    smooth = cotan.create_layer("smooth-spectral", 1, 1, k=16, kernels="wavelet")
    line = draw_filters(smooth, sphere).axes[0].lines[0]
    u, y = line.get_data()
    s = np.logspace(0, 2, 7)
    beta = np.hstack([s * u[:, None] * np.exp(1 - s * u[:, None]), np.exp(-100 * u[:, None])])
    np.testing.assert_allclose(y, beta @ smooth.weight.detach().numpy()[:, 0, 0], atol=1e-5)
    assert np.diff(u).max() < 0.006
    values = cotan.compute(sphere, "spectrum", k=16).values
    np.testing.assert_allclose(u[line.get_markevery()], values / values[-1], atol=1e-6)
    free = draw_filters(cotan.create_layer("spectral", 1, 1, k=16), sphere).axes[0].lines[0]
    assert (free.get_linestyle(), free.get_marker(), len(free.get_xdata())) == ("None", ".", 16)


@pytest.mark.parametrize("name", ["chebyshev", "cayley"])
@pytest.mark.parametrize("shape", ["mesh", "graph", "triangle"])
def test_the_curve_is_what_the_layer_does_to_eigenvectors(name, shape, sphere):
    """<v, layer(v)> in the product in which they are orthogonal, at eigenvalues over the largest there is."""
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]]) if shape == "triangle" else cotan.compute(sphere, "edge_index")
    graph = Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=int(edges.max()) + 1)
    data = sphere if shape == "mesh" else graph
    torch.manual_seed(0)
    layer = cotan.create_layer(name, 1, 1, bias=False).double()
    matrix = cotan.inputs(layer, data)["rescaled_laplacian"]
    root = cotan.compute(data, "mass", dtype=torch.float64).sqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * matrix.to_dense() / root)
    values = values + 1
    assert values.max() < 1.99  # less than what they are rescaled by
    u, drawn = draw_filters(layer, data).axes[0].lines[0].get_data()
    near = 0.03 if (name, shape) == ("cayley", "mesh") else 5e-3  # Jacobi's steps mix the eigenvectors of a mesh
    for i in torch.linspace(0, len(values) - 1, 30).long():
        v = vectors[:, i : i + 1]
        expected = v.T @ (root[:, None] * layer(v / root[:, None], matrix))
        assert np.interp(values[i] / values.max(), u, drawn) == pytest.approx(float(expected.detach()), abs=near)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_kernel_is_drawn_over_the_coordinates_of_neighbours(dim):
    """One Gaussian with its centre and widths, and the first two coordinates of the edges."""
    data = path(30)
    data.edge_attr = torch.rand(58, dim)
    layer = cotan.create_layer(
        "gaussian", 1, 2, kernels=1, coordinates="edge_attr", dim=dim, covariance="full", root=False
    )
    layer.mean.data.fill_(0.2)
    layer.factor.data = torch.diag_embed(torch.arange(1.0, dim + 1)[None])
    layer.weight.data = torch.tensor([[[-3.0, 0.1]]])
    axes, bar, shape = draw_filters(layer, data).axes
    assert axes.get_title().endswith("channels 0 to 0")
    assert shape.get_title() == "filter 0 to 0 at vertex 0"
    image = axes.images[0]
    left, right, low, high = image.get_extent()
    first, second = np.meshgrid(np.linspace(left, right, 61), np.linspace(low, high, 61))
    square = (first - 0.2) ** 2 + (0 if dim == 1 else (2 * (second - 0.2)) ** 2)
    square += 0 if dim < 3 else (3 * (float(data.edge_attr[:, 2].mean()) - 0.2)) ** 2
    blue = (1 - image.get_array()[..., 0]) / (1 - 0.13)  # from white to full
    np.testing.assert_allclose(blue, np.exp(-square) / np.exp(-square).max(), atol=1e-5)
    assert bar.get_ylim() == pytest.approx((-3 * np.exp(-square).max(), 0), rel=1e-5)
    dots = axes.lines[0].get_xydata()
    assert sorted(dots[:, 0]) == sorted(data.edge_attr[:, 0].tolist())
    with pytest.raises(cotan.CotanError, match="Gaussian: the shape has no edges"):
        draw_filters(
            layer, Data(edge_index=torch.empty(2, 0, dtype=torch.long), edge_attr=torch.empty(0, dim), num_nodes=2)
        )


@pytest.mark.parametrize("options", [{}, {"coordinates": "polar", "turns": 4}])
def test_a_kernel_is_what_a_neighbour_is_weighed_by(sphere, options):
    layer = cotan.create_layer("gaussian", 2, 3, root=False, **options)
    coordinates = cotan.inputs(layer, sphere)["edge_coordinates"]
    kernel = layer.kernel_at(coordinates.values)[:, 1, 2].detach()
    from_5 = coordinates.col == 5
    at, count = coordinates.row[from_5], coordinates.pattern.counts
    expected = torch.zeros(642).index_put((at,), kernel[from_5] / count[at])
    assert torch.allclose(at_vertex(layer, sphere, 5, (1, 2)), expected, atol=1e-6)


def test_on_a_coarser_graph(sphere):
    """Impulse and picture are on the layer's own graph."""
    model = cotan.create_model("pyramid", 3, 2, layer="chebyshev", widths=(2, 2), levels=1)
    first, second = filtering(model).values()
    size = cotan.compute(sphere, "coarsen").num_nodes
    assert len(at_vertex(first, sphere, 0)) == 642
    assert len(at_vertex(second, sphere, 0)) == size
    figure = draw_filters(model, sphere, vertex=641)
    at = int(cotan.compute(sphere, "coarsen").cluster[641])
    assert figure.axes[3].get_title().endswith(f"at vertex {at}")


def test_a_layer_of_ones_own():
    """The door is a method; the core knows no layer."""

    class Halving(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return self.factor * x

        def multipliers(self, u):
            return self.factor.expand(len(u), 1, 1)

    fixed = Halving()
    del fixed.factor  # what has no parameter may be drawn too
    fixed.factor = torch.tensor(0.5)
    for layer in (Halving(), Halving().double(), fixed):
        assert at_vertex(layer, path(), 2).tolist() == [0, 0, 0.5, 0, 0, 0, 0, 0, 0]
        assert torch.equal(multipliers(layer, path())[1], torch.full((201, 1, 1), 0.5))
    assert len(draw_filters(nn.Sequential(Halving(), Halving()), path()).axes) == 4


def test_the_edges_of_points_are_those_of_the_model():
    points = Data(pos=torch.rand(30, 3))
    edged = Data(pos=points.pos, edge_index=cotan.compute(points, "nearest_neighbours", k=4))
    model = cotan.create_model("spectral", 3, 2, width=4, depth=1, k=8, neighbours=4)
    drawn, expected, cloud = (
        draw_filters(m, data).axes[0].lines[0].get_xdata()
        for m, data in ((model, points), (model.layers[0], edged), (model.layers[0], points))
    )
    np.testing.assert_array_equal(drawn, expected)
    assert not np.allclose(drawn, cloud)


@pytest.mark.parametrize(("size", "elevation"), [(2, 90), (3, 35.2643897)])
def test_a_signal_is_blue_below_zero_and_red_above(size, elevation):
    """In a plane it is seen from above, else from the side of the vertex that is marked."""
    data = path(5)
    data.pos = torch.tensor([[-1.0, -1, -1], [0, 1, -1], [1, 1, 1], [1, -1, 1], [0, 0, 0]])[:, :size]
    axes = Figure().add_subplot(projection="3d")
    draw_signal(axes, data, torch.tensor([-3.0, -1.5, 0, 1.5, 3]), 2)
    draw_signal(
        Figure().add_subplot(projection="3d"), Data(pos=data.pos, edge_index=data.edge_index[:, :0]), data.pos[:, 0], 2
    )
    edges, points, mark = axes.collections
    assert len(edges._segments3d) == 8  # four in both directions
    red, _, blue, _ = points._facecolors.T
    assert np.sign((red - blue).round(1)).tolist() == [-1, -1, 0, 1, 1]
    place = torch.nn.functional.pad(data.pos, (0, 3 - size))
    np.testing.assert_allclose(np.stack(points._offsets3d, 1), place.numpy())
    assert [float(x[0]) for x in mark._offsets3d] == place[2].tolist()
    for low_high, x in zip((axes.get_xlim(), axes.get_ylim(), axes.get_zlim()), place.T, strict=True):
        assert low_high[0] <= x.min()
        assert x.max() <= low_high[1]
    assert axes.elev == pytest.approx(elevation)


def test_errors(sphere):
    with pytest.raises(cotan.CotanError, match=r"Linear has no layer to draw: none has a method multipliers\(u\)"):
        draw_filters(nn.Linear(1, 1), sphere)
    with pytest.raises(cotan.CotanError, match="vertex=642, expected 0 to 641"):
        draw_filters(cotan.create_layer("spectral", 1, 1), sphere, vertex=642)
    with pytest.raises(cotan.CotanError, match="vertex=-1, expected 0 to 641"):
        draw_filters(cotan.create_layer("spectral", 1, 1), sphere, vertex=-1)
    with pytest.raises(
        cotan.CotanError, match=r"unknown kind of picture \(f.xyz\) 'xyz'.* There is: .*pdf, .*png, .*svg"
    ):
        draw_filters(cotan.create_layer("spectral", 1, 1), sphere, file="f.xyz")
    with pytest.raises(cotan.CotanError, match="curves=0, expected a whole number of at least 1"):
        draw_filters(cotan.create_layer("spectral", 1, 1), sphere, curves=0)


def test_the_command_draws_a_run(tmp_path, monkeypatch, capsys):
    from cotan.cli import main

    def say(*arguments):
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["cotan", "show", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
            raise SystemExit(0)
        return int(end.value.code or 0), "".join(capsys.readouterr())

    run = tmp_path / "run"
    splits = cotan.load_dataset("blocks", nodes=80, classes=2)
    cotan.fit(cotan.model_for("chebyshev", splits, width=4, depth=1), splits, epochs=1, out=run)
    assert say("--filters", run, "--vertex", 3) == (0, f"picture: {run / 'filters.png'}\n")
    assert (run / "filters.png").stat().st_size > 5000
    assert say("--filters", run, "mlp")[0] == 2
    cotan.fit(cotan.model_for("gaussian", splits, width=4, depth=1), splits, epochs=1, out=tmp_path / "monet")
    assert say("--filters", tmp_path / "monet")[0] == 0
    own = cotan.Splits(splits.train, splits.val, splits.test, classes=splits.classes, task="label")
    cotan.fit(cotan.model_for("chebyshev", own, width=4, depth=1), own, epochs=1, out=run)
    assert say("--filters", run) == (2, "error: the run was trained on own data: give a shape by --data FILE\n")
