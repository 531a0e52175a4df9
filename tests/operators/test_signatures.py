import math

import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.global_point_signature import global_point_signature
from cotan.operators.heat_kernel_signature import heat_kernel_signature
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.operators.shape_dna import shape_dna
from cotan.operators.wave_kernel_signature import wave_kernel_signature
from cotan.spectrum import Spectrum

X = torch.float64
SIGNATURES = pytest.mark.parametrize(
    "signature", [heat_kernel_signature, wave_kernel_signature, global_point_signature], ids=lambda f: f.__name__
)


def spectrum(pos, face, k=40):
    mass = barycentric_mass(pos, face)
    root = mass.rsqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * cotan_laplacian(pos, face).to_dense() * root)
    return Spectrum(values[:k], (root[:, None] * vectors)[:, :k]), mass


def test_heat_kernel_is_the_diagonal_of_the_exponential(bumpy):
    pos, face = bumpy(1)
    s, mass = spectrum(pos, face, len(pos))
    kernel = torch.matrix_exp(-0.2 * cotan_laplacian(pos, face).to_dense() / mass[:, None]) / mass
    found = heat_kernel_signature(s, times=(0.2,), normalized=False)
    torch.testing.assert_close(found[:, 0], kernel.diagonal(), rtol=1e-10, atol=1e-10)


def test_heat_kernel_times():
    s = Spectrum(torch.tensor([0, 1.0, 4.0], dtype=X), torch.ones(1, 3, dtype=X))
    found = heat_kernel_signature(s, size=3, normalized=False)
    low, high = math.log(10), 4 * math.log(10)  # 4 ln 10 / 4 and / 1, evenly in the logarithm
    expected = [1 + math.exp(-t) + math.exp(-4 * t) for t in (low, math.sqrt(low * high), high)]
    torch.testing.assert_close(found, torch.tensor([expected], dtype=X))


def test_normalised_signatures_integrate_to_one(bumpy):
    s, mass = spectrum(*bumpy())
    for signature in (heat_kernel_signature, wave_kernel_signature):
        torch.testing.assert_close(mass @ signature(s), torch.ones(16, dtype=X))


@pytest.mark.parametrize(("width", "away"), [(1.0, 3), (0.5, 4)])
def test_wave_kernel_by_hand(width, away):
    """Energies 2/5 and 3/5, s = 1/5; or 1/3 and 2/3, s = 1/6: 2 s from one logarithm, 0 or 1, and `away` s from the other."""
    s = Spectrum(torch.tensor([0.0, 1, math.e], dtype=X), torch.tensor([[9.0, 1, 2]], dtype=X))
    near, far = math.exp(-(2**2) / 2), math.exp(-(away**2) / 2)
    expected = [(near + 4 * far) / (near + far), (far + 4 * near) / (near + far)]
    torch.testing.assert_close(wave_kernel_signature(s, size=2, width=width), torch.tensor([expected], dtype=X))


@SIGNATURES
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_eigenvalues_of_any_size(signature, scale):
    """Times and energies follow the eigenvalues, and so does what counts as zero."""
    values, vectors = torch.tensor([1e-13, 1.0, 4.0, 9.0], dtype=X), torch.eye(4, dtype=X)
    power = -0.5 if signature is global_point_signature else 0
    here, there = (signature(Spectrum(values * s, vectors), size=3) for s in (1, scale))
    torch.testing.assert_close(there, here * scale**power, rtol=1e-9, atol=0)


def test_global_points_have_the_green_function_as_product(bumpy):
    pos, face = bumpy(1)
    s, mass = spectrum(pos, face, len(pos))
    g = global_point_signature(s, size=len(pos) - 1)
    L = cotan_laplacian(pos, face).to_dense()
    total = mass.sum()
    expected = torch.eye(len(pos), dtype=X) - mass[:, None] / total  # L g g^T = I - M 1 1^T / |M|
    torch.testing.assert_close(L @ (g @ g.T), expected, rtol=0, atol=1e-8)


def test_shape_dna_of_a_sphere(icosphere):
    pos, face = icosphere(3)
    s, mass = spectrum(3 * pos, face)
    expected = 4 * math.pi * torch.tensor([2.0] * 3 + [6.0] * 5, dtype=X)
    torch.testing.assert_close(shape_dna(s, mass, size=8), expected, rtol=0.02, atol=0)


@SIGNATURES
def test_rigid_motion_and_scale(signature, bumpy, rotation):
    pos, face = bumpy()
    power = {heat_kernel_signature: -2, wave_kernel_signature: -2, global_point_signature: 0}[signature]
    before, after = (signature(spectrum(p, face)[0]).abs() for p in (pos, 3 * (pos @ rotation[0].T + rotation[1])))
    torch.testing.assert_close(after, before * 3.0**power, rtol=1e-6, atol=1e-8)


@SIGNATURES
@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e-17, 2.0], [0.0, 0.0, 3.0, 3.0]])
def test_few_pairs_stay_finite(signature, values):
    s = Spectrum(torch.tensor(values, dtype=X), torch.ones(5, len(values), dtype=X))
    found = signature(s)
    assert found.shape == (5, 16)
    assert torch.isfinite(found).all()
    dna = shape_dna(s, torch.ones(len(values), dtype=X), size=6)
    assert dna.shape == (6,)
    with pytest.raises(CotanError, match=rf"of a spectrum of {len(values)} pairs.*'spectrum', k=7\)"):
        shape_dna(s, torch.ones(5, dtype=X), size=6)


def test_wave_kernel_of_one_eigenvalue_with_rounding_in_it():
    vectors = torch.tensor([[1.0, 0.5, 2.0, 0.25], [1.0, 1.0, 3.0, 0.5]], dtype=X)
    s = Spectrum(torch.tensor([0, 2, 2 * (1 + 1e-15), 2 * (1 + 2e-15)], dtype=X), vectors)
    expected = vectors[:, 1:].square().mean(1, keepdim=True).expand(2, 16)
    torch.testing.assert_close(wave_kernel_signature(s), expected)


def test_two_components_do_not_disturb(bumpy):
    pos, face = bumpy(1)
    two = torch.cat([pos, pos + 100]), torch.cat([face, face + len(pos)], 1)
    times = (0.05, 0.5)
    one = heat_kernel_signature(spectrum(pos, face, len(pos))[0], times=times, normalized=False)
    both = heat_kernel_signature(spectrum(*two, 2 * len(pos))[0], times=times, normalized=False)
    torch.testing.assert_close(both, torch.cat([one, one]))


@pytest.mark.parametrize("signature", [heat_kernel_signature, wave_kernel_signature], ids=lambda f: f.__name__)
def test_derivative(signature, bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: signature(spectrum(p, face, 12)[0], size=4), pos.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda p: shape_dna(*spectrum(p, face, 12), size=4), pos.clone().requires_grad_())


def test_refusals():
    s = Spectrum(torch.tensor([0.0, 1.0]), torch.ones(3, 2))
    for signature in (heat_kernel_signature, wave_kernel_signature, global_point_signature):
        with pytest.raises(CotanError, match="size=0"):
            signature(s, size=0)
    with pytest.raises(CotanError, match="expected positive numbers"):
        heat_kernel_signature(s, times=(1.0, 0.0))
    with pytest.raises(CotanError, match="expected positive numbers"):
        heat_kernel_signature(s, times=(math.inf,))
    with pytest.raises(CotanError, match="width=inf, expected a positive number"):
        wave_kernel_signature(s, width=math.inf)
    with pytest.raises(CotanError, match="that of a batch"):
        heat_kernel_signature(Spectrum.block_diagonal([s, s]))
