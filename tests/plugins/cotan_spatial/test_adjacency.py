import pytest
import torch
from torch_geometric.data import Data

import cotan


def test_adjacency_sums_over_the_edges_that_come_in():
    data = Data(edge_index=torch.tensor([[0, 0, 2], [1, 1, 2]]), edge_weight=torch.tensor([2.0, 3.0, 5.0]), num_nodes=3)
    assert cotan.compute(data, "adjacency").to_dense().tolist() == [[0, 0, 0], [5, 0, 0], [0, 0, 5]]
    looped = cotan.compute(data, "adjacency", self_loops=True)
    assert looped.to_dense().tolist() == [[1, 0, 0], [5, 1, 0], [0, 0, 5]]
    assert cotan.compute(data, "mean_adjacency").to_dense().tolist() == [[0, 0, 0], [2.5, 0, 0], [0, 0, 5]]


@pytest.mark.parametrize("weight", [torch.ones(3), torch.ones(1, 2)])
@pytest.mark.parametrize("name", ["adjacency", "normalized_adjacency", "coarsen", "rescaled_laplacian"])
def test_weights_of_another_number_of_edges(name, weight):
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=weight, num_nodes=2)
    with pytest.raises(cotan.CotanError, match="edge_weight: expected 2 numbers, one for each edge"):
        cotan.compute(data, name)


def test_weights_may_be_negative_but_are_finite():
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.tensor([-2.0, 3.0]), num_nodes=2)
    assert cotan.compute(data, "adjacency").to_dense().tolist() == [[0, 3], [-2, 0]]
    data.edge_weight = torch.tensor([1.0, float("nan")])
    with pytest.raises(cotan.CotanError, match="edge_weight has NaN or infinite values at 1 of 2 edges"):
        cotan.compute(data, "adjacency")


def test_weights_as_a_column():
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.tensor([[2.0], [3.0]]), num_nodes=2)
    assert cotan.compute(data, "adjacency").to_dense().tolist() == [[0, 3], [2, 0]]


def test_of_several_self_loops_the_last_stays():
    data = Data(edge_index=torch.tensor([[0, 1, 0], [0, 1, 0]]), edge_weight=torch.tensor([2.0, 4.0, 3.0]), num_nodes=3)
    assert cotan.compute(data, "adjacency", self_loops=True).to_dense().tolist() == [[3, 0, 0], [0, 4, 0], [0, 0, 1]]
    del data.edge_weight
    assert torch.equal(cotan.compute(data, "adjacency", self_loops=True).to_dense(), torch.eye(3))


def test_a_light_self_loop_is_normalized_by_hand():
    data = Data(edge_index=torch.tensor([[0, 0], [0, 1]]), edge_weight=torch.tensor([0.25, 1.0]), num_nodes=2)
    expected = torch.tensor([[1, 0], [2**0.5, 0.5]])
    torch.testing.assert_close(cotan.compute(data, "normalized_adjacency").to_dense(), expected)


def test_what_no_weight_reaches_is_left_out_of_the_normalized():
    data = Data(edge_index=torch.tensor([[0, 0], [0, 1]]), edge_weight=torch.tensor([0.0, 1.0]), num_nodes=2)
    assert cotan.compute(data, "normalized_adjacency").to_dense().tolist() == [[0, 0], [0, 0.5]]


def test_a_negative_degree_has_no_root():
    both = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    data = Data(edge_index=both, edge_weight=torch.tensor([0.5, 0.5, -0.25, -0.25]), x=torch.rand(3, 4))
    degree = torch.tensor([1.5, 1.25, 0.75])  # as PyG has it, where all are positive
    assert float(cotan.compute(data, "normalized_adjacency").to_dense()[2, 1]) == pytest.approx(
        -0.25 / float(degree[1] * degree[2]) ** 0.5
    )
    data.edge_weight = data.edge_weight * 6
    with pytest.raises(cotan.CotanError, match=r"to vertex 2, with its self-loop, sum to -0.5, .* edge_weight.abs\(\)"):
        cotan.apply(cotan.create_layer("gcn", 4, 2), data)
    with pytest.raises(cotan.CotanError, match=r"of at least 0, got -1.5; edge_weight.abs\(\) counts both"):
        cotan.apply(cotan.create_layer("chebyshev", 4, 2), data)


@pytest.mark.parametrize("weighted", [False, True])
def test_normalized_adjacency_is_pyg_gcn_norm(weighted):
    from torch_geometric.nn.conv.gcn_conv import gcn_norm
    from torch_geometric.utils import to_dense_adj

    g = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 9, (2, 30), generator=g)
    edges = torch.cat([edges, edges[:, :6], torch.tensor([[3, 3], [3, 3]])], 1)
    data = Data(edge_index=edges, num_nodes=12)
    if weighted:
        data.edge_weight = torch.rand(edges.shape[1], generator=g) + 0.1
    index, weight = gcn_norm(edges, data.get("edge_weight"), 12)
    expected = to_dense_adj(index, edge_attr=weight, max_num_nodes=12)[0].T
    torch.testing.assert_close(cotan.compute(data, "normalized_adjacency").to_dense().float(), expected)
