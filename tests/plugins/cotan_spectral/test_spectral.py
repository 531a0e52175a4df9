import pytest
import torch
from torch_geometric.data import Data

import cotan


def test_by_the_formula(bumpy):
    data = bumpy[0]
    layer = cotan.create_layer("spectral", 3, 2, k=20).double()
    nodes = cotan.inputs(layer, data)
    phi, M = nodes["spectrum"].vectors, torch.diag(nodes["mass"])
    x = torch.randn(300, 3, dtype=torch.float64)
    expected = torch.zeros(300, 2, dtype=torch.float64)
    for i in range(20):  # sum_i phi_i (phi_i^T M x) W_i
        expected += torch.outer(phi[:, i], phi[:, i] @ M @ x @ layer.weight[i].detach())
    assert torch.allclose(layer(x, **nodes), expected)


def test_multipliers_of_one_are_the_projection_onto_the_basis(bumpy):
    data = bumpy[0]
    layer = cotan.create_layer("spectral", 1, 1, k=20).double()
    layer.weight.data.fill_(1)
    nodes = cotan.inputs(layer, data)
    x = torch.randn(300, 1, dtype=torch.float64)
    once = layer(x, **nodes)
    assert torch.allclose(layer(once, **nodes), once)
    rest = nodes["spectrum"].vectors.T @ (nodes["mass"][:, None] * (x - once))
    assert rest.abs().max() < 1e-8


def test_all_pairs_and_multipliers_of_one_change_nothing(random_graph):
    data = random_graph()
    layer = cotan.create_layer("spectral", 1, 1, k=64).double()
    layer.weight.data.fill_(1)
    x = torch.randn(30, 1, dtype=torch.float64)
    assert torch.allclose(layer(x, **cotan.inputs(layer, data)), x)


def test_shapes_of_fewer_than_k_pairs_in_a_batch(random_graph, bumpy):
    """Ragged: 30, 64 and 7 pairs."""
    a, b = random_graph(), random_graph(1, 90, 400)
    c = Data(edge_index=torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]]), num_nodes=7)
    layer = cotan.create_layer("spectral", 3, 2, k=64).double()
    x = torch.randn(127, 3, dtype=torch.float64)
    together = layer(x, **cotan.inputs(layer, [a, b, c]))
    parts = x.split([30, 90, 7])
    alone = [layer(part, **cotan.inputs(layer, shape)) for part, shape in zip(parts, (a, b, c), strict=True)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-10)


def test_multipliers_that_no_shape_reaches_get_no_gradient(cycle):
    layer = cotan.create_layer("spectral", 1, 1, k=20)
    layer(torch.randn(12, 1), **cotan.inputs(layer, cycle(12))).square().sum().backward()
    assert layer.weight.grad[:12].any()
    assert not layer.weight.grad[12:].any()


def test_pairs_of_one_eigenvalue_share_the_mean_of_their_multipliers(cycle, bumpy):
    """In a batch too, where only one of the shapes has such."""
    layer = cotan.create_layer("spectral", 1, 1, k=5).double()
    layer.weight.data = torch.tensor([1.0, 2.0, 4.0, 10.0, 20.0], dtype=torch.float64).view(5, 1, 1)
    spectrum = cotan.compute(cycle(12), "spectrum", k=5, dtype=torch.float64)
    x = torch.randn(12, 1, dtype=torch.float64)
    expected = spectrum.vectors @ (torch.tensor([[1.0], [3], [3], [15], [15]]).double() * (spectrum.vectors.T @ x))
    assert torch.allclose(layer(x, **cotan.inputs(layer, cycle(12))), expected)
    simple = Data(edge_index=cotan.compute(bumpy[0], "edge_index"), num_nodes=300)
    other = torch.randn(300, 1, dtype=torch.float64)
    batch = layer(torch.cat([x, other]), **cotan.inputs(layer, [cycle(12), simple]))
    assert torch.allclose(batch, torch.cat([expected, layer(other, **cotan.inputs(layer, simple))]))


def test_both_paths_give_the_same_where_eigenvalues_are_simple(bumpy):
    layer = cotan.create_layer("spectral", 3, 2, k=20).double()
    spectrum = cotan.inputs(layer, list(bumpy))["spectrum"]
    space = spectrum.eigenspaces
    assert space.tolist() == list(range(40))
    c = torch.randn(40, 3, dtype=torch.float64)
    assert torch.allclose(layer.apart(c, spectrum), (c[:, None] @ layer.shared(space, spectrum.index))[:, 0])


def test_simple_eigenvalues_are_known_of_a_batch_by_its_shapes(cycle, bumpy):
    layer = cotan.create_layer("spectral", 1, 1, k=5)
    simple, other, double = (cotan.inputs(layer, data)["spectrum"] for data in (*bumpy, cycle(12)))
    for shapes, expected in (([simple, other], True), ([simple, double], False), ([double, double], False)):
        batch = cotan.Spectrum.block_diagonal(shapes)
        unknown = cotan.Spectrum(batch.values, batch.vectors, batch.sizes)
        assert batch.simple == unknown.simple == expected
    assert double.eigenspaces.tolist() == [0, 1, 1, 2, 2]
    other.values = double.values
    assert not other.simple


def test_errors():
    with pytest.raises(cotan.CotanError, match="spectral: k=0, expected a whole number of at least 1"):
        cotan.create_layer("spectral", 1, 1, k=0)


def test_kit():
    cotan.testing.check_layer("spectral", k=9)
    cotan.testing.check_model("spectral", task="label", k=9, width=8, depth=2)
