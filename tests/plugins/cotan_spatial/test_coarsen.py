"""Coarse graphs against matchings found one edge at a time, and their place as a domain."""

import math

import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import cotan
from cotan_spatial.coarsen import matching, undirected


def grid(side: int) -> Data:
    """Eight neighbours in the plane."""
    here = torch.arange(side)
    place = torch.cartesian_prod(here, here)
    edge_index = ((place[:, None] - place).abs().amax(-1) == 1).nonzero().T
    return Data(pos=torch.cat([place, 0 * place[:, :1]], 1).double(), edge_index=edge_index)


def random_pairs(size: int, count: int, seed: int, whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(size, (2, count), generator=g)
    weight = torch.randint(1, 3, (count,), generator=g).double() if whole else torch.rand(count, generator=g).double()
    return undirected(edge_index, weight, size)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(1, 90), st.integers(0, 9), st.booleans())
def test_it_is_a_maximal_matching(size, count, seed, whole):
    pair, weight = random_pairs(size, count, seed, whole)
    cluster = matching(pair, weight, size, seed).tolist()
    members = [[i for i in range(size) if cluster[i] == c] for c in range(max(cluster) + 1)]
    assert all(members)
    graph = networkx.Graph(pair.T.tolist())
    assert networkx.is_maximal_matching(graph, {tuple(m) for m in members if len(m) > 1})


def test_by_hand():
    """A path whose middle edge is the best; then one whose outer edges are, though lighter."""
    pair = torch.tensor([[0, 1, 2], [1, 2, 3]])
    assert matching(pair, torch.tensor([1.0, 9.0, 1.0]).double(), 4).tolist() == [0, 1, 1, 2]
    # w (1/d_i + 1/d_j): 1 (1 + 1/2) = 1.5 beats 1 (1/2 + 1/2) = 1
    assert matching(pair, torch.ones(3).double(), 4).tolist() == [0, 0, 1, 1]


def mixed(x: int) -> int:
    """Steele, Lea and Flood's finaliser on a signed number of 64 bits."""

    def signed(y: int) -> int:
        return (y + 2**63) % 2**64 - 2**63

    x = signed(x)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = signed((x ^ (x >> shift)) * factor)
    return x ^ (x >> 31)


def one_edge_after_another(pair, weight, size: int, seed: int) -> list[int]:
    """The same order of edges in plain Python: those of each round from the best down, while both ends are free of it."""
    edges = [(i, j, w) for (i, j), w in zip(pair.T.tolist(), weight.tolist(), strict=True)]
    mate: dict[int, int] = {}
    while edges:
        degree = [sum(w for i, j, w in edges if v in (i, j)) for v in range(size)]
        score = [w * (1 / degree[i] + 1 / degree[j]) for i, j, w in edges]
        level = [round(s / max(score) * 2**40) for s in score]
        around = [seed] * size
        for _ in range(8):
            sent = [0] * size
            for (i, j, _), n in zip(edges, level, strict=True):
                sent[i] += mixed(around[j] + n)
                sent[j] += mixed(around[i] + n)
            around = [mixed(a + b) for a, b in zip(around, sent, strict=True)]
        sides = [(around[i] + around[j] + 2**63) % 2**64 - 2**63 for i, j, _ in edges]
        order = sorted(range(len(edges)), key=lambda e: (level[e], sides[e], mixed(e + seed)), reverse=True)
        seen: set[int] = set()
        for e in order:
            i, j, _ = edges[e]
            if not seen & {i, j}:
                mate[i], mate[j] = j, i
            seen |= {i, j}
        edges = [edge for edge in edges if edge[0] not in mate and edge[1] not in mate]
    first = [min(v, mate.get(v, v)) for v in range(size)]
    return [sorted(set(first)).index(f) for f in first]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 16), st.integers(1, 40), st.integers(0, 9), st.booleans())
def test_as_one_edge_after_another(size, count, seed, whole):
    pair, weight = random_pairs(size, count, seed, whole)
    assert matching(pair, weight, size, seed).tolist() == one_edge_after_another(pair, weight, size, seed)


def test_weights_and_places_by_hand():
    """A square 0 1 2 3 with two heavy sides: they are joined, and the light ones between add up."""
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    weight = torch.tensor([5.0, 1.0, 5.0, 2.0])
    data = Data(
        pos=torch.tensor([[0.0, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]]),
        edge_index=torch.cat([edges, edges.flip(0)], 1),
        edge_weight=torch.cat([weight, weight]),
    )
    coarse = cotan.compute(data, "coarsen", level=1)
    assert coarse.cluster.tolist() == [0, 0, 1, 1]
    assert coarse.edge_index.tolist() == [[0, 1], [1, 0]]
    assert coarse.edge_weight.tolist() == [3.0, 3.0]
    assert coarse.pos.tolist() == [[0.0, 0.5, 0.0], [1.0, 0.5, 0.0]]
    last = cotan.compute(data, "coarsen", level=2)
    assert (last.num_nodes, last.edge_index.shape[1]) == (1, 0)
    assert cotan.compute(data, "coarsen", level=10**12).num_nodes == 1  # nothing is left to join
    once = Data(edge_index=edges, edge_weight=weight, num_nodes=4)  # each edge in one direction: half of it
    assert cotan.compute(once, "coarsen").edge_weight.tolist() == [1.5, 1.5]


def test_weights_by_lengths():
    """exp(-|x_i - x_j|^2 / t), t the mean of the squares: of the edges 1 and 2 long the shorter is joined."""
    path = Data(pos=torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]]), edge_index=torch.tensor([[0, 1], [1, 2]]))
    coarse = cotan.compute(path, "coarsen")
    assert coarse.cluster.tolist() == [0, 0, 1]
    assert coarse.edge_weight.tolist() == pytest.approx([math.exp(-4 / 2.5) / 2] * 2)
    path.pos = torch.zeros(3, 3)
    assert cotan.compute(path, "coarsen").edge_weight.tolist() == [0.5, 0.5]
    path.edge_index = torch.zeros(2, 0, dtype=torch.long)
    assert torch.equal(cotan.compute(path, "coarsen").pos, path.pos)


def graclus(pair, weight, size: int, seed: int) -> list[int]:
    """As Graclus does: vertices in random order, each with the free neighbour of the largest w (1 / d_i + 1 / d_j)."""
    degree = torch.zeros(size, dtype=torch.float64).index_add(0, pair.flatten(), weight.repeat(2)).tolist()
    near: dict[int, list] = {i: [] for i in range(size)}
    for (i, j), w in zip(pair.T.tolist(), weight.tolist(), strict=True):
        near[i].append((j, w))
        near[j].append((i, w))
    cluster = [-1] * size
    for i in torch.randperm(size, generator=torch.Generator().manual_seed(seed)).tolist():
        if cluster[i] < 0:
            free = [(w * (1 / degree[i] + 1 / degree[j]), j) for j, w in near[i] if cluster[j] < 0]
            cluster[i] = i
            if free:
                cluster[max(free)[1]] = i
    return cluster


def share_and_cut(cluster, pair, weight) -> tuple[float, float]:
    cluster = torch.as_tensor(cluster)
    alone = (cluster.unique(return_counts=True)[1] == 1).sum()
    cut = weight[cluster[pair[0]] != cluster[pair[1]]].sum() / weight.sum()
    return 1 - float(alone) / len(cluster), float(cut)


@pytest.mark.parametrize("shape", ["grid", "sphere", "random"])
def test_as_good_as_graclus(shape, sphere):
    """The share of matched vertices, and of the weight between clusters, beside the sequential method and the most."""
    if shape == "random":
        pair, weight = random_pairs(400, 1200, 0, False)
        size = 400
    else:
        data = grid(20) if shape == "grid" else sphere
        edge_index, size = cotan.compute(data, "edge_index"), data.num_nodes
        square = (data.pos[edge_index[0]] - data.pos[edge_index[1]]).double().square().sum(1)
        pair, weight = undirected(edge_index, torch.exp(-square / square.mean()), size)
    share, cut = share_and_cut(matching(pair, weight, size), pair, weight)
    theirs = [share_and_cut(graclus(pair, weight, size, seed), pair, weight) for seed in range(5)]
    graph = networkx.Graph(pair.T.tolist())
    most = 2 * len(networkx.max_weight_matching(graph, maxcardinality=True)) / size if shape != "sphere" else 1
    assert share <= most
    assert share > sum(s for s, _ in theirs) / 5
    assert cut < sum(c for _, c in theirs) / 5


def test_a_matching_leaves_no_edge_free(sphere):
    cluster = cotan.compute(sphere, "coarsen", level=1).cluster
    alone = cluster.bincount()[cluster] == 1
    a, b = cotan.compute(sphere, "edge_index")
    assert not (alone[a] & alone[b]).any()


def test_two_levels_are_one_level_twice(sphere):
    once = cotan.node("coarsen", level=1)
    twice = cotan.compute(sphere, "clusters", coarsen=cotan.node("coarsen", level=2)).to_dense()
    first = cotan.compute(sphere, "clusters", coarsen=once).to_dense()
    second = cotan.compute(sphere, cotan.node("clusters", coarsen=once, on=once)).to_dense()
    assert torch.equal(second @ first, twice)


def test_a_coarse_laplacian_is_of_the_coarse_graph(sphere):
    """P L P^T is the Laplacian of clusters, for the weights that the coarse graph has."""
    graph = Data(edge_index=cotan.compute(sphere, "edge_index"), num_nodes=sphere.num_nodes)
    P = cotan.compute(graph, "clusters").to_dense()
    fine = cotan.compute(graph, "laplacian").to_dense()
    coarse = cotan.compute(graph, cotan.node("laplacian", on="coarsen")).to_dense()
    assert torch.allclose(coarse, P @ fine @ P.T, atol=1e-5)


def test_it_is_computed_once_and_stored(sphere, fresh_store):
    request = cotan.node("rescaled_laplacian", on=cotan.node("coarsen", level=2))
    first = cotan.compute(sphere, request)
    assert cotan.counts(reset=True)["coarsen"].evaluations == 1
    again = cotan.compute(sphere, request)
    assert "coarsen" not in cotan.counts()  # what lies on it is stored too
    assert torch.equal(first.to_dense(), again.to_dense())
    assert cotan.compute(sphere, "coarsen", level=2).num_nodes == len(again.to_dense())
    assert cotan.counts(reset=True)["coarsen"].hits == 1


def test_a_batch_of_sizes(sphere, tetrahedron):
    layer = cotan.on_domain(cotan.create_layer("chebyshev", 2, 3).double(), "coarsen")
    shapes = [sphere, tetrahedron, sphere]
    sizes = [cotan.compute(s, "coarsen").num_nodes for s in shapes]
    x = torch.randn(sum(sizes), 2, dtype=torch.float64)
    together = layer(x, **cotan.inputs(layer, shapes))
    alone = [layer(part, **cotan.inputs(layer, s)) for part, s in zip(x.split(sizes), shapes, strict=True)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-9)


def test_seeds_choose_among_equals():
    data = grid(12)
    found = {tuple(cotan.compute(data, "coarsen", seed=s).cluster.tolist()) for s in range(4)}
    assert len(found) == 4


def test_errors(tetrahedron):
    with pytest.raises(cotan.CotanError, match="level=0, expected a whole number of at least 1"):
        cotan.compute(tetrahedron, "coarsen", level=0)
    data = Data(edge_index=torch.tensor([[0], [1]]), edge_weight=torch.tensor([-1.0]), num_nodes=2)
    with pytest.raises(cotan.CotanError, match="edge_weight: expected finite numbers of at least 0, got -1"):
        cotan.compute(data, "coarsen")
