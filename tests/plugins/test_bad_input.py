"""Every convolution on bad input: a clear error or the right answer, never a silent wrong one."""

import pytest
import torch
from torch_geometric.data import Data

import cotan

SIZE = 6
OPTIONS = {"spectral": {"k": 3}, "smooth-spectral": {"k": 3}, "diffusion": {"k": 3, "gradients": False}}
PLUGINS = ("cotan_spatial", "cotan_spectral", "cotan_surface")
NAMES = [
    name
    for name in cotan.names("layer")
    if cotan.registry.lookup("layer", name).target.__module__.split(".")[0] in PLUGINS
]
LAYERS = pytest.mark.parametrize("name", NAMES)


def graph(**changes) -> Data:
    ring = torch.arange(SIZE)
    torch.manual_seed(0)
    data = Data(x=torch.randn(SIZE, 4), edge_index=torch.stack([ring, ring.roll(1)]))
    data.edge_index = torch.cat([data.edge_index, data.edge_index.flip(0)], 1)
    for key, value in changes.items():
        data[key] = value
    return data


def on(name: str, data: Data) -> torch.Tensor:
    torch.manual_seed(0)
    model = cotan.create_model(name, 4, 3, task="label", width=4, depth=1, **OPTIONS.get(name, {})).eval()
    with torch.no_grad():
        return cotan.apply(model, data)


def test_they_are_all_here():
    assert {"gcn", "gaussian", "chebyshev", "smooth-spectral", "diffusion"} <= set(NAMES)


NAN = graph().x.index_fill(0, torch.tensor([2]), torch.nan)
WRONG = {
    "index too large": ({"edge_index": torch.tensor([[0], [SIZE]])}, "vertex numbers 0 to 6, expected 0 to 5"),
    "index negative": ({"edge_index": torch.tensor([[0], [-1]])}, "vertex numbers -1 to 0, expected 0 to 5"),
    "index of floats": ({"edge_index": torch.zeros(2, 1)}, r"edge_index holds torch\.float32"),
    "index of truth values": ({"edge_index": torch.zeros(2, 1).bool()}, r"edge_index holds torch\.bool"),
    "index transposed": ({"edge_index": torch.zeros(5, 2).long()}, r"edge_index has shape \(5, 2\), expected \(2, E\)"),
    "three axes": (
        {"x": torch.randn(SIZE, 4, 4)},
        r"signal of shape \(6, 4, 4\), expected \(V, C\), a row for each vertex",
    ),
    "no numbers": ({"x": torch.empty(SIZE, 4, device="meta")}, "x lies on the device meta, which holds no numbers"),
    "width": ({"x": torch.randn(SIZE, 7)}, "made for in_dim=4 channels; its features have 7"),
    "a row too few": ({"x": torch.randn(SIZE - 1, 4), "num_nodes": SIZE}, "expected a row for each of 6 vertices"),
    "NaN": ({"x": NAN}, "x has NaN or infinite values at 1 of 6 vertices"),
    "complex": ({"x": graph().x + 1j}, r"x holds torch\.complex64, expected real numbers"),
    "sparse": ({"x": graph().x.to_sparse()}, r"x is sparse \(torch\.sparse_coo\), expected a dense tensor"),
    "array": ({"x": graph().x.numpy()}, "x is a ndarray, expected a tensor"),
}


@LAYERS
@pytest.mark.parametrize("case", WRONG)
def test_refused(name, case):
    changes, message = WRONG[case]
    with pytest.raises(cotan.CotanError, match=message):
        on(name, graph(**changes))


@LAYERS
def test_weights_that_are_not_finite(name):
    if name == "gaussian":
        pytest.skip("edge weights play no part")
    weight = torch.ones(2 * SIZE).index_fill(0, torch.tensor([3]), torch.nan)
    with pytest.raises(cotan.CotanError, match="edge_weight has NaN or infinite values at 1 of 12 edges"):
        on(name, graph(edge_weight=weight))


@LAYERS
def test_no_edges_and_one_vertex(name):
    none = torch.zeros(2, 0, dtype=torch.long)
    alone = on(name, graph(edge_index=none))
    assert alone.shape == (SIZE, 3)
    one = on(name, Data(x=graph().x[:1], edge_index=none))
    assert one.shape == (1, 3)
    if name != "spectral":  # whose pairs of a null space are any
        torch.testing.assert_close(one, alone[:1], rtol=1e-4, atol=1e-5)


@LAYERS
def test_edges_in_any_order(name):
    data = graph()
    y = on(name, data)
    data.edge_index = data.edge_index[:, torch.randperm(2 * SIZE)]
    torch.testing.assert_close(on(name, data), y, rtol=1e-4, atol=1e-5)


@LAYERS
def test_features_of_other_types(name):
    counts = torch.randint(0, 2, (SIZE, 4))
    y = on(name, graph(x=counts.float()))
    for x in (counts, counts.bool(), counts.double()):
        torch.testing.assert_close(on(name, graph(x=x)), y)


@LAYERS
def test_weights_of_another_model(name):
    options = {"task": "label", "depth": 1, **OPTIONS.get(name, {})}
    a, b = (cotan.create_model(name, 4, 3, width=width, **options) for width in (4, 8))
    with pytest.raises(RuntimeError, match="size mismatch"):
        a.load_state_dict(b.state_dict())


@LAYERS
def test_a_signal_of_another_shape(name):
    layer = cotan.create_layer(name, 4, 4, **OPTIONS.get(name, {}))
    nodes = cotan.inputs(layer, graph())
    for x in (torch.randn(SIZE + 1, 4), torch.randn(1, 4), torch.randn(SIZE, 7), torch.randn(4)):
        with pytest.raises((cotan.CotanError, RuntimeError, IndexError)):
            layer(x, **nodes)


def test_diffusion_wants_a_surface_for_its_gradients():
    with pytest.raises(cotan.CotanError, match=r"needs 'pos' .*which the data does not have"):
        cotan.inputs(cotan.create_layer("diffusion", 4, 4, k=3), graph())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("appnp", {"hops": -1}, "appnp: hops=-1, expected a whole number of at least 0"),
        ("appnp", {"hidden": -1}, "appnp: hidden=-1, expected a whole number of at least 0"),
        ("appnp", {"alpha": 1.5}, "appnp: alpha=1.5, expected a number from 0 to 1"),
        ("sgc", {"hops": -1}, "sgc: hops=-1, expected a whole number of at least 0"),
        ("diffusion", {"depth": 0}, "diffusion: depth=0, expected a whole number of at least 1"),
        ("pool2d", {"size": 0}, "pool: size=0, expected a whole number of at least 1"),
        ("toric", {"task": "match"}, "model 'toric' does not do task 'match'; it does: classify, regress, label"),
        ("voxel", {"task": "label"}, "model 'voxel' does not do task 'label'; it does: classify, regress"),
        ("voxel-dbn", {"task": "regress"}, "model 'voxel-dbn' does not do task 'regress'; it does: classify"),
    ],
)
def test_options_that_mean_nothing_are_refused(name, options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cotan.create_model(name, 3, 2, **options)


def test_a_cayley_filter_is_of_the_laplacian_that_it_names():
    x, data = torch.randn(SIZE, 4), graph(edge_weight=torch.linspace(0.1, 2, 2 * SIZE))
    layers = [cotan.create_layer("cayley", 4, 3, kind=kind) for kind in (None, "graph")]
    wanted = cotan.node("rescaled_laplacian", kind="graph")
    assert cotan.needs(layers[1]) == {"rescaled_laplacian": wanted}
    layers[0].load_state_dict(layers[1].state_dict())
    matrix = cotan.compute(data, wanted)
    assert torch.equal(layers[1](x, **cotan.inputs(layers[1], data)), layers[0](x, matrix))


def test_dropout_of_appnp_is_of_edges_too():
    """Its propagation in training is, on average, that of evaluation; Gasteiger et al. 2019."""
    data = graph()
    layer = cotan.create_layer("appnp", 4, 3, hidden=0, hops=1, alpha=0.0, dropout=0.5)
    nodes = cotan.inputs(layer, data)
    expected = layer.eval()(data.x, **nodes)
    layer.train()
    torch.manual_seed(0)
    drawn = torch.stack([layer(data.x, **nodes) for _ in range(4000)]).detach()
    torch.testing.assert_close(drawn.mean(0), expected.detach(), atol=0.06, rtol=0)
    some = drawn[:, 0, 0].unique()
    assert 4 < len(some) <= 2**3  # the vertex and its two neighbours, each there or not


def test_half_precision_keeps_pairs_apart_that_are_only_near():
    vectors = torch.linalg.qr(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))[0]
    spectrum = cotan.Spectrum(torch.tensor([0.0, 1.0, 1.001]), vectors)
    layer, x = cotan.create_layer("spectral", 2, 2, k=3), torch.randn(9, 2)
    expected = layer(x, spectrum, torch.ones(9))
    half = layer.bfloat16()(x.bfloat16(), spectrum.to(dtype=torch.bfloat16), torch.ones(9).bfloat16())
    torch.testing.assert_close(half.float(), expected, atol=0.06, rtol=0.06)


@pytest.mark.parametrize(("name", "more"), [*((name, {}) for name in NAMES), ("edgeconv", {"hidden": 0})])
@pytest.mark.parametrize(("count", "out_dim"), [(1, 4), (2, 3), (SIZE, 5)])
def test_several_signals_on_one_shape_are_as_each_alone_or_refused(name, more, count, out_dim):
    options = {key: SIZE if key == "k" else value for key, value in OPTIONS.get(name, {}).items()} | more
    layer, x = cotan.create_layer(name, 4, out_dim, **options), torch.randn(SIZE, count, 4)
    data = graph(edge_index=torch.tensor([[0, 1, 3, 4], [1, 0, 1, 3]])) if name == "edgeconv" else graph()
    nodes = cotan.inputs(layer, data)
    alone = torch.stack([layer(x[:, i], **nodes) for i in range(count)], 1)
    if name in ("appnp", "chebyshev", "edgeconv", "gcn", "gin", "sage", "sgc"):
        torch.testing.assert_close(layer(x, **nodes), alone)
    else:
        with pytest.raises(cotan.CotanError, match=rf"a signal of shape \(6, {count}, 4\), expected \(V, C\)"):
            layer(x, **nodes)
    batch = cotan.inputs(layer, [data] * count)
    together = layer(x.transpose(0, 1).flatten(0, 1), **batch).unflatten(0, (count, SIZE)).transpose(0, 1)
    torch.testing.assert_close(together, alone)
