import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddSelfLoops
from torch_geometric.utils import dropout_edge, to_undirected

import cotan
from cotan.nodes import SOURCES, Source
from cotan.shapes import listed


def graphs(*sizes: int) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    return [
        Data(
            x=torch.randn(size, 4, generator=generator),
            edge_index=torch.randint(size, (2, 3 * size), generator=generator),
            edge_attr=torch.rand(3 * size, 2, generator=generator),
        )
        for size in sizes
    ]


@pytest.fixture
def batch() -> Batch:
    return Batch.from_data_list(graphs(5, 9, 4))


@pytest.fixture
def gcn() -> nn.Module:
    torch.manual_seed(0)
    return cotan.create_model("gcn", 4, 2).eval()


def alone(model, batch):
    """The model on each shape, cut by hand."""
    out = []
    for number in range(int(batch.batch.max()) + 1):
        own = (batch.batch == number).nonzero()[:, 0]
        of = (batch.edge_index >= own[0]).all(0) & (batch.edge_index <= own[-1]).all(0)
        weights = {} if batch.get("edge_weight") is None else {"edge_weight": batch.edge_weight[of]}
        out.append(cotan.apply(model, Data(x=batch.x[own], edge_index=batch.edge_index[:, of] - own[0], **weights)))
    return torch.cat(out)


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    elif isinstance(one, dict | list):
        assert len(one) == len(other)
        for key in one if isinstance(one, dict) else range(len(one)):
            same(one[key], other[key])
    else:
        assert one == other


@pytest.mark.parametrize("sizes", [(5, 9, 4), (6, 6, 6), (6,), (4, 1)])
def test_an_unchanged_batch_is_cut_as_pyg_cuts_it(sizes):
    shapes = graphs(*sizes)
    for number, shape in enumerate(shapes):
        size = len(shape.x)
        shape.y, shape.path, shape.names, shape.number = torch.tensor(number), "a.off", ["a", "b"], 0.5
        shape.mask, shape.u, shape.image = torch.rand(size) < 0.5, torch.rand(1, 3), torch.rand(3, 4, 4)
        shape.y_index, shape.face = torch.randint(size, (2, 3)), torch.randint(size, (3, number + 1))
        shape.nested = {"of": [torch.rand(2), torch.rand(number)]}
    batch = Batch.from_data_list(shapes)
    for one, other in zip(batch.to_data_list(), listed(batch), strict=True):
        assert type(one) is type(other)
        assert {*one.keys(), "num_nodes"} == set(other.keys())
        for key in one.keys():
            same(one[key], other[key])


def test_shapes_without_vertices_are_counted():
    none = torch.zeros(2, 0, dtype=torch.long)
    shapes = listed(Batch.from_data_list([Data(edge_index=none, num_nodes=size) for size in (0, 2, 0)]))
    assert [shape.num_nodes for shape in shapes] == [0, 2, 0]


def weighted(batch):
    batch.edge_weight = torch.rand(batch.num_edges, generator=torch.Generator().manual_seed(1))


def thinned(batch):
    batch.edge_index, kept = dropout_edge(batch.edge_index, p=0.3)
    batch.edge_attr = batch.edge_attr[kept]


def undirected(batch):
    batch.edge_index, batch.edge_attr = to_undirected(batch.edge_index, batch.edge_attr)


def shuffled(batch):
    order = torch.randperm(batch.num_edges, generator=torch.Generator().manual_seed(1))
    batch.edge_index, batch.edge_weight = batch.edge_index[:, order], order / 54
    batch.edge_attr = batch.edge_attr[order]


def looped(batch):
    del batch.edge_attr
    AddSelfLoops()(batch)


def halved(batch):
    part = batch.subgraph(torch.arange(batch.num_nodes) % 2 == 0)
    for key in part.keys():
        batch[key] = part[key]


CHANGES = [weighted, thinned, undirected, shuffled, looped, halved]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_on_a_batch_counts(change, batch, gcn):
    before = cotan.apply(gcn, batch)
    change(batch)
    assert not torch.allclose(cotan.apply(gcn, batch), before) or change is looped
    torch.testing.assert_close(cotan.apply(gcn, batch), alone(gcn, batch))
    for by_hand in (Data, Batch):
        given = {key: batch[key] for key in ("x", "edge_index", "edge_weight", "batch") if key in batch}
        torch.testing.assert_close(cotan.apply(gcn, by_hand(**given)), alone(gcn, batch))


def test_features_of_edges_go_with_their_edges(batch):
    layer = cotan.create_layer("aggregate", 4, 3, edge_dim=2)
    before = cotan.apply(layer, batch)
    shuffled(batch)
    del batch.edge_weight
    torch.testing.assert_close(cotan.apply(layer, batch), before)


def test_gradients_reach_what_is_set_on_a_batch(batch):
    layer = cotan.create_layer("gcn", 4, 3)
    batch.x, batch.edge_weight = (torch.rand(size, requires_grad=True) for size in ((18, 4), (54,)))
    cotan.apply(layer, batch).square().sum().backward()
    derivatives = batch.x.grad, batch.edge_weight.grad
    batch.x.grad = batch.edge_weight.grad = None
    whole = Data(x=batch.x, edge_index=batch.edge_index, edge_weight=batch.edge_weight)
    cotan.apply(layer, whole).square().sum().backward()
    torch.testing.assert_close(derivatives, (batch.x.grad, batch.edge_weight.grad))
    assert batch.edge_weight.grad.abs().sum() > 0


def test_a_batch_gets_features_and_targets(batch):
    batch.pos, batch.y, batch.mask = torch.rand(18, 3), torch.arange(18), torch.arange(18) > 3
    batch.image, batch.name, batch.table = torch.rand(3, 1, 4, 4), ["a", "b", "c"], torch.rand(7, 7)
    batch.time = torch.tensor(0.5)
    shapes = listed(batch)
    for name in ("pos", "y", "mask"):
        assert torch.equal(torch.cat([shape[name] for shape in shapes]), batch[name])
        assert [len(shape[name]) for shape in shapes] == [5, 9, 4]
    assert torch.equal(torch.stack([shape.image for shape in shapes]), batch.image)
    assert [shape.name for shape in shapes] == batch.name
    assert all(shape.table is batch.table and shape.time is batch.time for shape in shapes)
    named = Batch.from_data_list([Data(name=name, num_nodes=2) for name in "abc"])
    named.name = ["a"]  # for all
    assert [shape.name for shape in listed(named)] == [["a"]] * 3
    batch.y = torch.rand(3, 2)
    assert torch.equal(torch.stack([shape.y for shape in listed(batch)]), batch.y)


def test_what_cannot_be_cut_is_refused(batch, gcn):
    def refused(message, **changes):
        other = batch.clone()
        for name, value in changes.items():
            other[name] = value
        with pytest.raises(cotan.CotanError, match=message):
            cotan.apply(gcn, other)

    across = torch.cat([batch.edge_index, torch.tensor([[0], [7]])], 1)
    refused(r"edge_index of the batch joins .*column 54 is \[0, 7\], of shapes \[0, 1\]", edge_index=across)
    refused(r"edge_index out of range: vertex numbers -1 to 16, expected 0 to 17", edge_index=batch.edge_index - 1)
    refused(r"edge_index holds torch.float32", edge_index=batch.edge_index.float())
    refused(r"edge_weight .* shape \(53,\), expected a row for each edge; there are 54", edge_weight=torch.rand(53))
    refused(
        r"edge_attr .* shape \(54, 2\), expected a row for each edge; there are 50", edge_index=batch.edge_index[:, 4:]
    )
    refused(r"x of the batch has shape \(17, 4\), expected a row for each vertex; there are 18", x=batch.x[1:])
    refused(r"batch has shape \(18,\) of torch.int64, expected .* in ascending order", batch=batch.batch.flip(0))


def test_a_data_with_the_vector_batch_is_no_one_shape(batch, gcn):
    data = Data(x=batch.x, edge_index=batch.edge_index, batch=batch.batch)
    torch.testing.assert_close(cotan.apply(gcn, data), alone(gcn, batch))
    gcn.task = "classify"
    predicted = torch.stack([each.probabilities for each in cotan.predict(gcn, data)])
    torch.testing.assert_close(predicted, alone(gcn, batch).softmax(1))
    assert torch.equal(cotan.inputs(Batched(), data)["batch"], batch.batch)
    for wrong in (data, batch):
        with pytest.raises(cotan.CotanError, match="a batch of 3 shapes where one is expected"):
            cotan.compute(wrong, "adjacency")
    pointed = Data(x=batch.x, edge_index=batch.edge_index, ptr=batch.ptr)
    torch.testing.assert_close(cotan.apply(gcn, pointed), alone(gcn, batch))
    one = Data(x=data.x[:5], edge_index=data.edge_index[:, :15], batch=data.batch[:5])
    assert isinstance(cotan.predict(gcn, one).label, int)
    assert len(cotan.predict(gcn, Batch.from_data_list([one]))) == 1


class Batched(nn.Module):
    def forward(self, x, batch): ...


def test_an_attribute_of_other_edges_keeps_its_slices(monkeypatch):
    monkeypatch.setitem(SOURCES, "edge_label", Source("edge_label", "edge"))
    shapes = graphs(5, 9)  # 15 and 27 edges
    shapes[0].edge_label, shapes[1].edge_label = torch.zeros(20), torch.ones(22)
    assert [len(shape.edge_label) for shape in listed(Batch.from_data_list(shapes))] == [20, 22]


def test_vertex_numbers_of_ones_own_are_local_to_a_shape(monkeypatch):
    monkeypatch.setitem(SOURCES, "pair_index", Source("pair_index", "edge", "vertex"))
    shapes = graphs(5, 9)
    for shape in shapes:
        shape.pair_index = torch.tensor([[0, 1], [2, 3]])
    batch = Batch.from_data_list(shapes)
    assert [shape.pair_index.tolist() for shape in listed(batch)] == [[[0, 1], [2, 3]]] * 2
    batch.pair_index = torch.tensor([[6, 0, 13], [5, 4, 5]])
    assert [shape.pair_index.tolist() for shape in listed(batch)] == [[[0], [4]], [[1, 8], [0, 0]]]
