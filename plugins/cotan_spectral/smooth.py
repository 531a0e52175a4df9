"""Spectral convolution with smooth multipliers."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least, one_of
from cotan.spectrum import equal

from .kernels import KERNELS
from .spectral import to_basis


@cotan.layer("smooth-spectral", invariant_to=("isometry", "scale"))
class SmoothSpectral(nn.Module):
    """y = Phi tau(Lambda) Phi^T M x with tau(lambda) = sum_j alpha_j beta_j(lambda / lambda_K).

    A spectral CNN with smooth multipliers (Henaff et al. 2015).

    Smooth multipliers decay fast in space, close eigenvalues have close multipliers, and the number of parameters,
    rank * in_dim * out_dim, does not grow with the shape. lambda_K is the largest of the shape's own K eigenvalues:
    neither its size nor the other shapes of a batch matter. A shape of fewer than k vertices has K = V.

    Arguments:
        k: eigenpairs. rank: r, the number of kernels.
        kernels: beta_j(u), j = 1 ... r, at u = lambda / lambda_K in [0, 1]:
            gaussian: exp(-(u - m_j)^2 / 2 s^2), the centres m_j spread evenly over [0, 1], s their distance;
            bspline: cubic B-splines on even knots, for rank >= 4;
            polynomial: T_{j-1}(2u - 1), those of Chebyshev;
            heat: exp(-t_j u), the times t_j learned, at first from 1 to 100 by equal factors;
            wavelet: s_j u exp(1 - s_j u), s_j from 1 to 100 by equal factors, and exp(-100 u) as the last.

    Shape: x (V, in_dim), spectrum of K pairs, mass (V,) -> (V, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, k: int = 64, rank: int = 8, kernels: str = "gaussian"):
        super().__init__()
        one_of("kernels", kernels, KERNELS)
        at_least(1, "smooth-spectral", k=k, rank=rank)
        self.needs = {"spectrum": cotan.node("spectrum", k=k)}
        self.kernels = KERNELS[kernels](rank)
        with torch.no_grad():  # so that at first the multipliers of an output have variance 1 / in_dim in the mean
            power = self.kernels(torch.linspace(0, 1, 101)).square().sum(1).mean()
        self.weight = nn.Parameter(torch.randn(rank, in_dim, out_dim) * (in_dim * power) ** -0.5)

    def forward(self, x: Tensor, spectrum: cotan.Spectrum, mass: Tensor) -> Tensor:
        c = to_basis(x, spectrum, mass)  # (K, in_dim)
        beta = self.kernels(relative(spectrum))  # (K, rank)
        c = (beta[:, :, None] * c[:, None, :]).flatten(1)  # (K, rank * in_dim)
        return spectrum.vectors @ (c @ self.weight.flatten(0, 1))

    def multipliers(self, u: Tensor) -> Tensor:
        """tau (N, in_dim, out_dim) at relative eigenvalues u (N,)."""
        return torch.einsum("nr,rio->nio", self.kernels(u), self.weight)


def relative(spectrum: cotan.Spectrum) -> Tensor:
    """Each eigenvalue over the largest of its own shape, (K,) in [0, 1]; zeros where that is zero."""
    values, sizes = spectrum.values, spectrum.sizes
    parts = []
    for rows in [values.reshape(len(sizes), -1)] if equal(sizes) else values.split(sizes):
        top = rows[..., -1:]
        parts.append((rows / top.where(top > 0, 1)).flatten())
    return torch.cat(parts)
