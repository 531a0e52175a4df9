"""Signals between a graph and its clusters, against PyG's scatter, and the network on coarser and coarser graphs."""

import pytest
import torch
from torch.autograd import gradcheck
from torch_geometric.data import Data
from torch_geometric.utils import scatter

import cotan
from cotan_spatial.pooling import Pool, pool, unpool


@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
def test_as_pyg(kind, sphere):
    cluster = cotan.compute(sphere, "coarsen", level=2).cluster
    P = cotan.compute(sphere, cotan.node("clusters", coarsen=cotan.node("coarsen", level=2)))
    x = torch.randn(sphere.num_nodes, 3)
    assert torch.allclose(pool(x, P, kind), scatter(x, cluster, reduce=kind), atol=1e-6)
    assert torch.equal(unpool(pool(x, P, kind), P), pool(x, P, kind)[cluster])


@pytest.mark.parametrize("kind", ["max", "mean", "sum"])
def test_derivatives(kind, tetrahedron):
    P = cotan.compute(tetrahedron, "clusters", dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: unpool(pool(x, P, kind), P), (x,), check_forward_ad=True)


def test_a_batch_pools_each_shape_alone(sphere, tetrahedron):
    layer = Pool("coarsen", "mean")
    x = torch.randn(642 + 4, 2)
    together = layer(x, **cotan.inputs(layer, [sphere, tetrahedron]))
    alone = [layer(part, **cotan.inputs(layer, s)) for part, s in zip(x.split([642, 4]), (sphere, tetrahedron))]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)


def test_unknown_pool(tetrahedron):
    with pytest.raises(cotan.CotanError, match=r"unknown pooling 'min'.* There is: max, mean, sum"):
        pool(torch.zeros(4, 1), cotan.compute(tetrahedron, "clusters"), "min")
    with pytest.raises(cotan.CotanError, match=r"unknown pooling 'min'.* There is: max, mean, sum"):
        cotan.create_model("pyramid", 1, 2, pooling="min")


def test_a_pyramid_needs_each_layer_s_nodes_on_its_own_graph():
    model = cotan.create_model("pyramid", 3, 2, layer="chebyshev", widths=(4, 4, 4), levels=1)
    keys = set(cotan.needs(model))
    level = "coarsen(level=1, seed=0)"
    assert {k for k in keys if k.startswith("rescaled")} == {
        "rescaled_laplacian",
        f"rescaled_laplacian@{level}",
        f"rescaled_laplacian@{level}@{level}",
    }
    clusters = f"clusters(coarsen={level})"
    found = {k for k in keys if k.startswith("clusters")}
    assert found == {clusters, f"{clusters}@{level}", f"{clusters}@{level}@{level}"}


@pytest.mark.parametrize("task", ["classify", "label"])
@pytest.mark.parametrize("layer", ["chebyshev", "gcn", "smooth-spectral"])
def test_pyramids_of_other_layers(layer, task):
    compile = (layer, task) == ("gcn", "label")
    report = cotan.testing.check_model(
        "pyramid", task=task, layer=layer, widths=(4, 6), fc=8, pooling="mean", compile=compile
    )
    assert not compile or "torch.compile(fullgraph=True)" in report.passed


def digits(count: int, seed: int = 0) -> list[Data]:
    """Bars on one grid of 6 x 6: along rows (0) or columns (1)."""
    g = torch.Generator().manual_seed(seed)
    here = torch.arange(6)
    place = torch.cartesian_prod(here, here)
    edge_index = ((place[:, None] - place).abs().amax(-1) == 1).nonzero().T
    pos = torch.cat([place, 0 * place[:, :1]], 1).float()
    out = []
    for _ in range(count):
        y, at = torch.randint(2, (1,), generator=g), int(torch.randint(6, (1,), generator=g))
        x = (place[:, y] == at).float().view(-1, 1)
        out.append(Data(x=x, pos=pos, edge_index=edge_index, y=y))
    return out


def test_vertices_side_by_side_tell_what_means_cannot():
    """A grid has the same spectrum along both axes: only places tell rows from columns."""
    shapes = digits(64)
    size = cotan.compute(shapes[0], cotan.node("num_nodes", on=cotan.node("coarsen", level=2, seed=0)))
    torch.manual_seed(0)
    model = cotan.create_model(
        "pyramid", 1, 2, layer="chebyshev", widths=(8,), vertices=size, fc=16, fc_dropout=0.0, order=3
    )
    values = cotan.inputs(model, shapes)
    x, y = torch.cat([s.x for s in shapes]), torch.cat([s.y for s in shapes])
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x, **values), y).backward()
        optimizer.step()
    assert (model(x, **values).argmax(1) == y).all()
    other = cotan.create_model("pyramid", 1, 2, widths=(8,), vertices=size + 1)
    with pytest.raises(cotan.CotanError, match=rf"vertices={size + 1}, but the coarsest graphs have \[{size}\]"):
        cotan.apply(other, shapes)


def test_vertices_of_each_shape_count_and_not_their_mean():
    def path(size):
        edge = torch.stack([torch.arange(size - 1), torch.arange(1, size)])
        return Data(x=torch.ones(size, 1), edge_index=torch.cat([edge, edge.flip(0)], 1))

    model = cotan.create_model("pyramid", 1, 2, widths=(8,), levels=1, vertices=4)
    with pytest.raises(cotan.CotanError, match=r"vertices=4, but the coarsest graphs have \[3, 5\]"):
        cotan.apply(model, [path(6), path(10)])


def test_no_widths_and_no_vertices():
    with pytest.raises(cotan.CotanError, match="pyramid: vertices=0, expected a whole number of at least 1"):
        cotan.create_model("pyramid", 1, 2, vertices=0)
    with pytest.raises(cotan.CotanError, match="no widths"):
        cotan.create_model("pyramid", 1, 2, widths=())


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("gin", {"hidden": 3}),
        ("edgeconv", {"hidden": 3}),
        ("appnp", {"hidden": 3, "dropout": 0.25}),
        ("gat", {"dropout": 0.25}),
    ],
)
def test_a_pyramid_and_its_layer_have_options_of_their_own(layer, options):
    model = cotan.create_model("pyramid", 3, 2, layer=layer, widths=(4,), fc=5, fc_dropout=0.75, **options)
    widths = {p.shape[0] for p in model.layers.parameters() if p.ndim == 2}
    assert ("hidden" not in options) or 3 in widths
    assert {m.p for m in model.layers.modules() if hasattr(m, "p")} == ({0.25} if "dropout" in options else set())
    assert (model.readout.linear.out_features, model.dropout.p) == (5, 0.75)
