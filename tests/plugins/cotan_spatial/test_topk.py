"""Pooling by learned scores against PyG's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.nn import TopKPooling

import cotan
from cotan_spatial.topk import TopK, largest, part


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 0.8]), st.integers(0, 99))
def test_as_pyg(sizes, ratio, seed):
    """The same vertices stay, with the same signal, and the same edges between them."""
    torch.manual_seed(seed)
    size = sum(sizes)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    x = torch.randn(size, 3)
    edge_index = torch.randint(size, (2, 4 * size))
    edge_index = edge_index[:, batch[edge_index[0]] == batch[edge_index[1]]]
    weight = torch.rand(edge_index.shape[1])
    ours, theirs = TopK(3, ratio), TopKPooling(3, ratio)
    theirs.select.weight.data = ours.weight.data[None].clone()
    y, matrix, groups, kept = ours(x, cotan.sparse.adjacency(edge_index, size, weight)[0], batch)
    y2, edges, weight2, groups2, kept2, _ = theirs(x, edge_index, weight, batch)
    assert torch.equal(kept, kept2)
    assert torch.equal(groups, groups2)
    assert torch.allclose(y, y2, atol=1e-6)
    assert torch.allclose(matrix.to_dense(), cotan.sparse.adjacency(edges, len(kept2), weight2)[0].to_dense())


@pytest.mark.parametrize(("ratio", "size", "stay"), [(0.55, 100, 55), (0.07, 100, 7), (0.28, 25, 7)])
def test_products_that_round_to_above_a_whole_number_keep_no_more(ratio, size, stay):
    assert ratio * size > stay
    assert len(largest(torch.rand(size), torch.zeros(size, dtype=torch.long), ratio)) == stay


def test_shapes_without_vertices_may_stand_between():
    batch, score = torch.tensor([2, 2, 2, 7, 9, 9]), torch.tensor([1.0, 3, 2, 0, 5, 4])
    for dtype in (torch.float32, torch.float64):
        assert largest(score.to(dtype), batch, 0.5).tolist() == [1, 2, 3, 4]


def test_part_is_a_slice():
    A = cotan.Sparse.from_coo(torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 1, 0]), torch.arange(4.0) + 1, (3, 3))
    kept = torch.tensor([2, 0])
    assert torch.equal(part(A, kept).to_dense(), A.to_dense()[kept][:, kept])


def test_scores_learn(sphere):
    model = cotan.create_model("topk", 3, 2, width=8)
    cotan.apply(model, [sphere, sphere]).square().sum().backward()
    for pool in model.pools:
        assert pool.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("task", "depth"), [("classify", 1), ("label", 2)])
def test_kit(task, depth):
    report = cotan.testing.check_model("topk", task=task, width=16, depth=depth, ratio=0.7, compile=True)
    assert "torch.compile(fullgraph=True)" in report.passed


def test_a_vertex_without_edges_hears_itself():
    data = Data(x=torch.randn(3, 1, requires_grad=True), edge_index=torch.zeros(2, 0, dtype=torch.long))
    torch.manual_seed(0)
    cotan.apply(cotan.create_model("topk", 1, 2, depth=1, ratio=1.0), data).sum().backward()
    assert data.x.grad.all()


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"width": 0}])
def test_nothing_to_pool(wrong):
    with pytest.raises(cotan.CotanError, match=r"topk: (width|depth)=.*, expected a whole number of at least 1"):
        cotan.create_model("topk", 1, 2, **wrong)


def test_one_signal_at_a_time(sphere):
    model = cotan.create_model("topk", 3, 2)
    with pytest.raises(cotan.CotanError, match=r"a signal of shape \(642, 1, 3\), expected \(V, C\)"):
        model(sphere.pos[:, None], **cotan.inputs(model, sphere))


def test_unknown_ratio():
    for ratio in (2.0, 0.0, float("nan")):
        with pytest.raises(cotan.CotanError, match=f"ratio={ratio}, expected a number above 0, at most 1"):
            cotan.create_model("topk", 1, 2, ratio=ratio)


@given(
    st.lists(st.sampled_from([-2.0, -1.0, -1e-40, -0.0, 0.0, 1e-40, 0.5, 3.0, float("inf")]), min_size=1, max_size=40)
)
def test_equal_scores_keep_their_order(scores):
    batch = torch.arange(len(scores)) * 3 // len(scores)
    by_hand = []
    for shape in range(3):
        at = (batch == shape).nonzero()[:, 0].tolist()
        by_hand += sorted(at, key=lambda i: -scores[i])[: -(-len(at) // 2)]
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert largest(torch.tensor(scores, dtype=dtype), batch, 0.5).tolist() == by_hand
