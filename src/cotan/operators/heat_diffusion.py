"""A signal after heat has flowed for some time: u' = -M^-1 L u, u(0) = x."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from ..sparse import Sparse
from ..spectrum import Spectrum
from .checks import check_real
from .fourier import fourier, inverse_fourier
from .shifted_solve import shifted_solve


@operator("heat_diffusion", kind="spectral", per="vertex")
def spectral_heat(x: Tensor, spectrum: Spectrum, mass: Tensor, *, time: float | None = None) -> Tensor:
    """Phi exp(-lambda t) Phi^T M x: exact in time, within the pairs of the spectrum. Shape of x.

    Arguments:
        x: (V,) or (V, C). spectrum: K pairs. mass: (V,). time: t; the mean mass by default, about a squared edge.
    """
    t = duration(time, mass).to(spectrum.values.dtype)
    damped = torch.exp(-t * spectrum.values.clamp_min(0))
    coefficients = fourier(x, spectrum, mass)
    return inverse_fourier(damped.view(-1, *[1] * (x.ndim - 1)) * coefficients, spectrum)


@operator("heat_diffusion", kind="implicit", per="vertex", version=2)
def implicit_heat(x: Tensor, laplacian: Sparse, mass: Tensor, *, time: float | None = None, steps: int = 1) -> Tensor:
    """`steps` backward Euler steps of h = t / steps, each (M + h L)^-1 M x: all frequencies, stable. Shape of x.

    Arguments:
        x: (V,) or (V, C). laplacian: (V, V). mass: (V,). time: t; the mean mass by default. steps: at least 1.
    """
    at_least(1, "heat_diffusion", steps=steps)
    check_real("heat_diffusion", x)
    h = duration(time, mass) / steps
    mass = mass.to(laplacian.dtype)
    signal = x.to(laplacian.dtype).reshape(len(x), -1)
    for _ in range(steps):
        signal = shifted_solve(laplacian, mass, h, mass[:, None] * signal)
    return signal.view(x.shape).to(x.dtype if x.is_floating_point() else laplacian.dtype)


def duration(time: float | None, mass: Tensor) -> Tensor:
    if time is None:
        return mass.mean()
    if not 0 < time < math.inf:
        raise CotanError(f"heat_diffusion: time={time}, expected a positive number")
    return torch.as_tensor(time, dtype=mass.dtype, device=mass.device)
