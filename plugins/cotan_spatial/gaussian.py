"""MoNet's convolution: Gaussians in the coordinates of each neighbour weigh what it sends."""

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

import cotan
from cotan.blocks import by_blocks, empty
from cotan.dense import add_linear, cross
from cotan.errors import at_least, one_signal
from cotan.sparse import (
    Pattern,
    ReverseMode,
    Sparse,
    composed_gradients,
    multiply_rows,
    multiply_sum,
    reverse_mode_only,
    sampled_rows,
    spread,
)

# Of `pseudo_coordinates`: how many numbers each gives, and the motions that leave them as they are.
COORDINATES = {
    "polar": (2, ("rigid", "scale")),
    "tangent": (2, ("rigid", "scale")),
    "offset": (3, ()),
    "relative": (3, ("scale",)),
    "degree": (2, ("isometry", "scale")),
    "geodesic": (2, ("rigid", "scale")),
}


@cotan.layer("gaussian", invariant_to=("rigid", "scale"))
class Gaussian(nn.Module):
    """y_i = mean_{j -> i} sum_k w_k(u_ij) x_j W_k + x_i U + b, w_k(u) = exp(-(u - m_k)^T S_k^-1 (u - m_k)).

    The convolution of MoNet (Monti et al. 2017), with a mean for the sum, and U. u_ij says where j lies, seen from i.
    S_k^-1 = P_k^T P_k, and P_k is learned, so that S_k is positive; without the paper's 1/2 in the exponent S_k is twice its
    covariance. Edge weights play no part.

    Arguments:
        kernels: the number of Gaussians. covariance: "diagonal" or "full" P_k.
        coordinates: u: a kind of `pseudo_coordinates` (polar, tangent, offset, relative, degree, geodesic), or the name or
            request of a node per edge, such as "edge_attr". By default "polar" on a mesh and "degree" on a graph; a graph
            with positions can have "relative".
            At first the Gaussians are about 1 wide, which is the length of an edge (with "geodesic", the distance of the
            neighbours) in the units of every kind but "offset".
            A surface has no direction that is the same everywhere: the angles of "polar", "tangent" and "geodesic" are
            counted from i's longest edge (see `tangent_frames`). y depends on which edge that is: on noise, and among
            edges of one length on the order of the vertices.
        rings: with "geodesic" alone, polar coordinates along the surface: the neighbours of i are the vertices at most so
            many edges away, by default 2.
        turns: with "polar" and "geodesic" alone: the neighbours are turned about i by so many angles, evenly around the
            circle, and y takes, in each channel, the largest of the means. With 8, y hardly depends on where angles are
            counted from, at 8 times the cost.
        dim: how many numbers u has; known for the kinds above where positions are in space, else 2.
        bias: add b. root: add x_i U.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        kernels: int = 8,
        covariance: str = "diagonal",
        coordinates: str | cotan.Node | None = None,
        dim: int | None = None,
        rings: int | None = None,
        turns: int = 1,
        bias: bool = True,
        root: bool = True,
    ):
        super().__init__()
        if covariance not in ("diagonal", "full"):
            raise cotan.CotanError(f"gaussian: covariance={covariance!r}, expected 'diagonal' or 'full'")
        if rings is not None and coordinates != "geodesic":
            raise cotan.CotanError(f"gaussian: rings={rings} goes with coordinates='geodesic', not {coordinates!r}")
        at_least(1, "gaussian", turns=turns)
        if turns > 1 and coordinates not in ("polar", "geodesic"):
            raise cotan.CotanError(
                f"gaussian: turns={turns} goes with coordinates='polar' or 'geodesic', not {coordinates!r}"
            )
        numbers, motions = COORDINATES.get(str(coordinates), (2, ()))
        if coordinates is not None:
            self.needs = {"edge_coordinates": requested(coordinates, 2 if rings is None else rings)}
            self.invariant_to = motions
        self.turns, self.dim = turns, numbers if dim is None else dim
        at_least(1, "gaussian", kernels=kernels, dim=self.dim)
        self.mean = nn.Parameter(torch.empty(kernels, self.dim))
        full = torch.eye(self.dim).repeat(kernels, 1, 1)
        self.factor = nn.Parameter(full if covariance == "full" else torch.ones(kernels, self.dim))
        self.weight = nn.Parameter(torch.empty(kernels, in_dim, out_dim))
        bound = (6 / (in_dim + out_dim)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.xavier_uniform_(self.mean)
        self.root = cotan.Linear(in_dim, out_dim, bias=False) if root else None
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None

    def forward(self, x: Tensor, edge_coordinates: cotan.Sparse) -> Tensor:
        one_signal(x)
        u = edge_coordinates.values
        if u.shape[1] != self.dim:
            raise cotan.CotanError(
                f"gaussian: dim={self.dim}, but the coordinates of an edge are {u.shape[1]} numbers; "
                f"set dim={u.shape[1]}, or another coordinates="
            )
        pattern = edge_coordinates.pattern
        share = spread(pattern, -pattern.counts.clamp(min=1).to(x.dtype).log())  # the mean, in the exponent
        means = (self.gathered(x, pattern, self.gaussians(each, share)) for each in self.turned(u.T.contiguous()))
        y = reduce(torch.maximum, means)
        if self.root is not None:
            return y.add_(cotan.linear(x, self.root.weight, self.bias))
        return y if self.bias is None else y + self.bias

    def gathered(self, x: Tensor, pattern: Pattern, weights: Tensor | list[Tensor]) -> Tensor:
        square = self.weight.shape[1] == self.weight.shape[2]
        if x.device.type == "cpu" and square and reverse_mode_only(x, self.weight):
            return _Convolution.apply(pattern, x, self.weight, *weights)
        return convolution(pattern, x, self.weight, weights)

    def gaussians(self, u: Tensor, share: Tensor) -> Tensor | list[Tensor]:
        """w_k at coordinates u (D, N), times e^share, a (N,) for each: K of them, or (K, N) where all at once is quicker."""
        factor = self.factor.diag_embed() if self.factor.ndim == 2 else self.factor  # P (K, D, D)
        if u.device.type != "cpu":
            shift = (factor @ self.mean[:, :, None]).flatten()
            away = nn.functional.linear(u.T, factor.flatten(0, 1), -shift).unflatten(1, self.mean.shape)  # (N, K, D)
            return torch.exp(share[..., None] - away.square().sum(2)).T
        return [
            torch.exp(share - torch.addmm(-(p @ mean)[:, None], p, u).square().sum(0))
            for mean, p in zip(self.mean, factor, strict=True)
        ]

    def kernel_at(self, u: Tensor) -> Tensor:
        """sum_k w_k(u) W_k (N, in_dim, out_dim) at coordinates u (N, D), the largest over the turns: what a neighbour alone
        is weighed by.
        """
        weights = [torch.stack([*self.gaussians(each, u.new_zeros(()))]) for each in self.turned(u.T)]
        return reduce(torch.maximum, (torch.einsum("kn,kio->nio", w, self.weight) for w in weights))

    def turned(self, u: Tensor) -> list[Tensor]:
        """Coordinates u (D, N) as they are; of several turns polar ones, turned about the vertex by each of the angles."""
        if self.turns == 1:
            return [u]
        radius, angle = u
        low = math.pi - 1e-5  # angles go from -pi to pi, and rounding moves none from one to the other
        by = (2 * math.pi * turn / self.turns + low for turn in range(self.turns))
        return [torch.stack([radius, torch.remainder(angle + each, 2 * math.pi) - low]) for each in by]


def requested(coordinates: str | cotan.Node, rings: int) -> cotan.Node:
    """The coordinates of each edge, or if they are "geodesic" of each two vertices at most `rings` edges apart."""
    if coordinates != "geodesic":
        known = coordinates in COORDINATES
        wanted = cotan.node("pseudo_coordinates", kind=coordinates) if known else coordinates
        return cotan.node("edge_coordinates", pseudo_coordinates=wanted)
    at_least(1, "gaussian", rings=rings)
    pairs = cotan.node("ring_neighbours", rings=rings)
    polar = cotan.node("geodesic_polar", ring_neighbours=pairs)
    wanted = cotan.node("pseudo_coordinates", kind="geodesic", geodesic_polar=polar)
    return cotan.node("edge_coordinates", pseudo_coordinates=wanted, edge_index=pairs)


def convolution(pattern: Pattern, x: Tensor, weight: Tensor, weights: Tensor | Sequence[Tensor]) -> Tensor:
    """sum_k A_k x W_k, A_k the matrix of the k-th weights (E,), which are a tensor where all at once are quicker."""
    fewer = x.shape[1] > weight.shape[2]  # channels to gather after W_k
    if isinstance(weights, Tensor):
        A = Sparse(pattern, weights.T)
        if fewer:
            sent = cotan.linear(x, weight.transpose(1, 2).flatten(0, 1))
            return multiply_sum(A, sent.unflatten(1, (len(weight), -1)))
        return cotan.linear((A @ x).flatten(1), weight.flatten(0, 1).T)
    if fewer:
        terms = [Sparse(pattern, w) @ cotan.linear(x, W.T) for w, W in zip(weights, weight, strict=True)]
        return sum(terms[1:], terms[0])
    seen = torch.cat([Sparse(pattern, w) @ x for w in weights], 1)
    return cotan.linear(seen, weight.flatten(0, 1).T)


class _Convolution(ReverseMode):
    """`convolution` of as many channels as come out, by blocks of rows: no A_k x is ever whole.

    The gradients are x^T A_k^T g for W_k, sum_k A_k^T g W_k^T for x and <(g W_k^T)_i, x_j> for the weight of j -> i.
    """

    @staticmethod
    def forward(ctx: Any, pattern: Pattern, x: Tensor, weight: Tensor, *weights: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(x, weight, *weights)
        matrices = [Sparse(pattern, w) for w in weights]
        y = empty((len(x), weight.shape[2]), x)

        def work(rows: slice) -> None:
            here = y[rows].zero_()
            for A, W in zip(matrices, weight, strict=True):
                add_linear(here, multiply_rows(A, x, rows), W.T)

        by_blocks(work, x)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, *weights = ctx.saved_tensors
        pattern, needed = ctx.pattern, ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():  # a second derivative will be asked for
            y = convolution(pattern, x, weight, weights)
            return None, *composed_gradients(y, (x, weight, *weights), needed, g)
        transposed = [Sparse(pattern, w).T for w in weights]
        g_x = empty(x.shape, x) if needed[0] else None

        def work(rows: slice) -> tuple[Tensor, list[Tensor]]:
            of_weight, of_weights = torch.empty_like(weight), []
            for k, (A, W) in enumerate(zip(transposed, weight, strict=True)):
                sent = multiply_rows(A, g, rows)  # of A_k^T g
                of_weight[k] = cross(x[rows], sent)
                if g_x is not None:
                    add_linear(g_x[rows] if k else g_x[rows].zero_(), sent, W)
                if needed[2]:
                    of_weights.append(sampled_rows(pattern, cotan.linear(g[rows], W), x, rows))
            return of_weight, of_weights

        of_weight, of_weights = zip(*by_blocks(work, x), strict=True)
        g_weights = map(torch.cat, zip(*of_weights, strict=True)) if needed[2] else [None] * len(weights)
        return None, g_x, sum(of_weight), *g_weights
