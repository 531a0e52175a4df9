import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan_spectral.rescaled_laplacian import bound, mesh_rescaled_laplacian


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
    path.edge_index = path.edge_index.repeat(1, 2)
    twice = cotan.compute(path, "rescaled_laplacian")
    assert torch.allclose(twice.to_dense(), expected)
    assert len(twice.values) == 4  # one entry of two edges
    path.edge_weight = torch.full((8, 1), 0.05)
    assert torch.allclose(cotan.compute(path, "rescaled_laplacian").to_dense(), expected)
    path.edge_weight = torch.zeros(8)
    assert not cotan.compute(path, "rescaled_laplacian").to_dense().any()
    one_way = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2)  # none leaves 1, which scales by 0
    assert not cotan.compute(one_way, "rescaled_laplacian").to_dense().any()


def test_the_bound_by_hand():
    """Of [[0, 4], [1, 0]], with eigenvalues 2 and -2, d goes to and fro between (1, 1) and (1, 1/4)."""
    matrix = cotan.Sparse.from_coo(
        torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([4.0, 1.0]).double(), (2, 2)
    )
    assert [float(bound(matrix, steps)) for steps in (0, 1, 2)] == pytest.approx([4] * 3)


def test_a_large_mesh_has_that_of_a_small_one(bumpy):
    large = Data(pos=1000 * bumpy[0].pos, face=bumpy[0].face)
    a, b = (cotan.compute(d, "rescaled_laplacian", dtype=torch.float64).to_dense() for d in (bumpy[0], large))
    assert torch.allclose(a, b)


def test_of_no_energy_is_minus_one():
    nothing = cotan.Sparse.from_coo(torch.arange(3), torch.arange(3), torch.zeros(3).double(), (3, 3))
    rescaled = mesh_rescaled_laplacian(nothing, torch.ones(3).double(), torch.tensor([[0], [1], [2]]))
    assert torch.equal(rescaled.to_dense(), -torch.eye(3).double())
    assert len(rescaled.values) == 3


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([], "2 numbers, one for each edge"),
        ([1.0], "2 numbers, one for each edge"),
        ([1.0, -1.0], "finite numbers of at least 0, got -1"),
    ],
)
def test_bad_weights(weight, message):
    data = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.tensor(weight), num_nodes=2)
    with pytest.raises(cotan.CotanError, match=f"edge_weight: expected {message}"):
        cotan.compute(data, "rescaled_laplacian")


def test_point_clouds_have_one(bumpy):
    cloud = Data(pos=bumpy[0].pos)
    values = torch.linalg.eigvals(cotan.compute(cloud, "rescaled_laplacian", dtype=torch.float64).to_dense()).real
    assert values.min() == pytest.approx(-1)
    assert 0.7 < values.max() <= 1 + 1e-12
    assert cotan.apply(cotan.create_model("chebyshev", 3, 2, task="label"), cloud).shape == (300, 2)


@pytest.mark.parametrize("step", [0, 1e-7])
def test_points_that_meet_leave_the_others_their_part(step):
    pos = torch.nn.functional.normalize(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).double(), dim=1)
    matrices = [
        cotan.compute(Data(pos=p), "rescaled_laplacian", dtype=torch.float64)
        for p in (pos, torch.cat([pos, pos[:3] + step]))
    ]
    alone, beside = ((matrix.diagonal() + 1).median() for matrix in matrices)
    assert beside >= (
        alone * 0.99 if step == 0 else 1 / 100
    )  # by Gershgorin, no eigenvalue is above 2 * 100 of its median
    for matrix in matrices:
        values = torch.linalg.eigvals(matrix.to_dense()).real
        assert values.min() == pytest.approx(-1)
        assert values.max() <= 1 + 1e-12
