"""Stochastic block model: the edge probabilities are met, the masks part the nodes, the graph helps."""

import pytest
import torch

import cotan


def test_the_graph_is_a_block_model():
    options = {"nodes": 1000, "classes": 2, "inside": 0.05, "between": 0.01, "signal": 3.0, "seed": 3}
    shape = cotan.load_dataset("blocks", **options).train[0]
    source, target = shape.edge_index
    assert (source != target).all()
    keys = source * 1000 + target
    assert torch.equal(keys, keys.sort().values)
    assert torch.equal(keys, (target * 1000 + source).sort().values)  # both directions
    same = shape.y[source] == shape.y[target]
    pairs_inside, pairs_between = 2 * 500 * 499, 2 * 500 * 500
    for count, pairs, p in ((same.sum(), pairs_inside, 0.05), ((~same).sum(), pairs_between, 0.01)):
        expected, deviation = pairs * p, (2 * pairs * p * (1 - p)) ** 0.5  # an edge counts twice
        assert abs(count - expected) < 5 * deviation
    middle = torch.stack([shape.x[shape.y == c].mean(0) for c in range(2)])
    assert middle.norm(dim=1) == pytest.approx([3.0, 3.0], abs=0.3)
    assert (shape.x - middle[shape.y]).std() == pytest.approx(1, abs=0.05)


def test_masks_part_the_nodes():
    data = cotan.load_dataset("blocks", labelled=7)
    masks = [split[0].mask for split in (data.train, data.val, data.test)]
    assert torch.equal(sum(m.long() for m in masks), torch.ones(400, dtype=torch.long))
    assert torch.bincount(data.train[0].y[masks[0]]).tolist() == [7] * 4
    assert torch.equal(data.train[0].x, data.test[0].x)
    assert data.digest == cotan.load_dataset("blocks", labelled=7).digest
    other = cotan.load_dataset("blocks", labelled=7, seed=1)
    assert data.digest != other.digest
    assert not torch.equal(masks[0], other.train[0].mask)


def test_neighbours_tell_more_than_the_node_itself():
    shape = cotan.load_dataset("blocks", inside=0.2, features=4).test[0]
    adjacency = torch.zeros(400, 400).index_put((shape.edge_index[0], shape.edge_index[1]), torch.ones(()))
    around = adjacency @ shape.x / adjacency.sum(1, keepdim=True).clamp(min=1)

    def score(x):
        centres = torch.stack([x[shape.y == c].mean(0) for c in range(4)])
        return (torch.cdist(x, centres).argmin(1) == shape.y).double().mean()

    assert score(around) > score(shape.x) + 0.1


def test_bad_options():
    with pytest.raises(cotan.CotanError, match="labelled=99"):
        cotan.load_dataset("blocks", labelled=99)
    least = cotan.load_dataset("blocks", labelled=98)  # one of each class for val and one for test
    assert [int(split[0].mask.sum()) for split in (least.train, least.val, least.test)] == [392, 4, 4]
