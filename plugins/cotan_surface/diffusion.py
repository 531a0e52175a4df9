"""DiffusionNet: learned diffusion, gradients and a perceptron at each vertex (Sharp, Attaiki, Crane, Ovsjanikov 2022)."""

from typing import Any

import torch
from torch import Tensor, nn

import cotan

METHODS = ("spectral", "implicit")


@cotan.layer("diffusion", invariant_to=("rigid",))
class Diffusion(nn.Module):
    """y = MLP(x, h, g) (+ x where in_dim = out_dim):  h = Phi exp(-lambda t) Phi^T M x,  g = tanh(Re(conj(w) A w)).

    With method="implicit", h = (M + t L)^-1 M x: one backward Euler step, without eigenvectors.
    w = G h is the gradient, a complex number for each vertex and channel; A is a complex matrix, so g does not depend
    on the tangent frames. t, one for each channel, A and the MLP are learned.

    Arguments:
        method: "spectral", with k eigenpairs, or "implicit", by conjugate gradients on all channels at once.
        hidden: widths inside the MLP. dropout: before each but its first map.
        gradients: use g; a graph has none. ridge: of the gradient operator.
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
        if method not in METHODS:
            raise cotan.errors.unknown("method of diffusion", method, METHODS)
        pos = {} if scale is None else {"pos": cotan.node("normalized_pos", scale=scale)}
        mass = {} if scale is None else {"mass": cotan.node("mass", **pos)}
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
        maps: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            maps += [nn.ReLU(), cotan.Dropout(dropout)] if i else []
            maps.append(nn.Linear(a, b))
        self.mlp = nn.Sequential(*maps)

    def forward(
        self,
        x: Tensor,
        mass: Tensor,
        gradient: Any,
        spectrum: cotan.Spectrum | None = None,
        laplacian: cotan.Sparse | None = None,
    ) -> Tensor:
        time, h = self.time.abs(), mass[:, None] * x  # heat does not run back
        if spectrum is not None:
            h = spectrum.vectors @ (torch.exp(-spectrum.values[:, None] * time) * (spectrum.vectors.T @ h))  # (K, C)
        elif laplacian is not None:
            h = cotan.shifted_solve(laplacian, mass, time, h)
        parts = [x, h]
        if self.real is not None and self.imaginary is not None:
            a, b = gradient.x @ h, gradient.y @ h
            turned_a, turned_b = self.real(a) - self.imaginary(b), self.real(b) + self.imaginary(a)
            parts.append(torch.tanh(a * turned_a + b * turned_b))
        y: Tensor = self.mlp(torch.cat(parts, 1))
        return y + x if y.shape == x.shape else y


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
        task: str = "label",
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
        if not isinstance(depth, int) or depth < 1:
            raise cotan.CotanError(f"diffusion: depth={depth!r}, expected a positive whole number")
        options: dict[str, Any] = {"method": method, "k": k, "dropout": dropout, "gradients": gradients}
        options |= {"ridge": ridge, "scale": scale}
        self.lift = nn.Linear(in_dim, width)
        self.blocks = nn.ModuleList(cotan.create_layer("diffusion", width, width, **options) for _ in range(depth))
        self.readout = cotan.Readout(width, out_dim, task=task, kind=readout)

    def forward(self, x: Tensor, batch: Tensor, ptr: Tensor, **nodes: Any) -> Tensor:
        x = self.lift(x)
        for block in self.blocks:
            x = self.feed(block, x, nodes)
        out: Tensor = self.readout(x, batch, len(ptr) - 1)
        return out
