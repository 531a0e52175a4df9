"""The named layers against PyG's: same weights in, same numbers and gradients out."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import cotan
from cotan.sparse import adjacency, segment_sum

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


def distinct(data):
    """Without duplicate edges: of entries that tie for the largest, each library picks its own to learn from."""
    keep = torch.unique(data.edge_index[0] * SIZE + data.edge_index[1], return_inverse=True)[1]
    first = torch.stack([(keep == i).nonzero()[0, 0] for i in range(int(keep.max()) + 1)])
    return data.edge_subgraph(first)


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
HEADS = pytest.mark.parametrize(("heads", "concat"), [(1, True), (4, True), (3, False)])
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
@HEADS
def test_gat_is_pyg(in_dim, out_dim, seed, heads, concat):
    from torch_geometric.nn import GATConv

    layer = cotan.create_layer("gat", in_dim, out_dim, heads=heads, concat=concat)
    peer = GATConv(in_dim, out_dim // heads if concat else out_dim, heads=heads, concat=concat)
    pairs = [
        (layer.linear.weight, peer.lin.weight),
        (layer.from_source, peer.att_src),
        (layer.from_target, peer.att_dst),
        (layer.bias, peer.bias),
    ]
    agree(layer, peer, pairs, graph(seed), in_dim)


def test_gat_starts_as_pyg_does():
    """Uniform up to Glorot's bound."""
    layer = cotan.create_layer("gat", 64, 64, heads=8)
    for weight in (layer.linear.weight, layer.from_source, layer.from_target):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.7 * bound < weight.abs().max() <= bound
        assert weight.abs().mean() > 0.3 * bound


@DIMS
@SEEDS
@HEADS
def test_gatv2_is_pyg(in_dim, out_dim, seed, heads, concat):
    from torch_geometric.nn import GATv2Conv

    layer = cotan.create_layer("gatv2", in_dim, out_dim, heads=heads, concat=concat)
    peer = GATv2Conv(in_dim, out_dim // heads if concat else out_dim, heads=heads, concat=concat)
    pairs = [
        (layer.source.weight, peer.lin_l.weight),
        (layer.source.bias, peer.lin_l.bias),
        (layer.target.weight, peer.lin_r.weight),
        (layer.target.bias, peer.lin_r.bias),
        (layer.score, peer.att),
        (layer.bias, peer.bias),
    ]
    agree(layer, peer, pairs, graph(seed), in_dim)


@DIMS
@SEEDS
@HEADS
def test_transformer_is_pyg(in_dim, out_dim, seed, heads, concat):
    from torch_geometric.nn import TransformerConv

    layer = cotan.create_layer("transformer", in_dim, out_dim, heads=heads, concat=concat)
    peer = TransformerConv(in_dim, out_dim // heads if concat else out_dim, heads=heads, concat=concat)
    both = [(layer.query, peer.lin_query), (layer.key, peer.lin_key)]
    both += [(layer.value, peer.lin_value), (layer.root, peer.lin_skip)]
    pairs = [pair for a, b in both for pair in ((a.weight, b.weight), (a.bias, b.bias))]
    agree(layer, peer, pairs, graph(seed), in_dim)


@DIMS
@SEEDS
@pytest.mark.parametrize("hops", [0, 1, 3])
def test_sgc_is_pyg(in_dim, out_dim, seed, hops):
    from torch_geometric.nn import SGConv

    data = graph(seed, weighted=True)
    layer, peer = cotan.create_layer("sgc", in_dim, out_dim, hops=hops), SGConv(in_dim, out_dim, K=hops)
    pairs = [(layer.linear.weight, peer.lin.weight), (layer.bias, peer.lin.bias)]
    agree(layer, peer, pairs, data, in_dim, data.edge_weight)


class Predicted(torch.nn.Module):
    """A perceptron, then PyG's propagation."""

    def __init__(self, mlp, hops, alpha):
        from torch_geometric.nn import APPNP

        super().__init__()
        self.mlp, self.propagate = mlp, APPNP(hops, alpha)

    def forward(self, x, edge_index, edge_weight):
        return self.propagate(self.mlp(x), edge_index, edge_weight)


@SEEDS
@pytest.mark.parametrize("hidden", [0, 6])
def test_appnp_is_pyg(seed, hidden):
    data = graph(seed, weighted=True)
    layer = cotan.create_layer("appnp", 5, 4, hidden=hidden, hops=4, alpha=0.2)
    peer = Predicted(copy.deepcopy(layer.mlp), 4, 0.2)
    agree(layer, peer, list(zip(layer.parameters(), peer.parameters(), strict=True)), data, 5, data.edge_weight)


@DIMS
@SEEDS
@pytest.mark.parametrize("hidden", [0, 6])
def test_edgeconv_is_pyg(in_dim, out_dim, seed, hidden):
    from torch_geometric.nn import EdgeConv

    layer = cotan.create_layer("edgeconv", in_dim, out_dim, hidden=hidden)
    first, last = torch.nn.Linear(2 * in_dim, hidden or out_dim), torch.nn.Linear(hidden or 1, out_dim)
    peer = EdgeConv(torch.nn.Sequential(first, torch.nn.ReLU(), last) if hidden else first)
    pairs = list(zip(layer.parameters(), peer.parameters(), strict=True))
    agree(layer, peer, pairs, distinct(graph(seed)), in_dim)


@DIMS
@SEEDS
@pytest.mark.parametrize("kernels", [1, 5])
def test_gaussian_is_pyg(in_dim, out_dim, seed, kernels):
    """PyG's Gaussians are exp(-(u - mu)^2 / 2 sigma^2) and its kernels stand side by side in one matrix."""
    from torch_geometric.nn import GMMConv

    data = graph(seed)
    data.edge_attr = torch.randn(data.num_edges, 3, generator=torch.Generator().manual_seed(seed))
    layer = cotan.create_layer("gaussian", in_dim, out_dim, kernels=kernels, coordinates="edge_attr", dim=3)
    peer = GMMConv(in_dim, out_dim, dim=3, kernel_size=kernels)
    with torch.no_grad():
        peer.sigma.uniform_(0.5, 2)
    sigma = peer.sigma.detach().clone().requires_grad_()
    precision = 1 / (2**0.5 * sigma)
    weight = peer.g.detach().view(in_dim, kernels, out_dim).transpose(0, 1)
    with torch.no_grad():
        layer.mean.copy_(peer.mu)
        layer.factor.copy_(precision)
        layer.weight.copy_(weight)
        layer.root.weight.copy_(peer.root.weight)
        layer.bias.copy_(peer.bias.uniform_())
    x, x_peer = (torch.randn(SIZE, in_dim, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    out, expected = layer(x, **cotan.inputs(layer, data)), peer(x_peer, data.edge_index, data.edge_attr)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(out.shape) / 10
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    (to_sigma,) = torch.autograd.grad(precision, sigma, layer.factor.grad)
    to_weight = peer.g.grad.view(in_dim, kernels, out_dim).transpose(0, 1)
    got = [x.grad, layer.mean.grad, to_sigma, layer.weight.grad, layer.root.weight.grad, layer.bias.grad]
    wanted = [x_peer.grad, peer.mu.grad, peer.sigma.grad, to_weight, peer.root.weight.grad, peer.bias.grad]
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@SEEDS
@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "std"])
def test_aggregate_is_pyg_aggregation(seed, kind):
    """The aggregation alone, by a combine that hands it on, against PyG's of the same messages."""
    from torch_geometric.nn.aggr import MaxAggregation, MeanAggregation, MinAggregation, StdAggregation, SumAggregation

    data = distinct(graph(seed, weighted=True))
    data.edge_attr = torch.randn(data.num_edges, 2, generator=torch.Generator().manual_seed(seed))
    peers = dict(sum=SumAggregation, mean=MeanAggregation, max=MaxAggregation, min=MinAggregation, std=StdAggregation)
    layer = cotan.create_layer("aggregate", 4, 4, aggregate=kind, combine=lambda a, x: a, edge_dim=2)
    x, x_peer = (torch.randn(SIZE, 4, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    source, target = data.edge_index
    messages = data.edge_weight[:, None] * (x_peer[source] + data.edge_attr @ layer.edge.weight.detach().T)
    expected = peers[kind]()(messages, target, dim_size=SIZE)
    out = layer(x, **cotan.inputs(layer, data))
    if kind == "std":  # PyG's is a difference of squares, and clamped near zero
        torch.testing.assert_close(out[expected > 0.05], expected[expected > 0.05], atol=1e-4, rtol=1e-4)
        assert out[expected <= 0.05].max() < 0.06
        return
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(out.shape)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, x_peer.grad, atol=1e-5, rtol=1e-5)


@SEEDS
def test_aggregate_is_gine(seed):
    """MLP(x_i + sum_j relu(x_j + e_ij E)) by functions of one's own; PyG's E has a bias, here none."""
    from torch_geometric.nn import GINEConv

    data = graph(seed)
    data.edge_attr = torch.randn(data.num_edges, 2, generator=torch.Generator().manual_seed(seed))
    peer = GINEConv(torch.nn.Linear(4, 8), edge_dim=2)
    mlp = copy.deepcopy(peer.nn)
    layer = cotan.create_layer(
        "aggregate", 4, 8, edge_dim=2, aggregate=lambda m, p: segment_sum(m.relu(), p), combine=lambda a, x: mlp(a + x)
    )
    pairs = [(mlp.weight, peer.nn.weight), (mlp.bias, peer.nn.bias), (layer.edge.weight, peer.lin.weight)]
    peer.lin.bias = None
    agree(layer, peer, pairs, data, 4, data.edge_attr)


@SEEDS
def test_a_weight_for_each_kind_of_edges_is_rgcn(seed):
    from torch_geometric.nn import RGCNConv

    data = graph(seed)
    kind = torch.randint(3, (data.num_edges,), generator=torch.Generator().manual_seed(seed))

    class Relational(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.root, self.bias = map(torch.nn.Parameter, map(torch.empty, ((3, 4, 8), (4, 8), (8,))))

        def forward(self, x, edge_index):
            one = torch.nn.functional.one_hot(kind, 3).to(x.dtype)
            matrix, _ = adjacency(edge_index, len(x), one)  # three weights an edge
            mean = (matrix @ x) / matrix.sum_rows().clamp(min=1)[:, :, None]  # (V, 3, 4)
            return x @ self.root + self.bias + torch.einsum("vki,kio->vo", mean, self.weight)

    layer, peer = Relational(), RGCNConv(4, 8, 3)
    pairs = [(layer.weight, peer.weight), (layer.root, peer.root), (layer.bias, peer.bias)]
    agree(layer, peer, pairs, data, 4, kind)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))))
def test_any_small_graph_is_pyg(drawn):
    from torch_geometric.nn import GATv2Conv, GCNConv, GINConv, SAGEConv, TransformerConv

    size, edges = drawn
    data = Data(edge_index=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T.contiguous(), num_nodes=size)
    torch.manual_seed(0)
    x = torch.randn(size, 3)
    mlp = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    peers = {"gcn": GCNConv(3, 4), "sage": SAGEConv(3, 4), "gin": GINConv(mlp)}
    peers |= {"gatv2": GATv2Conv(3, 4), "transformer": TransformerConv(3, 4)}
    for name, peer in peers.items():
        layer = cotan.create_layer(name, 3, 4)
        with torch.no_grad():
            for ours, theirs in zip(layer.parameters(), peer.parameters(), strict=True):
                ours.copy_(theirs.reshape(ours.shape))
        torch.testing.assert_close(
            layer(x, **cotan.inputs(layer, data)), peer(x, data.edge_index), atol=1e-5, rtol=1e-5
        )


def test_errors():
    with pytest.raises(cotan.CotanError, match="gin: hidden=0, expected a whole number of at least 1"):
        cotan.create_layer("gin", 3, 8, hidden=0)
    with pytest.raises(
        cotan.CotanError, match=r"option hops=1.5 of layer 'sgc': expected a whole number; the default is 2"
    ):
        cotan.create_layer("sgc", 3, 8, hops=1.5)
    with pytest.raises(cotan.CotanError, match="gat: heads=3, expected a divisor of out_dim=8, or concat=False"):
        cotan.create_layer("gat", 3, 8, heads=3)


@pytest.mark.parametrize(
    ("name", "option", "instead"),
    [
        (
            "gcn",
            "normalize",
            r"the matrix is a node: layer.needs = \{'normalized_adjacency': 'adjacency'\} gives it another",
        ),
        ("sgc", "cached", "what depends on the graph alone is computed once in any case"),
        ("sage", "aggr", "the layer 'aggregate' takes aggregate= and combine="),
        ("gat", "edge_dim", "the layers 'aggregate', which takes edge_dim=, and 'gaussian' see edge_attr"),
        ("chebyshev", "K", "terms are order=, steps hops="),
    ],
)
def test_an_option_of_pyg_is_told_what_there_is_instead(name, option, instead):
    for create in (cotan.create_layer, cotan.create_model):
        with pytest.raises(cotan.CotanError, match=f"unknown option .*'{option}'.* As for PyG's {option}: {instead}"):
            create(name, 3, 8, **{option: 1})


@pytest.mark.parametrize(("name", "parameter"), [("gcn", "normalized_adjacency"), ("gat", "adjacency")])
def test_another_matrix_is_pyg_without_self_loops_and_norm(name, parameter):
    from torch_geometric.nn import GATConv, GCNConv

    layer, data = cotan.create_layer(name, 3, 4), graph(0)
    peer = GCNConv(3, 4, normalize=False) if name == "gcn" else GATConv(3, 4, add_self_loops=False)
    layer.needs = {parameter: "adjacency"}
    pairs = [(layer.linear.weight, peer.lin.weight), (layer.bias, peer.bias)]
    if name == "gat":
        pairs += [(layer.from_source, peer.att_src), (layer.from_target, peer.att_dst)]
    agree(layer, peer, pairs, data, 3)
