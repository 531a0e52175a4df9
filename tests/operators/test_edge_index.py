import networkx as nx
import torch

from cotan.operators.edge_index import edge_index


def test_one_triangle():
    assert edge_index(torch.tensor([[2], [0], [5]])).tolist() == [[0, 0, 2, 2, 5, 5], [2, 5, 0, 5, 0, 2]]


def test_against_networkx(hard):
    face = hard[1]
    graph = nx.Graph()
    for a, b, c in face.T.tolist():
        graph.add_edges_from([(a, b), (b, c), (c, a)])
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert {*zip(*edge_index(face).tolist())} == {*graph.edges, *((b, a) for a, b in graph.edges)}


def test_sorted_unique_symmetric(hard):
    edges = edge_index(hard[1])
    key = edges[0] * (edges.max() + 1) + edges[1]
    assert (key.diff() > 0).all()
    assert (edges[0] != edges[1]).all()
    assert {*zip(*edges.tolist())} == {*zip(*edges.flip(0).tolist())}
