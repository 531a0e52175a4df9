import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan.sparse import segment_max

DATA = Data(edge_index=torch.tensor([[0, 1, 2, 2], [2, 2, 0, 2]]), num_nodes=4)  # 2 hears 0, 1 and itself
X = torch.tensor([[1.0, -5.0], [2.0, 0.0], [6.0, -1.0], [9.0, 9.0]])


def gathered(aggregate, data=DATA, x=X, **options):
    """What reaches the combine."""
    kinds = len(aggregate) if isinstance(aggregate, list) else 1
    width = kinds * x.shape[1]
    layer = cotan.create_layer("aggregate", x.shape[1], width, aggregate=aggregate, combine=lambda a, x: a, **options)
    return layer(x, **cotan.inputs(layer, data))


@pytest.mark.parametrize(
    ("kind", "of_two"),
    [("sum", [9, -6]), ("mean", [3, -2]), ("max", [6, 0]), ("min", [1, -5]), ("std", [(14 / 3) ** 0.5] * 2)],
)
def test_named_aggregates_by_hand(kind, of_two):
    y = gathered(kind)
    torch.testing.assert_close(y[2], torch.tensor(of_two, dtype=torch.float))
    torch.testing.assert_close(y[0], torch.zeros(2) if kind == "std" else X[2])
    assert not y[[1, 3]].any()


@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 1, 1, 1]), torch.tensor([0.5, -2.0, 3.0, 1.5])])
@pytest.mark.parametrize("kind", ["max", "min", "std"])
def test_wide_signals_by_the_messages(kind, weight):
    """What needs no message for each edge gives what messages do, and so do its derivatives by the weights."""
    data, x = DATA.clone(), torch.randn(4, 16, requires_grad=True)
    data.edge_weight = weight
    reduce = {"max": torch.amax, "min": torch.amin, "std": lambda m, dim: m.std(dim, correction=0)}[kind]
    y = gathered(kind, data, x)[2]
    m = (torch.ones(3) if weight is None else weight[[0, 1, 3]])[:, None] * x[:3]
    torch.testing.assert_close(y, reduce(m, 0))
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), x)[0] for v in (y, reduce(m, 0))))
    layer = cotan.create_layer("aggregate", 16, 16, aggregate=kind, combine=lambda a, x: a)
    adjacency = cotan.compute(DATA, "adjacency")
    learned = torch.ones(4, requires_grad=True)
    assert torch.autograd.grad(layer(x, adjacency.with_values(learned))[2].sum(), learned)[0].abs().sum() > 0


def test_several_stand_side_by_side():
    both = gathered(["max", "mean", lambda m, pattern: segment_max(m.abs(), pattern)])
    assert torch.equal(both, torch.cat([gathered("max"), gathered("mean"), gathered("max", x=X.abs())], 1))


def test_attention_weighs_to_one():
    torch.manual_seed(0)
    y = gathered("attention", x=torch.tensor([1.5, -2.0]).expand(4, 2))
    torch.testing.assert_close(y, torch.tensor([1.0, 0, 1, 0])[:, None] * torch.tensor([1.5, -2.0]))
    y = gathered("attention")[2]
    assert (X[:3].amin(0) < y).all()
    assert (y < X[:3].amax(0)).all()


def test_attention_sees_edge_weights_and_features_as_the_messages_do():
    """Against the same attention written on messages, as a function."""
    data = DATA.clone()
    data.edge_weight, data.edge_attr = torch.tensor([0.5, 2.0, 3.0, 1.5]), torch.randn(4, 3)
    layer = cotan.create_layer("aggregate", 2, 2, aggregate="attention", combine=lambda a, x: a, edge_dim=3)
    weight, features = data.edge_weight[[0, 1, 3], None], data.edge_attr[[0, 1, 3]]  # of the edges that reach 2
    m = weight * (X[:3] + layer.edge(features))
    s, t = layer.score
    p = nn.functional.leaky_relu(m @ s + X[2] @ t, 0.2).softmax(0)
    torch.testing.assert_close(layer(X, **cotan.inputs(layer, data))[2], p @ m)


def test_combine_add_is_linear_in_both():
    layer = cotan.create_layer("aggregate", 2, 3)
    y, a = layer(X, **cotan.inputs(layer, DATA)), gathered("mean")
    w, u = layer.combine.gathered, layer.combine.own
    torch.testing.assert_close(y, a @ w.weight.T + w.bias + X @ u.weight.T)


def test_combine_concatenate_keeps_them_apart():
    layer = cotan.create_layer("aggregate", 2, 5, combine="concatenate")
    nodes = cotan.inputs(layer, DATA)
    y = layer(X, **nodes)
    changed = X.clone()
    changed[3] += 1  # which sends nothing
    assert torch.equal((layer(changed, **nodes) != y).any(0), torch.tensor([False] * 3 + [True] * 2))
    assert cotan.create_layer("aggregate", 2, 2, combine="concatenate")(X, **nodes).shape == (4, 2)
    with pytest.raises(cotan.CotanError, match="combine='concatenate' needs out_dim of at least 2"):
        cotan.create_layer("aggregate", 2, 1, combine="concatenate")


def test_combine_gru_can_keep_its_state():
    """With the update gate open, the state x U stays, whatever is gathered."""
    layer = cotan.create_layer("aggregate", 2, 3, combine="gru")
    with torch.no_grad():
        layer.combine.gathered.bias_ih[3:6] = 50.0
    torch.testing.assert_close(layer(X, **cotan.inputs(layer, DATA)), layer.combine.own(X))


def test_combine_mlp_is_not_linear():
    layer = cotan.create_layer("aggregate", 2, 3, combine="mlp")
    nodes = cotan.inputs(layer, DATA)
    y0, y1, y2 = (layer(k * X, **nodes) for k in (0.0, 1.0, 2.0))
    assert (y2 - 2 * y1 + y0).abs().max() > 1e-3


def test_modules_given_are_learned():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = nn.Parameter(torch.tensor(2.0))

        def forward(self, m, pattern):
            return segment_max(self.by * m, pattern)

    layer = cotan.create_layer("aggregate", 2, 3, aggregate=["sum", Scaled()], combine=nn.Bilinear(4, 2, 3))
    layer(X, **cotan.inputs(layer, DATA)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())
    assert len(list(layer.parameters())) == 3


def test_each_layer_learns_its_own_copy_of_a_module():
    class Gathered(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, m, pattern):
            return segment_max(self.linear(m), pattern)

    gather, combine = Gathered(), nn.Bilinear(4, 4, 4)
    net = cotan.create_model("aggregate", 2, 3, width=4, depth=3, aggregate=gather, combine=combine)
    weights = [(layer.combine.weight, layer.aggregates[0].linear.weight) for layer in net.layers]
    cotan.apply(net, Data(x=X, edge_index=DATA.edge_index)).square().sum().backward()
    for of, given in zip(zip(*weights, strict=True), (combine.weight, gather.linear.weight), strict=True):
        assert len({w.data_ptr() for w in (*of, given)}) == 4
        assert len({tuple(w.grad.flatten().tolist()) for w in of}) == 3  # nothing is added up
        assert given.grad is None
        torch.testing.assert_close([w.detach() for w in of], [given.detach()] * 3)


def test_a_graph_of_another_size_is_compiled_too():
    layer = cotan.create_layer("aggregate", 2, 3, aggregate=["max", "attention"])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    edge = torch.arange(6)
    other = Data(edge_index=torch.stack([edge, edge + 1]), num_nodes=8)
    for data, x in ((DATA, X.clone().requires_grad_()), (other, torch.randn(8, 2))):
        nodes = cotan.inputs(layer, data)
        torch.testing.assert_close(compiled(x, **nodes), layer(x, **nodes))


def test_std_has_a_derivative_where_nothing_varies():
    x = torch.ones(4, 2, requires_grad=True)
    layer = cotan.create_layer("aggregate", 2, 3, aggregate="std")
    layer(x, **cotan.inputs(layer, DATA)).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_std_far_from_zero():
    """A difference of squares would be off by far more."""
    y = gathered("std", x=X + 4000)
    torch.testing.assert_close(y[2], torch.full((2,), (14 / 3) ** 0.5), atol=1e-3, rtol=0)


def test_errors():
    def make(**options):
        return cotan.create_layer("aggregate", 2, 3, **options)

    with pytest.raises(
        cotan.CotanError,
        match=r"unknown aggregate 'median'\. Did you mean 'mean'\? There is: attention, max, mean, min, std, sum",
    ):
        make(aggregate=["mean", "median"])
    with pytest.raises(
        cotan.CotanError, match=r"unknown combine of aggregate 'lstm'\. There is: add, concatenate, gru, mlp, or a func"
    ):
        make(combine="lstm")
    for options in ({"combine": nn.Bilinear}, {"aggregate": ["sum", nn.Bilinear]}):
        with pytest.raises(cotan.CotanError, match=r"aggregate: Bilinear is a class, expected a function or a module"):
            make(**options)
    layer = make(edge_dim=2)
    with pytest.raises(cotan.CotanError, match="edge_dim=2, but the data's edge_attr has 0 channels"):
        layer(X, **cotan.inputs(layer, DATA))
    layer = make(aggregate=lambda m, pattern: m)
    with pytest.raises(cotan.CotanError, match=r"the aggregate function gave \(3, 2\), expected \(4, 2\)"):
        layer(X, **cotan.inputs(layer, Data(edge_index=DATA.edge_index[:, :3], num_nodes=4)))
    layer = make(combine=lambda a, x: a)
    with pytest.raises(cotan.CotanError, match=r"the combine function gave \(4, 2\), expected \(4, 3\)"):
        layer(X, **cotan.inputs(layer, DATA))


def test_a_method_of_a_module_stays_its_owners():
    owner = nn.Linear(4, 3)
    layer = cotan.create_layer("aggregate", 2, 3, combine=owner.forward)
    assert layer.combine.__self__ is owner
