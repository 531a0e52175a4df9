"""Spectral convolution by rational functions of the Laplacian, which zoom in on its small eigenvalues."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least, one_signal

from .rescaled_laplacian import top


@cotan.layer("cayley", invariant_to=("isometry", "scale"))
class Cayley(nn.Module):
    """y = x W_0 + 2 Re sum_{j <= order} C^j x W_j + b with C = (h L - i) (h L + i)^-1 (CayleyNet, Levie et al. 2018).

    L is the Laplacian with eigenvalues from 0 to 2 (the rescaled one, plus 1), the W_j are complex, and h > 0 is
    learned: the larger, the finer C tells small eigenvalues apart. The inverse is found by steps of Jacobi,
    u <- D^-1 (v - (h L + i - D) u) from u = 0, D the diagonal of h L + i: what is left shrinks by about
    h / sqrt(1 + h^2) each. A vertex sees those at most order * steps edges away.

    Arguments:
        order: the number of powers. steps: of Jacobi. zoom: h at first. bias: add b.
        kind: of `rescaled_laplacian`, as for chebyshev.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        order: int = 3,
        steps: int = 6,
        zoom: float = 1.0,
        bias: bool = True,
        kind: str | None = None,
    ):
        super().__init__()
        at_least(1, "cayley", order=order, steps=steps)
        if not 0 < zoom < float("inf"):
            raise cotan.CotanError(f"cayley: zoom={zoom}, expected a positive number")
        if kind is not None:
            self.needs = {"rescaled_laplacian": cotan.node("rescaled_laplacian", kind=kind)}
        self.order, self.steps = order, steps
        self.log_zoom = nn.Parameter(torch.tensor(float(zoom)).log())
        self.weight = nn.Parameter(torch.empty(1 + 2 * order, in_dim, out_dim))  # W_0, then Re W_j and Im W_j by turns
        bound = (6 / (in_dim + out_dim) / (1 + 4 * order)) ** 0.5  # each of 2 Re C^j x W_j is about 2 x W_j
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, rescaled_laplacian: cotan.Sparse) -> Tensor:
        one_signal(x)
        h, matrix = self.log_zoom.exp(), rescaled_laplacian
        diagonal = h * (matrix.diagonal() + 1)[:, None, None]
        beside = matrix.with_values(matrix.values.where(matrix.row != matrix.col, 0))  # L without its diagonal
        inverse = 1 / (diagonal**2 + 1)
        real, imaginary = diagonal * inverse, torch.cat([inverse, -inverse], 1)  # of 1 / D: (d - i) / (d^2 + 1)

        def over_diagonal(z: Tensor) -> Tensor:
            return torch.addcmul(real * z, imaginary, z.flip(1))

        z = torch.stack([x, torch.zeros_like(x)], 1)  # (V, 2, C): real and imaginary part
        parts = [x]
        for _ in range(self.order):
            v = torch.addcmul(diagonal * z - rotated(z), h, beside @ z)  # (h L - i) z
            z = over_diagonal(v)
            for _ in range(self.steps - 1):
                z = over_diagonal(torch.addcmul(v, h, beside @ z, value=-1))
            parts += [2 * z[:, 0], -2 * z[:, 1]]  # Re (a + ib)(p + iq) = ap - bq
        y = torch.cat(parts, 1) @ self.weight.flatten(0, 1)
        return y if self.bias is None else y + self.bias

    def multipliers(self, u: Tensor, rescaled_laplacian: cotan.Sparse) -> Tensor:
        """(N, in_dim, out_dim) at u (N,), eigenvalues of the Laplacian over its largest.

        After so many steps of Jacobi C is (x - i) / (x + i) (1 - ((d - x) / (d + i))^steps), with x = h lambda, where the
        diagonal of h L is d everywhere, as on a graph. On a mesh d is an estimate: the median of the diagonal, and for
        large lambda its largest entry.
        """
        h = self.log_zoom.exp()
        x = 2 * h * top(rescaled_laplacian) * u
        diagonal = rescaled_laplacian.diagonal() + 1
        d = h * torch.maximum(diagonal.median(), diagonal.amax() * u)
        c = (x - 1j) / (x + 1j) * (1 - ((d - x) / (d + 1j)) ** self.steps)
        powers = c[:, None] ** torch.arange(1, self.order + 1, device=u.device)
        basis = torch.stack([2 * powers.real, -2 * powers.imag], 2).flatten(1)
        return torch.einsum("nk,kio->nio", torch.cat([torch.ones_like(u)[:, None], basis], 1), self.weight)


def rotated(z: Tensor) -> Tensor:
    """i z for z (V, 2, C)."""
    return torch.stack([-z[:, 1], z[:, 0]], 1)
