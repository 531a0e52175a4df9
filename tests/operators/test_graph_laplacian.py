import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cotan.errors import CotanError
from cotan.operators.graph_laplacian import graph_laplacian, heat_laplacian
from cotan.operators.mass import degree_mass


def cycle(n):
    i = torch.arange(n)
    return torch.cat([torch.stack([i, (i + 1) % n]), torch.stack([(i + 1) % n, i])], 1)


def test_cycle_has_its_known_eigenvalues():
    n = 12
    values = torch.linalg.eigvalsh(graph_laplacian(cycle(n), n).to_dense())
    known = np.sort(2 - 2 * np.cos(2 * np.pi * np.arange(n) / n))
    np.testing.assert_allclose(values, known, atol=1e-13)


graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1), st.floats(0, 10)), max_size=40)
    )
)


def tensors(graph):
    n, edges = graph
    edge_index = torch.tensor([e[:2] for e in edges], dtype=torch.long).view(-1, 2).T
    return n, edge_index, torch.tensor([e[2] for e in edges], dtype=torch.float64)


@settings(deadline=None, max_examples=60)
@given(graphs)
def test_energy(graph):
    n, edge_index, weight = tensors(graph)
    L = graph_laplacian(edge_index, n, weight)
    x = torch.linspace(-1, 2, n, dtype=torch.float64).sin()
    energy = (weight * (x[edge_index[0]] - x[edge_index[1]]) ** 2).sum() / 2
    torch.testing.assert_close(x @ (L @ x), energy)
    assert L.sum_rows().abs().max() < 1e-12


@settings(deadline=None, max_examples=60)
@given(graphs)
def test_normalisations_against_scipy(graph):
    from scipy.sparse.csgraph import laplacian

    n, edge_index, weight = tensors(graph)
    A = np.zeros((n, n))
    np.add.at(A, (edge_index[0].numpy(), edge_index[1].numpy()), weight.numpy())
    A = (A + A.T) / 2
    np.fill_diagonal(A, 0)
    A[A < 1e-150] = 0  # scipy's own scaling breaks down below
    rows, cols = A.nonzero()
    clean = torch.tensor(np.stack([rows, cols])), n, torch.tensor(A[rows, cols])
    ours = graph_laplacian(*clean, normalization="symmetric").to_dense().numpy()
    np.testing.assert_allclose(ours, laplacian(A, normed=True), atol=1e-12)
    walk = graph_laplacian(*clean, normalization="random-walk")
    m = degree_mass(*clean)
    np.testing.assert_allclose(m[:, None] * walk.to_dense(), graph_laplacian(*clean).to_dense(), atol=1e-12)


def test_asymmetric_edges_count_half():
    L = graph_laplacian(torch.tensor([[0, 1, 1], [1, 0, 2]]), 3)
    assert L.to_dense().tolist() == [[1, -1, 0], [-1, 1.5, -0.5], [0, -0.5, 0.5]]


def test_heat_weights():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 2, 0]])
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    near, far = np.exp(-1 / 3), np.exp(-4 / 3)
    np.testing.assert_allclose(heat_laplacian(pos, edge_index, time=3.0).diagonal(), [near, near + far, far])
    near, far = np.exp(-1 / 2.5), np.exp(-4 / 2.5)
    np.testing.assert_allclose(heat_laplacian(pos * 9, edge_index).diagonal(), [near, near + far, far])


def test_points_in_one_place_have_the_weights_of_the_graph():
    L = heat_laplacian(torch.ones(5, 3), cycle(5))
    assert torch.equal(L.to_dense(), graph_laplacian(cycle(5), 5).to_dense())


def test_graph_without_edges():
    for normalization in ("none", "symmetric", "random-walk"):
        L = graph_laplacian(torch.zeros(2, 0, dtype=torch.long), 3, normalization=normalization)
        assert L.to_dense().abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([[0], [3]]), 3), "edge_index out of range: vertex numbers 0 to 3, expected 0 to 2"),
        ((torch.tensor([[0], [-1]]), 3), "out of range"),
        ((torch.tensor([[0.0], [1.0]]), 3), "holds torch.float32, expected vertex numbers"),
        ((torch.tensor([0, 1]), 3), r"expected shape \(2, E\), got \(2,\)"),
        (
            (torch.tensor([[0], [1]]), 3, torch.tensor([-1.0])),
            "edge_weight: expected finite numbers of at least 0, got -1",
        ),
        ((torch.tensor([[0], [1]]), 3, torch.tensor([float("nan")])), "expected finite numbers of at least 0, got nan"),
        ((cycle(3), 3, torch.tensor([1, 1, 1, 1, 1, torch.inf])), "expected finite numbers of at least 0, got inf"),
        ((torch.tensor([[0], [1]]), 3, torch.ones(2)), "one for each edge"),
        (
            (torch.zeros(2, 6, dtype=torch.long), 3, torch.ones(3, 2)),
            r"expected 6 numbers, one for each edge, got \(3, 2\)",
        ),
        ((torch.tensor([[0], [1]]), 3, torch.tensor(1.0)), r"expected 1 numbers, one for each edge, got \(\)"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(CotanError, match=message):
        graph_laplacian(*arguments)


def test_unknown_normalization():
    with pytest.raises(CotanError, match="Did you mean 'symmetric'"):
        graph_laplacian(cycle(3), 3, normalization="symetric")
