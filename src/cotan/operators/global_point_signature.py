"""Each vertex as a point in the space where inner products are the Green's function."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import at_least
from ..spectrum import Spectrum
from .fourier import plain_vectors
from .heat_kernel_signature import is_zero


@operator(per="vertex", observable=Tensor.abs)
def global_point_signature(spectrum: Spectrum, *, size: int = 16) -> Tensor:
    """g_ik = phi_ik / sqrt(lambda_k), k = 1 ... size over the eigenvalues that are not zero (Rustamov 2007). (V, size)

    Columns have the signs and, inside a multiple eigenvalue, the rotation of the spectrum; compare them with care.
    Zero in the columns beyond the pairs that there are.

    Arguments:
        spectrum: K pairs, more than `size` by the number of components. size: number of columns.
    """
    at_least(1, "global_point_signature", size=size)
    zero = is_zero(spectrum.values)
    scale = torch.where(zero, 0, torch.where(zero, 1, spectrum.values).rsqrt())
    order = torch.argsort(zero.to(torch.int8), stable=True)[:size]
    points = plain_vectors(spectrum)[:, order] * scale[order]
    return torch.nn.functional.pad(points, (0, size - points.shape[1]))
