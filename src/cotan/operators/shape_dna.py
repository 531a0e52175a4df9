"""The beginning of the spectrum as a fingerprint of the whole shape."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError, at_least
from ..spectrum import Spectrum


@operator(per="shape", invariant_to=("isometry", "scale"))
def shape_dna(spectrum: Spectrum, mass: Tensor, *, size: int = 20) -> Tensor:
    """(lambda_1, ..., lambda_size) * sum_i m_i: eigenvalues of the shape at area 1 (Reuter, Wolter and Peinecke 2006).

    lambda_0 = 0 is left out; further zeros tell further components. (size,), zero beyond the V - 1 that there are.

    Arguments:
        spectrum: K pairs, more than `size`; spectrum(k=size + 1) is enough, and quicker on large shapes.
        mass: (V,). size: number of eigenvalues.
    """
    at_least(1, "shape_dna", size=size)
    if len(spectrum.values) <= size and len(spectrum.values) < len(mass):
        raise CotanError(
            f"shape_dna: size={size} of a spectrum of {len(spectrum.values)} pairs, expected more pairs than that: "
            f"spectrum=cotan.node('spectrum', k={size + 1})"
        )
    values = spectrum.values[1 : size + 1] * mass.sum()
    return torch.nn.functional.pad(values, (0, size - len(values)))
