"""How likely a quantum particle of about a given energy is to be at each vertex."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from ..spectrum import Spectrum
from .fourier import plain_vectors
from .heat_kernel_signature import bounds, is_zero, spaced


@operator(per="vertex", invariant_to=("isometry",))
def wave_kernel_signature(spectrum: Spectrum, *, size: int = 16, width: float = 7.0) -> Tensor:
    """w_e(i) = sum_k g_ek phi_ik^2 / sum_k g_ek, g_ek = exp(-(e - log lambda_k)^2 / 2 s^2). (V, size)

    (Aubry, Schlickewei and Cremers 2011.) Zero eigenvalues are left out. Energies e are spaced evenly by d, from
    log lambda_1 + 2s to log lambda_max - 2s, and s = width * d; so
    d = (log lambda_max - log lambda_1) / (size - 1 + 4 width).

    Arguments:
        spectrum: K pairs. size: number of energies. width: s in steps between energies.
    """
    if not 0 < width < math.inf:
        raise CotanError(f"wave_kernel_signature: width={width}, expected a positive number")
    values = spectrum.values
    low, high = (bound.log() for bound in bounds(values))
    step = (high - low) / (size - 1 + 4 * width)
    sigma = width * torch.where(step > 1e-9, step, 1)  # one eigenvalue alone, but for rounding, has all the weight
    energy = spaced(low + 2 * width * step, high - 2 * width * step, size)
    zero = is_zero(values)
    place = torch.where(zero, 1, values).log()
    exponent = -((energy - place[:, None]) ** 2) / (2 * sigma**2)  # (K, size)
    weight = torch.where(zero[:, None], 0, torch.exp(exponent - exponent.detach().amax(0)))
    return (plain_vectors(spectrum).square() @ weight) / weight.sum(0).clamp_min(torch.finfo(weight.dtype).tiny)
