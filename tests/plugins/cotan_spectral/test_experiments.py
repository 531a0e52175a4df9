import torch

import cotan
from cotan_spectral.experiments import gradient_magnitude, horse


def test_free_multipliers_fit_better_and_are_carried_worse(bumpy):
    options = {"place": "place", "k": 48, "width": 16, "signals": 8, "steps": 120}
    errors, edges = horse(*bumpy, **options)
    free, smooth = errors["spectral"], errors["smooth-spectral"]
    assert free["fitted"] < smooth["fitted"]
    assert smooth["carried"] < free["carried"]
    assert smooth["new patterns"] < free["new patterns"]
    assert free["carried"] > 1.8 * free["fitted"]
    assert smooth["carried"] < 1.5 * smooth["fitted"]
    assert [part.shape for part in edges["spectral"]] == [(300,), (350,)]


def test_it_can_be_run_again(bumpy):
    first, second = (horse(*bumpy, place="place", k=8, width=4, signals=2, steps=3, seed=5).errors for _ in range(2))
    assert first == second


def test_gradient_magnitude_of_a_linear_function_on_a_plane():
    from torch_geometric.data import Data

    line = torch.linspace(0, 1, 9, dtype=torch.float64)
    pos = torch.cat([torch.cartesian_prod(line, line), torch.zeros(81, 1, dtype=torch.float64)], 1)
    i = torch.arange(81).view(9, 9)
    a, b, c, d = (part.flatten() for part in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    data = Data(pos=pos, face=torch.cat([torch.stack([a, b, c]), torch.stack([a, c, d])], 1))
    laplacian, mass = cotan.compute(data, ["laplacian", "mass"], dtype=torch.float64).values()
    slope = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    found = gradient_magnitude(laplacian, mass, (pos @ slope)[:, None])
    inside = i[1:-1, 1:-1].flatten()
    assert torch.allclose(found[inside], torch.full((49, 1), 5.0, dtype=torch.float64))
