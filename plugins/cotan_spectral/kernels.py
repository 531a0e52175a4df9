"""Smooth functions beta_1, ..., beta_r of u in [0, 1], an eigenvalue over the largest one."""

import math

import torch
from torch import Tensor, nn

import cotan


class Gaussian(nn.Module):
    """exp(-(u - mu_j)^2 / 2 s^2), the centres mu_j spread evenly over [0, 1], s their distance."""

    def __init__(self, rank: int):
        super().__init__()
        self.register_buffer("centre", torch.linspace(0, 1, rank), persistent=False)
        self.width = 1 / max(rank - 1, 1)

    def forward(self, u: Tensor) -> Tensor:
        return (-((u[:, None] - self.centre) ** 2) / (2 * self.width**2)).exp()


class BSpline(nn.Module):
    """Cubic B-splines on even knots: at most four of them are not zero at any u, and they sum to one."""

    def __init__(self, rank: int):
        super().__init__()
        if rank < 4:
            raise cotan.CotanError(f"kernels='bspline' needs rank >= 4, got {rank}")
        self.register_buffer("centre", torch.arange(-1.0, rank - 1), persistent=False)  # in knot distances
        self.spans = rank - 3

    def forward(self, u: Tensor) -> Tensor:
        d = (u[:, None] * self.spans - self.centre).abs()
        return ((2 - d).clamp(min=0) ** 3 - 4 * (1 - d).clamp(min=0) ** 3) / 6


class Polynomial(nn.Module):
    """T_j(2u - 1), j = 0 ... r - 1, the Chebyshev polynomials: a basis of the polynomials of degree below r."""

    def __init__(self, rank: int):
        super().__init__()
        self.rank = rank

    def forward(self, u: Tensor) -> Tensor:
        t = 2 * u - 1
        out = [torch.ones_like(t), t]
        for _ in range(self.rank - 2):
            out.append(2 * t * out[-1] - out[-2])
        return torch.stack(out[: self.rank], 1)


class Heat(nn.Module):
    """exp(-t_j u), the times t_j > 0 learned, at first from 1 to 100 by equal factors."""

    def __init__(self, rank: int):
        super().__init__()
        self.log_time = nn.Parameter(torch.linspace(0, math.log(100), rank))

    def forward(self, u: Tensor) -> Tensor:
        return (-u[:, None] * self.log_time.exp()).exp()


class Wavelet(nn.Module):
    """s_j u exp(1 - s_j u), Mexican hats in space, with peaks at u = 1 / s_j from 1 down to 1/100 by equal factors; the
    last is exp(-100 u), for what lies below them.
    """

    def __init__(self, rank: int):
        super().__init__()
        self.register_buffer("scale", torch.logspace(0, 2, max(rank - 1, 1))[: rank - 1], persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        su = u[:, None] * self.scale
        return torch.cat([su * (1 - su).exp(), (-100 * u[:, None]).exp()], 1)


KERNELS: dict[str, type[nn.Module]] = {
    "gaussian": Gaussian,
    "bspline": BSpline,
    "polynomial": Polynomial,
    "heat": Heat,
    "wavelet": Wavelet,
}
