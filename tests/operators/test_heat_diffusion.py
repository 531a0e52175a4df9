import math

import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.heat_diffusion import implicit_heat, spectral_heat
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.spectrum import Spectrum


def matrices(pos, face):
    return cotan_laplacian(pos, face), barycentric_mass(pos, face)


def full_spectrum(laplacian, mass):
    root = mass.rsqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * laplacian.to_dense() * root)
    return Spectrum(values, root[:, None] * vectors)


def signal(size, channels=2):
    return torch.randn(size, channels, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_spectral_is_the_matrix_exponential(bumpy):
    L, m = matrices(*bumpy(1))
    x = signal(len(m))
    exact = torch.matrix_exp(-0.1 * L.to_dense() / m[:, None]) @ x
    torch.testing.assert_close(spectral_heat(x, full_spectrum(L, m), m, time=0.1), exact)


def test_implicit_solves_its_equation_and_tends_to_the_exact(bumpy):
    L, m = matrices(*bumpy(1))
    x = signal(len(m))
    one = implicit_heat(x, L, m, time=0.1)
    torch.testing.assert_close(m[:, None] * one + 0.1 * (L @ one), m[:, None] * x)
    exact = spectral_heat(x, full_spectrum(L, m), m, time=0.1)
    errors = [(implicit_heat(x, L, m, time=0.1, steps=n) - exact).norm() for n in (8, 16, 32)]
    assert errors[2] < errors[1] / 1.8 < errors[0] / 1.8**2


def test_a_unit_of_heat_in_whole_numbers_is_no_less(bumpy):
    L, m = matrices(*bumpy(1))
    impulse = torch.zeros(len(m), dtype=torch.long)
    impulse[3] = 1
    assert torch.equal(implicit_heat(impulse, L, m, time=0.1), implicit_heat(impulse.double(), L, m, time=0.1))
    spectrum = full_spectrum(L, m)
    assert torch.equal(
        spectral_heat(impulse, spectrum, m, time=0.1), spectral_heat(impulse.double(), spectrum, m, time=0.1)
    )


@pytest.mark.parametrize("one_channel", [False, True])
def test_heat_is_kept(bumpy, one_channel):
    L, m = matrices(*bumpy(2))
    x = signal(len(m))[:, 0] if one_channel else signal(len(m))
    for after in (implicit_heat(x, L, m), spectral_heat(x, full_spectrum(L, m), m)):
        assert after.shape == x.shape
        torch.testing.assert_close(m @ after, m @ x)
        assert after.std() < x.std()


def test_hard(hard, finite_or_refused):
    pos, face = hard
    mass = finite_or_refused(barycentric_mass, pos, face)
    if mass is not None:
        x = signal(len(pos))
        L = cotan_laplacian(pos, face)
        y = implicit_heat(x, L, mass)
        residual = mass[:, None] * y + mass.mean() * (L @ y) - mass[:, None] * x
        assert residual.abs().max() < 1e-8 * mass.mean() * L.values.abs().max()


@pytest.mark.cuda
def test_cuda(bumpy, gpu):
    L, m = matrices(*bumpy(2))
    x = signal(len(m))
    there = implicit_heat(x.cuda(), L.to("cuda"), m.cuda())
    torch.testing.assert_close(there.cpu(), implicit_heat(x, L, m), rtol=1e-7, atol=1e-7)


def test_refusals(bumpy):
    L, m = matrices(*bumpy(0))
    with pytest.raises(CotanError, match="time=-1, expected a positive number"):
        implicit_heat(signal(len(m)), L, m, time=-1)
    with pytest.raises(CotanError, match="time=0, expected a positive number"):
        spectral_heat(signal(len(m)), full_spectrum(L, m), m, time=0)
    with pytest.raises(CotanError, match="time=inf, expected a positive number"):
        implicit_heat(signal(len(m)), L, m, time=math.inf)
    with pytest.raises(CotanError, match=r"heat_diffusion: expected real numbers, got torch\.complex128"):
        implicit_heat(signal(len(m)) * 1j, L, m)
    with pytest.raises(CotanError, match="steps=0"):
        implicit_heat(signal(len(m)), L, m, steps=0)
