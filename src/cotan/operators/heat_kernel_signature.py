"""How much of a unit of heat remains at each vertex after some time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from ..spectrum import Spectrum
from .fourier import plain_vectors


@operator(per="vertex", invariant_to=("isometry",))
def heat_kernel_signature(
    spectrum: Spectrum, *, size: int = 16, times: tuple[float, ...] | None = None, normalized: bool = True
) -> Tensor:
    """k_t(i, i) = sum_k exp(-lambda_k t) phi_ik^2 (Sun, Ovsjanikov and Guibas 2009). (V, size)

    Arguments:
        spectrum: K pairs.
        size: number of times, spaced evenly in log t from 4 ln 10 / lambda_max to 4 ln 10 / lambda_1, lambda_1 the
            first eigenvalue that is not zero.
        times: times of one's own instead.
        normalized: divide each column by the heat trace sum_k exp(-lambda_k t), which makes columns comparable.
    """
    values = spectrum.values.clamp_min(0)
    if times is not None:
        t = torch.as_tensor(times, dtype=values.dtype, device=values.device)
        if not len(t) or not bool(((t > 0) & (t < math.inf)).all()):
            raise CotanError(f"heat_kernel_signature: times={tuple(times)}, expected positive numbers")
    else:
        low, high = bounds(values)
        t = torch.exp(spaced(math.log(4 * math.log(10)) - high.log(), math.log(4 * math.log(10)) - low.log(), size))
    damped = torch.exp(-values[:, None] * t)  # (K, size)
    kernel = plain_vectors(spectrum).square() @ damped
    return kernel / damped.sum(0) if normalized else kernel


def is_zero(values: Tensor) -> Tensor:
    """Which eigenvalues are zero, one for each component of the shape: those below 1e-8 of the largest."""
    return values.detach() <= 1e-8 * values.detach().amax()


def bounds(values: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest eigenvalue that is not zero, and the largest; 1 and 1 where all are zero."""
    zero = is_zero(values)
    low = torch.where(zero, math.inf, values).amin()
    none = zero.all()
    return torch.where(none, 1, low), torch.where(none, 1, values.amax())


def spaced(start: Tensor, stop: Tensor, size: int) -> Tensor:
    """`size` numbers from start to stop, evenly; differentiable in both."""
    at_least(1, "a signature", size=size)
    return start + (stop - start) * torch.linspace(0, 1, size, dtype=start.dtype, device=start.device)
