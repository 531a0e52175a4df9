import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan_spectral.rescaled_laplacian import bound


def largest(data):
    laplacian, mass = cotan.compute(data, ["laplacian", "mass"], dtype=torch.float64).values()
    strong = laplacian.with_values(laplacian.values / mass[laplacian.row])
    root = mass.rsqrt()
    symmetric = laplacian.to_dense() * root[:, None] * root
    return strong, float(torch.linalg.eigvalsh(symmetric)[-1])


def test_the_bound_is_one_and_close(bumpy):
    for data in bumpy:
        strong, true = largest(data)
        assert true <= float(bound(strong)) < 1.15 * true
        assert true < float(bound(strong, steps=0))  # Gershgorin's


def test_spectrum_is_in_the_interval_and_constants_are_its_lower_end(bumpy):
    rescaled = cotan.compute(bumpy[0], "rescaled_laplacian", dtype=torch.float64)
    values = torch.linalg.eigvals(rescaled.to_dense()).real
    assert values.min() == pytest.approx(-1)
    assert 0.7 < values.max() <= 1 + 1e-12
    ones = torch.ones(300, dtype=torch.float64)
    assert torch.allclose(rescaled @ ones, -ones)


def test_unreferenced_vertices_do_not_move_the_bound(bumpy):
    mesh = bumpy[0]
    more = Data(pos=torch.cat([mesh.pos, torch.randn(3, 3, dtype=torch.float64)]), face=mesh.face)
    a, b = (cotan.compute(d, "rescaled_laplacian", dtype=torch.float64).to_dense() for d in (mesh, more))
    assert torch.allclose(a, b[:300, :300], atol=1e-6)
    assert torch.equal(b[300:, 300:], -torch.eye(3, dtype=torch.float64))


def test_on_graphs_it_is_the_normalised_laplacian_less_one(random_graph):
    data = random_graph(weighted=True)
    rescaled = cotan.compute(data, "rescaled_laplacian", dtype=torch.float64).to_dense()
    laplacian = cotan.compute(data, "laplacian", normalization="symmetric", dtype=torch.float64).to_dense()
    expected = laplacian - torch.eye(30, dtype=torch.float64)
    expected[[28, 29], [28, 29]] = 0  # isolated
    assert torch.allclose(rescaled, expected)
    assert torch.linalg.eigvalsh(rescaled).abs().max() <= 1 + 1e-12


def test_by_hand():
    path = Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=4)
    h = -(0.5**0.5)
    expected = torch.tensor([[0, h, 0, 0], [h, 0, h, 0], [0, h, 0, 0], [0, 0, 0, 0]])
    assert torch.allclose(cotan.compute(path, "rescaled_laplacian").to_dense(), expected)


@pytest.mark.parametrize("weight", [[1.0], [1.0, -1.0]])
def test_bad_weights(weight):
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.tensor(weight), num_nodes=2)
    with pytest.raises(cotan.CotanError, match="edge_weight: expected 2 numbers, one for each edge, at least 0; got"):
        cotan.compute(data, "rescaled_laplacian")


def test_point_clouds_have_one(bumpy):
    cloud = Data(pos=bumpy[0].pos)
    values = torch.linalg.eigvals(cotan.compute(cloud, "rescaled_laplacian", dtype=torch.float64).to_dense()).real
    assert values.min() == pytest.approx(-1)
    assert 0.7 < values.max() <= 1 + 1e-12
    assert cotan.apply(cotan.create_model("chebyshev", 3, 2, task="label"), cloud).shape == (300, 2)


def test_kit():
    cotan.testing.check_operator("rescaled_laplacian")
