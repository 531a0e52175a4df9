"""What holds for each layer of the plugin: on the smallest graphs, on bad input, and in memory."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Data

import cotan

OPTIONS = {
    "aggregate": {"aggregate": ["mean", "max", "min", "std", "sum", "attention"]},
    "appnp": {},
    "edgeconv": {},
    "gat": {"heads": 2},
    "gatv2": {"heads": 2},
    "gaussian": {},
    "gcn": {},
    "gin": {},
    "sage": {},
    "sgc": {},
    "transformer": {"heads": 2},
}
LAYERS = pytest.mark.parametrize("name", OPTIONS)


def on(name, data, x):
    torch.manual_seed(0)
    layer = cotan.create_layer(name, x.shape[1], 4, **OPTIONS[name])
    return layer(x, **cotan.inputs(layer, data))


def edgeless(size):
    return Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=size)


@LAYERS
@pytest.mark.parametrize("in_dim", [3, 8])
def test_without_edges_each_vertex_is_alone(name, in_dim):
    x = torch.randn(5, in_dim)
    y = on(name, edgeless(5), x)
    assert y.shape == (5, 4)
    assert torch.isfinite(y).all()
    alone = torch.cat([on(name, edgeless(1), row[None]) for row in x])
    torch.testing.assert_close(y, alone)


@LAYERS
def test_one_vertex_with_a_loop(name):
    looped = Data(edge_index=torch.zeros(2, 1, dtype=torch.long), num_nodes=1)
    x = torch.randn(1, 3)
    y = on(name, looped, x)
    assert y.shape == (1, 4)
    assert torch.isfinite(y).all()
    if name in ("gcn", "sgc", "appnp", "gat", "gatv2"):  # they have one loop at each vertex in any case
        torch.testing.assert_close(y, on(name, edgeless(1), x))


@LAYERS
def test_an_edge_to_nowhere(name):
    with pytest.raises(cotan.CotanError, match="edge_index out of range: vertex numbers 0 to 3, expected 0 to 2"):
        on(name, Data(edge_index=torch.tensor([[0, 1], [1, 3]]), num_nodes=3), torch.randn(3, 3))


@LAYERS
def test_bad_features(name):
    model = cotan.create_model(name, in_dim=3, out_dim=4, task="label", width=8, depth=1, **OPTIONS[name])
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), x=torch.randn(2, 5))
    with pytest.raises(cotan.CotanError, match="the model was made for in_dim=3 channels; its features have 5"):
        cotan.apply(model, data)
    data.x = torch.tensor([[0.0, 1, 2], [3, torch.nan, 5]])
    with pytest.raises(cotan.CotanError, match="x has NaN or infinite values at 1 of 2 vertices"):
        cotan.apply(model, data)


class Largest(TorchDispatchMode):
    """The number of elements of the largest floating-point tensor that is made."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.layout == torch.strided:
                self.size = max(self.size, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


def largest_of(name, in_dim, edges, out_dim=32, size=10):
    options = {"aggregate": {"aggregate": ["mean", "sum", "attention"]}}.get(name, OPTIONS[name])
    data = Data(edge_index=torch.randint(0, size, (2, edges)), num_nodes=size)
    layer = cotan.create_layer(name, in_dim, out_dim, **options)
    x, nodes = torch.randn(size, in_dim, requires_grad=True), cotan.inputs(layer, data)
    with Largest() as largest:
        layer(x, **nodes).sum().backward()
    return largest.size


@pytest.mark.parametrize("name", ["appnp", "gat", "gaussian", "gcn", "gin", "sage", "sgc", "transformer", "aggregate"])
@pytest.mark.parametrize("in_dim", [16, 64])
def test_no_number_per_edge_and_channel(name, in_dim):
    assert largest_of(name, in_dim, 3000) < 3000 * min(in_dim, 32) / 2


@pytest.mark.parametrize("name", ["edgeconv", "gatv2"])
def test_a_number_per_edge_and_channel_is_found(name):
    assert largest_of(name, 16, 3000) >= 2500 * 32  # gatv2 leaves out the loops that it is given
