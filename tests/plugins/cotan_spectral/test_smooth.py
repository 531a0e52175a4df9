import math

import pytest
import torch

import cotan
from cotan_spectral.kernels import KERNELS
from cotan_spectral.smooth import relative

U = torch.linspace(0, 1, 201, dtype=torch.float64)


def values(name, rank=8):
    return KERNELS[name](rank).double()(U).detach()


def test_splines_sum_to_one_and_have_two_continuous_derivatives():
    beta = values("bspline")
    assert torch.allclose(beta.sum(1), torch.ones_like(U))
    assert (beta >= 0).all()
    assert ((beta > 0).sum(1) <= 4).all()
    second = beta.diff(n=2, dim=0) * 200**2
    assert second.diff(dim=0).abs().max() < 1.5 * second.abs().max() * 5 / 200 * 3  # linear pieces: no jumps


def test_gaussians_are_spread_over_the_spectrum():
    beta = values("gaussian", 5)
    assert torch.allclose(U[beta.argmax(0)], torch.linspace(0, 1, 5, dtype=torch.float64))
    assert torch.allclose(beta[50, 0], torch.tensor(math.exp(-0.5), dtype=torch.float64))  # one distance away


def test_polynomials_are_chebyshev():
    j = torch.arange(6)
    expected = torch.cos(j * torch.arccos(2 * U - 1)[:, None])
    assert torch.allclose(values("polynomial", 6), expected)


def test_wavelets_see_no_constants_and_peak_at_their_scale():
    beta = values("wavelet", 5)
    assert not beta[0, :4].any()
    assert beta[0, 4] == 1
    assert torch.allclose(beta[:, :4].amax(0), torch.ones(4, dtype=torch.float64), atol=0.15)
    peaks = U[beta[:, :3].argmax(0)]
    assert torch.allclose(peaks, torch.tensor([1, 100 ** (-1 / 3), 100 ** (-2 / 3)], dtype=torch.float64), atol=0.01)


def test_heat_has_times_from_1_to_100():
    beta = values("heat", 3)
    assert torch.allclose(beta, torch.exp(-U[:, None] * torch.tensor([1.0, 10, 100])))


@pytest.mark.parametrize("name", KERNELS)
def test_a_checkpoint_has_what_is_learned(name):
    kernels = KERNELS[name](6)
    assert set(kernels.state_dict()) == {name for name, _ in kernels.named_parameters()}


@pytest.mark.parametrize("name", ["gaussian", "polynomial", "heat", "wavelet"])
def test_ranks_of_one_and_two(name):
    assert values(name, 1).shape == (201, 1)
    assert values(name, 2).shape == (201, 2)


def test_heat_is_the_heat_equation(bumpy):
    """Phi e^(-t Lambda) Phi^T M x with all pairs, against the exponential of the matrix."""
    data = bumpy[0]
    layer = cotan.create_layer("smooth-spectral", 1, 1, k=300, rank=1, kernels="heat").double()
    layer.weight.data.fill_(1)
    layer.kernels.log_time.data.fill_(math.log(30.0))
    nodes = cotan.inputs(layer, data)
    laplacian = cotan.compute(data, "laplacian", dtype=torch.float64).to_dense()
    x = torch.randn(300, 1, dtype=torch.float64)
    t = 30 / nodes["spectrum"].values[-1]
    expected = torch.linalg.matrix_exp(-t * laplacian / nodes["mass"][:, None]) @ x
    assert torch.allclose(layer(x, **nodes), expected, atol=1e-8)
    total = (nodes["mass"][:, None] * x).sum()
    assert torch.allclose((nodes["mass"][:, None] * layer(x, **nodes)).sum(), total)  # heat is kept


@pytest.mark.parametrize("mesh", [True, False])
def test_the_polynomial_case_is_chebyshev(mesh, bumpy, random_graph):
    """With all pairs, and a Laplacian rescaled by exactly the largest eigenvalue."""
    data = bumpy[0] if mesh else random_graph()
    smooth = cotan.create_layer("smooth-spectral", 3, 2, k=300, rank=6, kernels="polynomial").double()
    cheb = cotan.create_layer("chebyshev", 3, 2, order=6, bias=False).double()
    cheb.weight.data = smooth.weight.data
    nodes = cotan.inputs(smooth, data)
    laplacian = cotan.compute(data, "laplacian", dtype=torch.float64).to_dense()
    top = nodes["spectrum"].values[-1]
    rescaled = 2 / top * laplacian / nodes["mass"][:, None] - torch.eye(len(laplacian), dtype=torch.float64)
    i = torch.cartesian_prod(torch.arange(len(rescaled)), torch.arange(len(rescaled))).T
    sparse = cotan.Sparse.from_coo(i[0], i[1], rescaled.flatten(), tuple(rescaled.shape))
    x = torch.randn(len(laplacian), 3, dtype=torch.float64)
    assert torch.allclose(smooth(x, **nodes), cheb(x, sparse), atol=1e-7)


@pytest.mark.parametrize("name", ["smooth-spectral", "spectral"])
def test_a_basis_turned_inside_its_eigenspaces_changes_nothing(cycle, name):
    data = cycle(12)
    layer = cotan.create_layer(name, 2, 2, k=11).double()  # 0, and five double eigenvalues
    nodes = cotan.inputs(layer, data)
    vectors = nodes["spectrum"].vectors.clone()
    c, s = math.cos(1), math.sin(1)
    for i in range(1, 11, 2):
        vectors[:, i : i + 2] = vectors[:, i : i + 2] @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    turned = {**nodes, "spectrum": cotan.Spectrum(nodes["spectrum"].values, vectors)}
    x = torch.randn(12, 2, dtype=torch.float64)
    assert torch.allclose(layer(x, **nodes), layer(x, **turned))


def test_eigenvalues_are_relative_to_their_own_shape():
    a = cotan.Spectrum(torch.tensor([0.0, 1.0, 4.0]), torch.eye(3))
    b = cotan.Spectrum(torch.tensor([0.0, 0.0, 0.5, 100.0]), torch.eye(4))
    small = cotan.Spectrum(torch.tensor([0.0, 0.1, 0.5]), torch.eye(3))
    none = cotan.Spectrum(torch.zeros(2), torch.eye(2))
    batch = cotan.Spectrum.block_diagonal([a, b, small, none])
    assert relative(batch).tolist() == pytest.approx([0, 0.25, 1, 0, 0, 0.005, 1, 0, 0.2, 1, 0, 0])


def test_parameters_do_not_grow_with_the_basis():
    count = {k: sum(p.numel() for p in cotan.create_layer("smooth-spectral", 3, 5, k=k).parameters()) for k in (8, 512)}
    assert count[8] == count[512] == 8 * 3 * 5


@pytest.mark.parametrize("kernels", KERNELS)
def test_first_multipliers_have_variance_one_over_in_dim(kernels):
    torch.manual_seed(0)
    layer = cotan.create_layer("smooth-spectral", 16, 256, kernels=kernels)
    assert layer.multipliers(U.float()).var().item() == pytest.approx(1 / 16, rel=0.2)


def test_errors():
    with pytest.raises(
        cotan.CotanError, match=r"unknown kernels 'box'\. There is: bspline, gaussian, heat, polynomial"
    ):
        cotan.create_layer("smooth-spectral", 1, 1, kernels="box")
    with pytest.raises(cotan.CotanError, match="kernels='bspline' needs rank >= 4, got 3"):
        cotan.create_layer("smooth-spectral", 1, 1, kernels="bspline", rank=3)
    with pytest.raises(cotan.CotanError, match="rank=0, expected a whole number of at least 1"):
        cotan.create_layer("smooth-spectral", 1, 1, rank=0)


@pytest.mark.parametrize("kernels", KERNELS)
def test_kit(kernels):
    cotan.testing.check_layer("smooth-spectral", k=9, kernels=kernels, rank=4, compile=kernels == "heat")
