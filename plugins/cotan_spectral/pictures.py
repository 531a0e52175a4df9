"""Filters as pictures: multiplier against eigenvalue, and the filter at a vertex on the shape."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cotan

from .chebyshev import Chebyshev
from .smooth import SmoothSpectral, relative
from .spectral import Spectral


def draw_filters(
    model: nn.Module,
    data: Any,
    *,
    vertex: int = 0,
    channels: tuple[tuple[int, int], ...] = ((0, 0), (1, 0), (2, 0)),
    file: str | Path | None = None,
) -> Any:
    """A row for each spectral layer in the model: its multipliers, and its first filter centred at a vertex.

    Smooth on the left is local on the right. The multipliers of free and smooth layers are drawn against eigenvalue
    over the largest one, those of polynomials against that of the rescaled Laplacian.

    Arguments:
        model: a model or a layer. data: the shape.
        vertex: where the filters are centred.
        channels: pairs (input, output) whose multipliers are drawn; pairs that a layer has not are left out.
        file: where to save the picture.

    Returns the matplotlib figure.
    """
    from matplotlib.figure import Figure

    layers = [part for part in model.modules() if isinstance(part, Spectral | SmoothSpectral | Chebyshev)]
    if not layers:
        raise cotan.CotanError(f"{type(model).__name__} has no spectral, smooth-spectral or chebyshev layer to draw")
    figure = Figure(figsize=(9, 3.2 * len(layers)), layout="constrained")
    for row, layer in enumerate(layers):
        left = figure.add_subplot(len(layers), 2, 2 * row + 1)
        u, multipliers = curves(layer, data)
        for i, o in channels:
            if i < multipliers.shape[1] and o < multipliers.shape[2]:
                left.plot(u, multipliers[:, i, o], ".-" if len(u) < 150 else "-", lw=1, ms=3, label=f"{i} to {o}")
        left.axhline(0, color="0.8", lw=0.8, zorder=0)
        left.set_xlabel(
            "eigenvalue of the rescaled Laplacian" if isinstance(layer, Chebyshev) else "eigenvalue / largest"
        )
        left.set_ylabel("multiplier")
        left.set_title(f"{type(layer).__name__}, channels", fontsize=10)
        left.legend(fontsize=8, frameon=False)
        right = figure.add_subplot(len(layers), 2, 2 * row + 2, projection="3d")
        draw_signal(right, data, at_vertex(layer, data, vertex), mark=vertex)
        right.set_title(f"filter {channels[0][0]} to {channels[0][1]} at vertex {vertex}", fontsize=10)
    if file is not None:
        figure.savefig(file, dpi=110)
    return figure


def curves(layer: nn.Module, data: Any) -> tuple[Tensor, Tensor]:
    """Where the multipliers of a layer are drawn (N,), and the multipliers (N, in_dim, out_dim)."""
    with torch.no_grad():
        if isinstance(layer, Chebyshev):
            u = torch.linspace(-1, 1, 201).to(layer.weight)
            return u.cpu(), layer.multipliers(u).cpu()
        spectrum = cotan.inputs(layer, data)["spectrum"]
        u = relative(spectrum)
        found = layer.multipliers(u) if isinstance(layer, SmoothSpectral) else layer.weight.detach()[: len(u)]
        return u.cpu(), found.cpu()


def at_vertex(layer: nn.Module, data: Any, vertex: int, channel: tuple[int, int] = (0, 0)) -> Tensor:
    """(V,) the filter from one input channel to one output channel, applied to a unit impulse at a vertex."""
    nodes = cotan.inputs(layer, data)
    with torch.no_grad():
        weight = layer.weight
        x = weight.new_zeros(data.num_nodes, weight.shape[1])
        if not 0 <= vertex < len(x):
            raise cotan.CotanError(f"vertex={vertex}, expected 0 to {len(x) - 1}")
        x[vertex, channel[0]] = 1
        return (layer(x, **nodes) - layer(torch.zeros_like(x), **nodes))[:, channel[1]].cpu()


def draw_signal(axes: Any, data: Any, values: Tensor, *, mark: int | None = None, symmetric: bool = True) -> None:
    """A signal (V,) on a shape in 3D axes: faces where there are some, else points. Colours are blue, white and red
    about zero, or from the least to the largest value.
    """
    from matplotlib import colormaps
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    pos = data.pos.detach().cpu().double()
    values = values.double()
    # By a quantile where it is not zero: the impulse itself may be so large that all else would be white.
    size = values.abs()
    top = float(size[size > 1e-6 * size.max()].quantile(0.98)) if size.any() else 1.0
    low, high = (-top, top) if symmetric else (float(values.min()), float(values.max()))
    colours = colormaps["RdBu_r" if symmetric else "magma"]

    def shade(v: Tensor) -> Any:
        return colours(((v - low) / max(high - low, 1e-12)).clamp(0, 1).numpy())

    if data.get("face") is not None:
        face = data.face.cpu()
        corners = pos[face.T]  # (F, 3, 3)
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        light = torch.nn.functional.normalize(normal, dim=1) @ torch.tensor([0.4, -0.6, 0.7], dtype=torch.float64)
        colour = shade(values[face].mean(0))
        colour[:, :3] *= (0.75 + 0.25 * light[:, None]).numpy()
        axes.add_collection3d(Poly3DCollection(corners.numpy(), facecolors=colour, edgecolors=colour, linewidths=0.2))
    else:
        axes.scatter(*pos.T.numpy(), c=shade(values), s=8)
    centre, radius = (pos.amin(0) + pos.amax(0)) / 2, float((pos.amax(0) - pos.amin(0)).max()) / 2
    if mark is not None:  # seen from its side, since matplotlib does not hide what lies behind
        x, y, z = (pos[mark] - centre).tolist()
        axes.view_init(elev=math.degrees(math.atan2(z, math.hypot(x, y))), azim=math.degrees(math.atan2(y, x)) + 15)
        axes.scatter(*pos[mark].numpy(), s=40, facecolors="none", edgecolors="k", depthshade=False, zorder=10)
    for set_limits, c in zip((axes.set_xlim, axes.set_ylim, axes.set_zlim), centre.tolist(), strict=True):
        set_limits(c - 0.75 * radius, c + 0.75 * radius)
    axes.set_box_aspect((1, 1, 1), zoom=1.3)
    axes.set_axis_off()
