import pytest
import torch

from cotan.errors import CotanError
from cotan.operators.fourier import fourier, inverse_fourier
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass
from cotan.spectrum import Spectrum


def basis(pos, face):
    mass = barycentric_mass(pos, face)
    root = mass.rsqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * cotan_laplacian(pos, face).to_dense() * root)
    return Spectrum(values, root[:, None] * vectors), mass


def test_there_and_back(bumpy):
    spectrum, mass = basis(*bumpy(1))
    x = torch.randn(len(mass), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_fourier(fourier(x, spectrum, mass), spectrum), x)
    torch.testing.assert_close(inverse_fourier(fourier(x[:, 0], spectrum, mass), spectrum), x[:, 0])


def test_parseval(bumpy):
    spectrum, mass = basis(*bumpy(1))
    x = torch.randn(len(mass), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fourier(x, spectrum, mass).square().sum(), (mass * x * x).sum())


def test_projection_is_idempotent(bumpy):
    spectrum, mass = basis(*bumpy(1))
    few = spectrum.first(7)
    x = torch.randn(len(mass), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = inverse_fourier(fourier(x, few, mass), few)
    torch.testing.assert_close(inverse_fourier(fourier(once, few, mass), few), once)
    assert (once - x).norm() > 0.1


def test_whole_numbers_and_a_signal_of_another_shape(bumpy):
    spectrum, mass = basis(*bumpy(1))
    label = torch.arange(len(mass)) % 3
    assert torch.equal(fourier(label, spectrum, mass), fourier(label.double(), spectrum, mass))
    with pytest.raises(CotanError, match="a signal of 41 vertices on a shape of 42"):
        fourier(label[1:], spectrum, mass)


def test_signals_of_another_dtype_are_refused(bumpy):
    spectrum, mass = basis(*bumpy(1))
    with pytest.raises(CotanError, match=r"^fourier: expected real numbers, got torch\.complex128"):
        fourier(1j * mass, spectrum, mass)
    with pytest.raises(CotanError, match=r"float32 and a spectrum of torch\.float64, expected one dtype: x\.to\(torch"):
        fourier(mass.float(), spectrum, mass)
    with pytest.raises(CotanError, match="take the real and the imaginary part apart"):
        inverse_fourier(torch.exp(1j * spectrum.values), spectrum)


def test_there_and_back_under_autocast(bumpy):
    spectrum, mass = basis(*bumpy(1))
    spectrum, mass = Spectrum(spectrum.values.float(), spectrum.vectors.float()), mass.float()
    x = torch.randn(len(mass), 3, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        there = fourier(torch.nn.functional.linear(x, torch.eye(3)), spectrum, mass)
        back = inverse_fourier(there, spectrum)
    assert there.dtype == back.dtype == torch.bfloat16
    torch.testing.assert_close(back.float(), x, atol=0.05, rtol=0)
