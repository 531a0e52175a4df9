"""The Fourier transform of a signal on a shape, there and back."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from ..spectrum import Spectrum
from .checks import check_real


@operator(per="shape", observable=Tensor.abs)
def fourier(x: Tensor, spectrum: Spectrum, mass: Tensor) -> Tensor:
    """Phi^T M x: the coefficients of a signal in the eigenbasis. (K, C), or (K,) of a signal (V,).

    Arguments:
        x: (V, C) or (V,). spectrum: K pairs. mass: (V,).
    """
    if len(x) != len(mass):
        raise CotanError(f"fourier: a signal of {len(x)} vertices on a shape of {len(mass)}")
    check_real("fourier", x)
    x = x if x.is_floating_point() else x.to(mass.dtype)
    check_dtype("fourier", x, spectrum)
    weighted = x * mass.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
    return spectrum.vectors.T @ weighted


def plain_vectors(spectrum: Spectrum) -> Tensor:
    """The vectors (V, K) of one shape's spectrum."""
    if not isinstance(spectrum.vectors, Tensor):
        raise CotanError("expected the spectrum of one shape, got that of a batch")
    return spectrum.vectors


def inverse_fourier(coefficients: Tensor, spectrum: Spectrum) -> Tensor:
    """Phi c: the signal (V, C) with coefficients (K, C). Inverts `fourier` on signals within the K pairs."""
    check_real("inverse_fourier", coefficients)
    check_dtype("inverse_fourier", coefficients, spectrum)
    return spectrum.vectors @ coefficients


def check_dtype(what: str, signal: Tensor, spectrum: Spectrum) -> None:
    """Refuse a signal of more or fewer digits than the spectrum has, which only autocast makes one."""
    if signal.dtype != (own := spectrum.values.dtype) and not torch.is_autocast_enabled(signal.device.type):
        raise CotanError(
            f"{what}: a signal of {signal.dtype} and a spectrum of {own}, expected one dtype: x.to({own}), say"
        )
