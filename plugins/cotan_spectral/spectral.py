"""Spectral convolution with free multipliers."""

import torch
from torch import Tensor, nn

import cotan


@cotan.layer("spectral", invariant_to=("isometry", "scale"))
class Spectral(nn.Module):
    """y = Phi (W_i x_i)_i with x_i = row i of Phi^T M x: a free matrix W_i (in_dim, out_dim) for each eigenpair i
    (Bruna et al. 2014).

    The filter belongs to the basis that it was learned in: on another shape pair i is another function.
    A shape of fewer than k pairs uses the first W_i. Inside a multiple eigenvalue the basis, and with it the output,
    is not fixed; `smooth-spectral` gives equal eigenvalues equal multipliers.

    Arguments:
        k: eigenpairs. What lies outside of their span is dropped.

    Shape: x (V, in_dim), spectrum of K <= k pairs, mass (V,) -> (V, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, k: int = 64):
        super().__init__()
        if k < 1:
            raise cotan.CotanError(f"spectral: k={k}, expected a positive whole number")
        self.needs = {"spectrum": cotan.node("spectrum", k=k)}
        self.weight = nn.Parameter(torch.randn(k, in_dim, out_dim) * in_dim**-0.5)

    def forward(self, x: Tensor, spectrum: cotan.Spectrum, mass: Tensor) -> Tensor:
        c = to_basis(x, spectrum, mass)  # (sum K_b, in_dim)
        k = len(self.weight)
        shapes = len(spectrum.sizes)
        # Pair i of every shape meets W_i in one product; places without a pair stay zero.
        shape = torch.cat([torch.full((size,), b, device=x.device) for b, size in enumerate(spectrum.sizes)])
        place = shape * k + spectrum.index
        c = c.new_zeros(shapes * k, x.shape[1]).index_copy(0, place, c).view(shapes, k, -1)
        c = torch.einsum("bki,kio->bko", c, self.weight).flatten(0, 1)
        return spectrum.vectors @ c[place]


def to_basis(x: Tensor, spectrum: cotan.Spectrum, mass: Tensor) -> Tensor:
    """Phi^T M x: the coefficients (K, C) of a signal (V, C)."""
    return spectrum.vectors.T @ (mass[:, None] * x)
