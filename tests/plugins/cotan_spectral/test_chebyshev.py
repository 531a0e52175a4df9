import pytest
import torch

import cotan
from cotan_spectral import chebyshev
from cotan_spectral.chebyshev import clenshaw


def random_graphs():
    return [(seed, directed, weighted) for seed in range(2) for directed in (False, True) for weighted in (False, True)]


@pytest.mark.parametrize(
    ("in_dim", "out_dim"), [(3, 7), (60, 61), (7, 3), (40, 33)]
)  # side by side, in parts, from the end, in place
@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize(("seed", "directed", "weighted"), random_graphs())
def test_pyg(random_graph, seed, directed, weighted, order, in_dim, out_dim):
    """Same weights in, same numbers and gradients out, also with duplicate edges, self-loops and isolated vertices.

    The peer is in float64: in float32 it is further off than the layer, by up to 1e-5 of outputs as large as 100.
    """
    from torch_geometric.nn import ChebConv

    torch.manual_seed(seed)
    data = random_graph(seed, directed=directed, weighted=weighted)
    peer = ChebConv(in_dim, out_dim, order)
    layer = cotan.create_layer("chebyshev", in_dim, out_dim, order=order)
    layer.weight.data = torch.stack([lin.weight.detach().T for lin in peer.lins])
    peer.bias.data = layer.bias.data = torch.randn(out_dim)
    peer.double()
    x = torch.randn(30, in_dim, generator=torch.Generator().manual_seed(1)).requires_grad_()
    x_peer = x.detach().double().requires_grad_()
    out = layer(x, **cotan.inputs(layer, data))
    edge_weight = data.edge_weight.double() if weighted else None
    expected = peer(x_peer, data.edge_index, edge_weight)
    assert torch.allclose(out, expected.float(), atol=1e-5, rtol=1e-5)
    weights = torch.randn(30, out_dim) / out_dim
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    assert torch.allclose(x.grad, x_peer.grad.float(), atol=1e-5, rtol=1e-5)
    for ours, lin in zip(layer.weight.grad, peer.lins, strict=True):
        assert torch.allclose(ours, lin.weight.grad.T.float(), atol=1e-5, rtol=1e-5)


def test_pyg_without_edges():
    from torch_geometric.data import Data
    from torch_geometric.nn import ChebConv

    data = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=4)
    peer, layer = ChebConv(3, 3, 4), cotan.create_layer("chebyshev", 3, 3, order=4)
    layer.weight.data = torch.stack([lin.weight.detach().T for lin in peer.lins])
    x = torch.randn(4, 3)
    assert torch.allclose(layer(x, **cotan.inputs(layer, data)), peer(x, data.edge_index), atol=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 9])
def test_both_recurrences_give_the_polynomial(bumpy, order):
    """Against T_k by its definition, cos(k arccos), on the eigenvalues of the rescaled Laplacian."""
    layer = cotan.create_layer("chebyshev", 3, 3, order=order, bias=False).double()
    laplacian = cotan.inputs(layer, bumpy[0])["rescaled_laplacian"]
    values, vectors = torch.linalg.eig(laplacian.to_dense())
    values, vectors = values.real, vectors.real
    x = torch.randn(300, 3, dtype=torch.float64)
    expected = torch.zeros_like(x)
    for k in range(order):
        t = torch.cos(k * torch.arccos(values.clamp(-1, 1)))
        expected += vectors @ (t[:, None] * torch.linalg.solve(vectors, x)) @ layer.weight[k].detach()
    assert torch.allclose(layer.terms(x, laplacian), expected, atol=1e-7)
    assert torch.allclose(clenshaw(x, layer.weight, laplacian), expected, atol=1e-7)


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_derivatives_of_the_sum_in_place(random_graph, monkeypatch, shape, order):
    monkeypatch.setattr(chebyshev, "WIDE", 1)
    layer = cotan.create_layer("chebyshev", 3, 2, order=order).double()
    laplacian = cotan.inputs(layer, random_graph(0, directed=True, weighted=True))["rescaled_laplacian"]
    x = torch.randn(30, *shape, dtype=torch.float64, requires_grad=True)
    assert layer.in_place(x, laplacian)

    def function(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x, laplacian))

    weight = layer.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, weight), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, (x, weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda w: function(x.detach(), w), weight, fast_mode=True)


@pytest.mark.parametrize("out_dim", [2, 32])  # 32 is summed in place
def test_a_graph_without_vertices(out_dim):
    from torch_geometric.data import Data

    layer = cotan.create_layer("chebyshev", 32, out_dim)
    data = Data(edge_index=torch.zeros(2, 0, dtype=torch.long), num_nodes=0)
    y = layer(torch.zeros(0, 32, requires_grad=True), **cotan.inputs(layer, data))
    y.sum().backward()
    assert y.shape == (0, out_dim)
    assert not layer.weight.grad.any()


def test_a_vertex_sees_order_minus_one_edges_far(cycle):
    layer = cotan.create_layer("chebyshev", 1, 1, order=4)
    x = torch.zeros(12, 1)
    x[0] = 1
    out = layer(x, **cotan.inputs(layer, cycle(12)))[:, 0]
    assert out[[9, 10, 11, 0, 1, 2, 3]].all()
    assert not out[4:9].any()


@pytest.mark.parametrize(("in_dim", "out_dim"), [(2, 5), (5, 2)])
def test_many_signals_on_one_shape(bumpy, in_dim, out_dim):
    layer = cotan.create_layer("chebyshev", in_dim, out_dim)
    nodes = cotan.inputs(layer, bumpy[0])
    x = torch.randn(300, 4, in_dim)
    expected = torch.stack([layer(x[:, b], **nodes) for b in range(4)], 1)
    assert torch.allclose(layer(x, **nodes), expected, atol=1e-5)


def test_a_mesh_can_be_taken_as_its_graph(bumpy):
    from torch_geometric.data import Data

    mesh = bumpy[0]
    graph = Data(edge_index=cotan.compute(mesh, "edge_index"), num_nodes=300)
    layer = cotan.create_layer("chebyshev", 3, 3, kind="graph")
    x = torch.randn(300, 3)
    assert torch.equal(layer(x, **cotan.inputs(layer, mesh)), layer(x, **cotan.inputs(layer, graph)))


def test_errors():
    with pytest.raises(cotan.CotanError, match="chebyshev: order=0, expected a whole number of at least 1"):
        cotan.create_layer("chebyshev", 1, 1, order=0)


@pytest.mark.parametrize("order", [1, 5])
def test_kit(order):
    cotan.testing.check_layer("chebyshev", order=order, compile=False)
    cotan.testing.check_layer("chebyshev", 6, 4, order=order, kind="graph", compile=False)
