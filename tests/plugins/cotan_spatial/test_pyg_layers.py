"""The named layers against PyG's: same weights in, same numbers and gradients out."""

import pytest
import torch
from torch_geometric.data import Data

import cotan

SIZE = 30


def graph(seed, weighted=False):
    """A directed graph with self-loops, duplicate edges (of self-loops too) and isolated vertices."""
    g = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, SIZE - 4, (2, 110), generator=g)
    loops = torch.randint(0, SIZE - 4, (1, 5), generator=g).expand(2, -1)
    edges = torch.cat([edges, loops, loops[:, :2], edges[:, :20]], 1)
    data = Data(edge_index=edges[:, torch.randperm(edges.shape[1], generator=g)], num_nodes=SIZE)
    if weighted:
        data.edge_weight = torch.rand(edges.shape[1], generator=g) + 0.1
    return data


def agree(layer, peer, pairs, data, in_dim, *peer_args):
    """Outputs, and gradients with respect to x and to each pair of parameters."""
    x, x_peer = (torch.randn(SIZE, in_dim, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    with torch.no_grad():
        for ours, theirs in pairs:
            theirs.copy_(torch.randn(theirs.shape) * 0.5)
            ours.copy_(theirs.reshape(ours.shape))
    out = layer(x, **cotan.inputs(layer, data))
    expected = peer(x_peer, data.edge_index, *peer_args)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(out.shape) / 10
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, x_peer.grad, atol=1e-5, rtol=1e-5)
    assert len(pairs) == len(list(peer.parameters()))
    for ours, theirs in pairs:
        torch.testing.assert_close(ours.grad, theirs.grad.reshape(ours.shape), atol=1e-5, rtol=1e-5)


DIMS = pytest.mark.parametrize(("in_dim", "out_dim"), [(3, 8), (8, 4)])
SEEDS = pytest.mark.parametrize("seed", range(3))


@DIMS
@SEEDS
@pytest.mark.parametrize("weighted", [False, True])
def test_gcn_is_pyg(in_dim, out_dim, seed, weighted):
    from torch_geometric.nn import GCNConv

    data = graph(seed, weighted)
    layer, peer = cotan.create_layer("gcn", in_dim, out_dim), GCNConv(in_dim, out_dim)
    pairs = [(layer.linear.weight, peer.lin.weight), (layer.bias, peer.bias)]
    agree(layer, peer, pairs, data, in_dim, *([data.edge_weight] if weighted else []))


@DIMS
@SEEDS
def test_sage_is_pyg(in_dim, out_dim, seed):
    from torch_geometric.nn import SAGEConv

    layer, peer = cotan.create_layer("sage", in_dim, out_dim), SAGEConv(in_dim, out_dim)
    pairs = [
        (layer.neighbours.weight, peer.lin_l.weight),
        (layer.neighbours.bias, peer.lin_l.bias),
        (layer.root.weight, peer.lin_r.weight),
    ]
    agree(layer, peer, pairs, graph(seed), in_dim)


@DIMS
@SEEDS
def test_gin_is_pyg(in_dim, out_dim, seed):
    from torch_geometric.nn import GINConv

    layer = cotan.create_layer("gin", in_dim, out_dim, hidden=6, train_eps=True)
    mlp = torch.nn.Sequential(torch.nn.Linear(in_dim, 6), torch.nn.ReLU(), torch.nn.Linear(6, out_dim))
    peer = GINConv(mlp, train_eps=True)
    pairs = [*zip(layer.mlp.parameters(), mlp.parameters(), strict=True), (layer.eps, peer.eps)]
    agree(layer, peer, pairs, graph(seed), in_dim)


@DIMS
@SEEDS
@pytest.mark.parametrize("heads", [1, 4])
def test_gat_is_pyg(in_dim, out_dim, seed, heads):
    from torch_geometric.nn import GATConv

    layer = cotan.create_layer("gat", in_dim, out_dim, heads=heads)
    peer = GATConv(in_dim, out_dim // heads, heads=heads)
    pairs = [
        (layer.linear.weight, peer.lin.weight),
        (layer.from_source, peer.att_src),
        (layer.from_target, peer.att_dst),
        (layer.bias, peer.bias),
    ]
    agree(layer, peer, pairs, graph(seed), in_dim)


def test_errors():
    with pytest.raises(cotan.CotanError, match="gat: heads=3, expected a divisor of out_dim=8"):
        cotan.create_layer("gat", 3, 8, heads=3)
