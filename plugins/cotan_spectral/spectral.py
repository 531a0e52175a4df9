"""Spectral convolution with free multipliers."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least, one_signal


@cotan.layer("spectral", invariant_to=("isometry", "scale"))
class Spectral(nn.Module):
    """y = Phi (W_i x_i)_i with x_i = row i of Phi^T M x, W_i a free matrix for each eigenpair i (Bruna et al. 2014).

    W_i is (in_dim, out_dim). The filter belongs to the basis that it was learned in: on another shape pair i is another
    function. A functional map from landmarks carries it there (`cotan.operators.align_spectra`); one from signatures
    alone, which do not tell left from right, hardly does (docs/results.md). A shape of fewer than k pairs uses the
    first W_i. The pairs of a multiple eigenvalue share the mean of their W_i, since the basis inside is arbitrary; only
    where k cuts through one does the output depend on it.

    Arguments:
        k: eigenpairs. What lies outside of their span is dropped.

    Shape: x (V, in_dim), spectrum of K <= k pairs, mass (V,) -> (V, out_dim).
    """

    def __init__(self, in_dim: int, out_dim: int, *, k: int = 64):
        super().__init__()
        at_least(1, "spectral", k=k)
        self.needs = {"spectrum": cotan.node("spectrum", k=k)}
        self.weight = nn.Parameter(torch.randn(k, in_dim, out_dim) * in_dim**-0.5)

    def forward(self, x: Tensor, spectrum: cotan.Spectrum, mass: Tensor) -> Tensor:
        c = to_basis(x, spectrum, mass)  # (sum K_b, in_dim)
        # A traced graph has one path for all data.
        if torch.compiler.is_compiling() or not spectrum.simple:
            c = (c[:, None] @ self.shared(spectrum.eigenspaces, spectrum.index))[:, 0]
        else:
            c = self.apart(c, spectrum)
        return spectrum.vectors @ c

    def apart(self, c: Tensor, spectrum: cotan.Spectrum) -> Tensor:
        """c_i W_i where all eigenvalues are simple: pair i of every shape meets W_i in one product."""
        k, shapes = len(self.weight), len(spectrum.sizes)
        if all(size == k for size in spectrum.sizes):
            return torch.einsum("bki,kio->bko", c.view(shapes, k, -1), self.weight).flatten(0, 1)
        shape = torch.cat([torch.full((size,), b, device=c.device) for b, size in enumerate(spectrum.sizes)])
        place = shape * k + spectrum.index  # places without a pair stay zero
        c = c.new_zeros(shapes * k, c.shape[1]).index_copy(0, place, c).view(shapes, k, -1)
        return torch.einsum("bki,kio->bko", c, self.weight).flatten(0, 1)[place]

    def multipliers(self, u: Tensor) -> Tensor:
        """W (N, in_dim, out_dim) of the first N pairs, whatever their eigenvalues u (N,)."""
        return self.weight[: len(u)]

    def shared(self, space: Tensor, index: Tensor) -> Tensor:
        """(sum K_b, in_dim, out_dim) the matrix of each pair, the mean over its eigenspace."""
        weight = self.weight[index]
        count = torch.zeros_like(space).index_add(0, space, torch.ones_like(space)).clamp(min=1)
        mean = torch.zeros_like(weight).index_add(0, space, weight) / count[:, None, None]
        return mean[space]


def to_basis(x: Tensor, spectrum: cotan.Spectrum, mass: Tensor) -> Tensor:
    """Phi^T M x: the coefficients (K, C) of a signal (V, C)."""
    one_signal(x)
    if len(x) != len(mass):
        raise cotan.CotanError(f"a signal of shape {tuple(x.shape)} on {len(mass)} vertices, expected ({len(mass)}, C)")
    return spectrum.vectors.T @ (mass[:, None] * x)
