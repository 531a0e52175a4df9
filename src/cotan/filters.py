"""Learned filters as pictures: multiplier against eigenvalue, or weight against coordinates, and the filter at a vertex.

A layer that has a method `multipliers(u)` is drawn: it gives (N, in_dim, out_dim), by what the layer multiplies the
part of a signal at u (N,), eigenvalues over the largest one. Nodes of its `forward` may follow u, by name. A layer that
needs a `spectrum` is asked at the shape's own, of which the largest is the last of its k, and if u matters between them.

So is a layer that needs `edge_coordinates` and has a method `kernel_at(u)`: (N, in_dim, out_dim), what a neighbour at u (N, D) is
weighed by.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from inspect import signature
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from . import atomic
from .application import inputs, place_of
from .colors import PALETTE, RODS, diverging, draw_bar
from .data import check_data, number_of_vertices
from .errors import CotanError, at_least, expect, one_of
from .evaluation import compute
from .network import instead_of, needs
from .nodes import Node
from .plan import beside


def draw_filters(
    model: nn.Module, data: Any, *, vertex: int = 0, curves: int = 3, file: str | Path | None = None
) -> Any:
    """A row for each layer that has multipliers: the largest of them, and the first of these filters at a vertex.

    Smooth on the left is local on the right. Of a layer such as gaussian the left shows the weight of a neighbour by where it
    lies, with the neighbours there are as dots: on a mesh radius and angle. The figure of matplotlib is returned.

    Arguments:
        model: a model or a layer. data: the shape; a graph without positions is laid out by its eigenvectors.
        vertex: where the filters are centred; on a coarser graph, in the cluster that it is in.
        curves: how many pairs (input, output) are drawn.
        file: where to save the picture.
    """
    from matplotlib.backend_bases import FigureCanvasBase
    from matplotlib.figure import Figure

    expect("draw_filters", model, nn.Module, "a model or a layer")
    check_data(data)
    expect("draw_filters: vertex", vertex, SupportsIndex, "a whole number")
    at_least(1, "draw_filters", curves=curves)
    expect("draw_filters: file", file, str | os.PathLike | None, "a file")
    if file is not None and (kind := Path(file).suffix[1:].lower()):
        one_of(f"kind of picture ({file})", kind, FigureCanvasBase.get_supported_filetypes())
    layers = filtering(model)
    if not 0 <= vertex < number_of_vertices(data):
        raise CotanError(f"vertex={vertex}, expected 0 to {number_of_vertices(data) - 1}")
    # The layers are asked by themselves, and see what stands for sources in the model.
    instead = instead_of(model)
    standing = {name: compute(data, request) for name, request in instead.items()}
    data = type(data)(**{name: data[name] for name in beside(data.keys(), instead)}).update(standing)
    figure = Figure(figsize=(9, 3.2 * len(layers)), layout="constrained")
    for row, (name, layer) in enumerate(layers.items()):
        u, found = multipliers(layer, data)
        size = found.square().sum(0).flatten()
        pairs = [divmod(i, found.shape[2]) for i in size.argsort(descending=True, stable=True)[:curves].tolist()]
        left = figure.add_subplot(len(layers), 2, 2 * row + 1)
        if u.ndim == 1:
            _curves(left, layer, data, u, found, pairs)
            left.set_xlabel("eigenvalue / largest" + (f" of {len(u)}" if "spectrum" in needs(layer) else ""))
        else:
            _plane(left, layer, u, pairs[0])
        left.set_title(name + (", channels {} to {}".format(*pairs[0]) if u.ndim > 1 else ""), fontsize=10)
        shape, at = _where(layer, data, vertex)
        right = figure.add_subplot(len(layers), 2, 2 * row + 2, projection="3d")
        draw_signal(right, shape, at_vertex(layer, data, at, pairs[0], found.shape[1]), at)
        right.set_title(f"filter {pairs[0][0]} to {pairs[0][1]} at vertex {at}", fontsize=10)
    if file is not None:
        figure.savefig(content := BytesIO(), dpi=110, format=Path(file).suffix[1:] or None)
        atomic.save(Path(file), content.getvalue())
    return figure


def _curves(axes: Any, layer: Any, data: Any, u: Tensor, found: Tensor, pairs: list[tuple[int, int]]) -> None:
    style, dots = "-", None
    if "spectrum" in needs(layer):
        nodes = inputs(layer, data)
        if torch.equal(found, _multipliers_at(layer, nodes, u / 2)):  # free: there is nothing between the pairs
            style = "."
        else:
            at, order = torch.cat([u, torch.linspace(0, 1, 201)]).sort(stable=True)
            dots = (order < len(u)).nonzero()[:, 0].tolist()
            u, found = at, _multipliers_at(layer, nodes, at)
            style = ".-"
    for (i, o), color in zip(pairs, cycle(PALETTE)):
        axes.plot(u, found[:, i, o], style, color=color, lw=1, ms=4, markevery=dots, label=f"{i} to {o}")
    axes.axhline(0, color="0.8", lw=0.8, zorder=0)
    axes.set_ylabel("multiplier")
    axes.legend(title="channels", fontsize=8, title_fontsize=8, frameon=False)


def _plane(axes: Any, layer: Any, u: Tensor, pair: tuple[int, int], side: int = 61) -> None:
    """The weights of one pair of channels over the first two coordinates, the others at their means."""
    if not len(u):
        raise CotanError(f"{type(layer).__name__}: the shape has no edges, expected neighbours to draw the weights of")
    seen = torch.nn.functional.pad(u, (0, 1))[:, :2]  # of a single coordinate too
    low, high = seen.amin(0), seen.amax(0)
    high = torch.where(high > low, high, low + 1)
    x, y = (low + torch.linspace(0, 1, side)[:, None] * (high - low)).T
    at = u.mean(0).repeat(side * side, 1)
    at[:, :2] = torch.cartesian_prod(y, x).flip(1)[:, : u.shape[1]]
    weight = _asked(layer, layer.kernel_at, at)[:, pair[0], pair[1]]
    full = float(weight.abs().amax()) or 1.0
    box = torch.stack([low, high], 1).flatten().tolist()
    axes.imshow(diverging(weight, full).view(side, side, 3).numpy(), origin="lower", extent=box, aspect="auto")
    axes.plot(*seen.T, "k.", ms=1, alpha=0.5)
    axes.set_xlabel("coordinate 0")
    axes.set_ylabel("coordinate 1")
    draw_bar(axes, weight, full)


def filtering(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model that have multipliers or a kernel, by name."""
    found = {}
    for path, part in model.named_modules():
        if any(callable(getattr(part, method, None)) for method in ("multipliers", "kernel_at")):
            found[f"{type(part).__name__} {path}".strip()] = part
    if not found:
        raise CotanError(
            f"{type(model).__name__} has no layer to draw: none has a method multipliers(u), "
            "as spectral, smooth-spectral and chebyshev have, or kernel_at(u), as gaussian has"
        )
    return found


def multipliers(layer: Any, data: Any) -> tuple[Tensor, Tensor]:
    """Where a layer's multipliers, or a kernel (N, D), are asked for (N,), and what they are (N, in_dim, out_dim)."""
    nodes = inputs(layer, data)
    if not hasattr(layer, "multipliers"):
        if "edge_coordinates" not in nodes:
            raise CotanError(f"{type(layer).__name__} has kernel_at(u), and its forward no edge_coordinates that are u")
        u = nodes["edge_coordinates"].values
        u = u[:: len(u) // 2000 + 1].cpu()  # some that tell
        return u.float(), _asked(layer, layer.kernel_at, u)
    u = torch.linspace(0, 1, 201)
    if "spectrum" in nodes:
        values = nodes["spectrum"].values.cpu()
        u = values / values[-1:].where(values[-1:] > 0, 1)
    return u.float(), _multipliers_at(layer, nodes, u)


def _multipliers_at(layer: Any, nodes: Mapping[str, Any], u: Tensor) -> Tensor:
    own = {name: nodes[name] for name in signature(layer.multipliers).parameters if name in nodes}
    return _asked(layer, layer.multipliers, u, **own)


def _asked(layer: nn.Module, method: Any, u: Tensor, **nodes: Any) -> Tensor:
    dtype, device = place_of(layer)
    with torch.no_grad():
        return method(u.to(device, dtype), **nodes).detach().cpu().float()


def at_vertex(
    layer: Any, data: Any, vertex: int, channel: tuple[int, int] = (0, 0), in_dim: int | None = None
) -> Tensor:
    """(V,) the filter from one input channel to one output channel, applied to a unit impulse at a vertex.

    in_dim: the number of input channels; where it is not given, the multipliers are asked for it, which takes longer.
    """
    dtype, device = place_of(layer)
    nodes = inputs(layer, data)
    in_dim = in_dim or multipliers(layer, data)[1].shape[1]
    with torch.no_grad():
        x = torch.zeros(number_of_vertices(_domain(layer, data)), in_dim, dtype=dtype, device=device)
        x[vertex, channel[0]] = 1
        return (layer(x, **nodes) - layer(torch.zeros_like(x), **nodes))[:, channel[1]].cpu()


def _request(layer: nn.Module) -> Node | None:
    return next((wanted.on for wanted in needs(layer).values()), None)


def _domain(layer: nn.Module, data: Any) -> Any:
    """The shape that a layer works on: the data, or that of the domain on which its nodes are."""
    on = _request(layer)
    return data if on is None else compute(data, on)


def _where(layer: nn.Module, data: Any, vertex: int) -> tuple[Any, int]:
    """The shape that a layer works on, with positions, and the vertex on it."""
    on = _request(layer)
    steps: list[Node] = []
    while on is not None:
        steps.insert(0, on)
        on = on.on
    for step in steps:
        cluster = compute(data, step).get("cluster")
        vertex = vertex if cluster is None else int(cluster[vertex])
    shape = _domain(layer, data)
    if shape.get("pos") is None:
        shape = shape.clone()
        shape.pos = torch.nn.functional.pad(compute(shape, "spectrum", k=4).vectors, (0, 3))[:, 1:4]
    return shape, vertex


def draw_signal(axes: Any, data: Any, values: Tensor, mark: int) -> None:
    """A signal (V,) on a shape in 3D axes, blue, white and red about zero: faces where there are some, else points and edges."""
    from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

    pos = torch.nn.functional.pad(data.pos.detach().cpu().double(), (0, 3))[:, :3]  # of a plane too
    if data.get("face") is not None:
        face = data.face.cpu()
        corners = pos[face.T]  # (F, 3, 3)
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        light = torch.nn.functional.normalize(normal, dim=1) @ torch.tensor([0.4, -0.6, 0.7], dtype=torch.float64)
        paint = (diverging(values[face].mean(0)) * (0.75 + 0.25 * light[:, None])).clamp(0, 1).numpy()
        axes.add_collection3d(Poly3DCollection(corners.numpy(), facecolors=paint, edgecolors=paint, linewidths=0.2))
    else:
        if (edges := data.get("edge_index")) is not None and 0 < edges.shape[1] <= 2 * RODS:  # none is refused
            axes.add_collection3d(Line3DCollection(pos[edges.cpu().T].numpy(), colors="0.8", linewidths=0.5, zorder=0))
        axes.scatter(
            *pos.T.numpy(), c=diverging(values).numpy(), s=14, edgecolors="0.6", linewidths=0.3, depthshade=False
        )
    low_corner, high_corner = pos.amin(0), pos.amax(0)
    centre, extent = (low_corner + high_corner) / 2, high_corner - low_corner
    radius = float(extent.max()) / 2 or 1.0
    flat = float(extent[2]) < 1e-6 * radius
    if flat:  # seen from above
        axes.view_init(elev=90, azim=-90)
    else:  # seen from its side, since matplotlib does not hide what lies behind
        x, y, z = (pos[mark] - centre).tolist()
        axes.view_init(elev=math.degrees(math.atan2(z, math.hypot(x, y))), azim=math.degrees(math.atan2(y, x)) + 15)
    axes.computed_zorder = False
    axes.scatter(*pos[mark].numpy(), s=50, facecolors="none", edgecolors="k", depthshade=False, zorder=10)
    half = (extent / 2 * 1.03).clamp(min=0.05 * radius)
    for set_limits, c, h in zip((axes.set_xlim, axes.set_ylim, axes.set_zlim), centre.tolist(), half.tolist()):
        set_limits(c - h, c + h)
    axes.set_box_aspect(half.tolist(), zoom=1.2)
    axes.set_axis_off()
