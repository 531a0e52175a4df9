"""DiffusionNet: learned diffusion, gradients and a perceptron at each vertex (Sharp, Attaiki, Crane, Ovsjanikov 2022)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

import cotan
from cotan.dense import cross
from cotan.errors import at_least, one_of, one_signal
from cotan.sparse import ReverseMode, composed_gradients, reverse_mode_only

METHODS = ("spectral", "implicit")


@cotan.layer("diffusion", invariant_to=("rigid",))
class Diffusion(nn.Module):
    """y = MLP(x, h, g) (+ x where in_dim = out_dim):  h = Phi exp(-lambda t) Phi^T M x,  g = tanh(Re(conj(w) A w)).

    The block of DiffusionNet (Sharp et al. 2022).
    With method="implicit", h = (M + t L)^-1 M x: one backward Euler step, without eigenvectors.
    w = G h is the gradient, a complex number for each vertex and channel; A is a complex matrix, so g does not depend
    on the tangent frames. t, one for each channel, A and the MLP are learned.

    Arguments:
        method: "spectral", with k eigenpairs, or "implicit", by conjugate gradients on all channels at once.
        hidden: widths inside the MLP, by default (out_dim, out_dim), which are narrow where out_dim is small. dropout: before
            each but its first map.
        gradients: use g; a graph without positions has none, and wants gradients=False. ridge: of the gradient operator.
        scale: "area" or "radius": the pairs, masses and gradients are those of the shape as `normalized_pos` scales it, for
            shapes of several sizes.

    Shape: x (V, in_dim), mass (V,), gradient (V, V) twice, spectrum or laplacian (V, V) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        method: str = "spectral",
        k: int = 128,
        hidden: tuple[int, ...] | None = None,
        dropout: float = 0.0,
        gradients: bool = True,
        ridge: float = 0.0,
        scale: str | None = None,
    ):
        super().__init__()
        one_of("method of diffusion", method, METHODS)
        pos = {} if scale is None else {"pos": cotan.node("normalized_pos", scale=scale)}
        mass = {} if scale is None else {"mass": cotan.node("mass", **pos)}
        if scale is not None:
            self.invariant_to = ("rigid", "scale")
        spectral = method == "spectral"
        # Without gradients nothing is asked for that a graph lacks.
        self.needs = {
            "gradient": cotan.node("gradient", ridge=ridge, **pos) if gradients else mass.get("mass", "mass"),
            "spectrum": cotan.node("spectrum", k=k, **mass) if spectral else None,
            "laplacian": None if spectral else cotan.node("laplacian"),
            **mass,
        }
        self.time = nn.Parameter(torch.full((in_dim,), 0.01))
        self.real = nn.Linear(in_dim, in_dim, bias=False) if gradients else None
        self.imaginary = nn.Linear(in_dim, in_dim, bias=False) if gradients else None
        widths = [in_dim * (3 if gradients else 2), *((out_dim, out_dim) if hidden is None else hidden), out_dim]
        maps = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            maps += [nn.ReLU(inplace=True), cotan.Dropout(dropout)] if i else []
            maps.append(Map(a, b))
        self.mlp = nn.Sequential(*maps)

    def forward(
        self,
        x: Tensor,
        mass: Tensor,
        gradient: Any,
        spectrum: cotan.Spectrum | None = None,
        laplacian: cotan.Sparse | None = None,
    ) -> Tensor:
        one_signal(x)
        time, h = self.time.abs(), mass[:, None] * x  # heat does not run back
        if spectrum is not None:
            h = spectrum.vectors @ (torch.exp(-spectrum.values[:, None] * time) * (spectrum.vectors.T @ h))  # (K, C)
        elif laplacian is not None:
            h = cotan.shifted_solve(laplacian, mass, time, h)
        else:
            raise cotan.CotanError("diffusion: neither spectrum nor laplacian was given, expected that of its method")
        parts = [x, h]
        if self.real is not None:
            features = gradient_features if self.training else composed
            parts.append(features(h, self.real.weight, self.imaginary.weight, gradient))
        y = self.mlp(torch.cat(parts, 1))
        return y + x if y.shape == x.shape else y


class Map(cotan.Linear):
    """x W^T + b; in evaluation by torch, for the rounding that the published outputs have (see `composed`)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.training else linear(input, self.weight, self.bias)


def gradient_features(h: Tensor, real: Tensor, imaginary: Tensor, gradient: Any) -> Tensor:
    """tanh(Re(conj(w) A w)), w = G h; real and imaginary (C, C) are the parts of A. As `composed`, in less time and memory.

    G works on vertices and A on channels, so A w = G (A h): half the dense products of A (G h).
    """
    if reverse_mode_only(h, real) and not gradient.x.values.requires_grad:
        transposed = [g.T for g in gradient] if torch.is_grad_enabled() else []  # asked for here, so that they are kept
        return _Features.apply(h, real, imaginary, gradient, transposed)
    return composed(h, real, imaginary, gradient)


def composed(h: Tensor, real: Tensor, imaginary: Tensor, gradient: Any) -> Tensor:
    """In the order of the published code and by torch, as its outputs are rounded: gradients magnify what differs, so that
    log-probabilities of -35 are off by 8e-4 in the other order, and by 6e-4 where oneDNN multiplies.
    """
    a, b = (g @ h for g in gradient)
    turned_a = linear(a, real) - linear(b, imaginary)
    turned_b = linear(b, real) + linear(a, imaginary)
    return torch.tanh(a * turned_a + b * turned_b)


class _Features(ReverseMode):
    """`gradient_features` in place."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, real: Tensor, imaginary: Tensor, gradient: Any, transposed: Any) -> Tensor:
        x, y = gradient
        p, q = cotan.linear(h, real), cotan.linear(h, imaginary)
        a, turned_a = x @ h, (x @ p).sub_(y @ q)
        b, turned_b = y @ h, (y @ p).add_(x @ q)
        out = (a * turned_a).addcmul_(b, turned_b)
        # 2 sigma(2 d) - 1 is tanh(d), to 1e-7 in float32, in a fifth of its time
        out = out.mul_(2).sigmoid_().mul_(2).sub_(1) if out.dtype == torch.float32 else out.tanh_()
        ctx.matrices = gradient, transposed
        ctx.save_for_backward(h, real, imaginary, a, b, turned_a, turned_b, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        h, real, imaginary, a, b, turned_a, turned_b, out = ctx.saved_tensors
        gradient, (x, y) = ctx.matrices
        if torch.is_grad_enabled():  # a second derivative will be asked for
            out = composed(h, real, imaginary, gradient)
            return *composed_gradients(out, (h, real, imaginary), ctx.needs_input_grad[:3], g), None, None
        g = torch.ops.aten.tanh_backward(g, out)
        g_a, g_b = g * a, g * b
        g_p, g_q = (x @ g_a).add_(y @ g_b), (x @ g_b).sub_(y @ g_a)
        g_h = (x @ (g * turned_a)).add_(y @ (g * turned_b))
        g_h.add_(cotan.linear(g_p, real.T)).add_(cotan.linear(g_q, imaginary.T))
        return g_h, cross(g_p, h), cross(g_q, h), None, None


@cotan.model("diffusion")
class DiffusionNet(cotan.Network):
    """lift, `depth` blocks of `diffusion`, readout: without norms or activations in between.

    Arguments:
        width, depth: channels and blocks. readout: how vertices become a shape, as in `stack`.
        method, k, dropout, gradients, ridge, scale: of the blocks.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        width: int = 128,
        depth: int = 4,
        readout: str = "mean",
        method: str = "spectral",
        k: int = 128,
        dropout: float = 0.0,
        gradients: bool = True,
        ridge: float = 0.0,
        scale: str | None = None,
    ):
        super().__init__()
        at_least(1, "diffusion", depth=depth)
        options = {"method": method, "k": k, "dropout": dropout, "gradients": gradients, "ridge": ridge, "scale": scale}
        self.lift = Map(in_dim, width)
        self.blocks = nn.ModuleList(cotan.create_layer("diffusion", width, width, **options) for _ in range(depth))
        self.readout = cotan.Readout(width, out_dim, task=task, kind=readout)

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor, **nodes: Any) -> Tensor:
        x = self.lift(x)
        for block in self.blocks:
            x = self.feed(block, x, nodes)
        return self.readout(x, batch, ptr)
