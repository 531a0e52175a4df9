"""A shape, its flat torus, and what the map does to areas, side by side."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import cotan
from cotan.operators import face_areas, face_normals

from .embed import CONES, flat_area, places
from .image import draw
from .maps import charts

MARKS = {"c": ("black", "white", "red"), "edgecolor": "black", "s": 40}  # first, middle and last cone point
AXES = ("x", "y", "z")


def chart_figure(pos: Tensor, face: Tensor, *, resolution: int = 256, up: str = "z", **options: Any):
    """A matplotlib figure with one row for each map (options as for `torus`; `up` is the axis that points up).

    From the left: the shape coloured by position, with its cone points and the cut; the same colours on the torus, four
    copies of the shape, one outlined; the triangles of that copy; the area that a point gets there over the area it has
    on the shape, in powers of ten, on the shape.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d.art3d import Line3DCollection

    if up not in AXES:
        raise cotan.CotanError(f"up is one of 'x', 'y', 'z'; got {up!r}")
    found = charts(pos, face, **options)
    figure = Figure(figsize=(16, 4 * len(found)), layout="constrained")
    for row, chart in enumerate(found):
        ball = chart.sphere
        corner, triangle = ball.pos.roll(2 - AXES.index(up), 1).cpu().numpy(), ball.face.cpu().numpy()
        colour = 0.1 + 0.9 * (corner - corner.min(0)) / np.maximum(np.ptp(corner, axis=0), 1e-30)
        z = places(chart.value, chart.disc)
        axes = [figure.add_subplot(len(found), 4, 4 * row + 1, projection="3d")]
        axes += [figure.add_subplot(len(found), 4, 4 * row + 2 + n) for n in range(2)]
        axes += [figure.add_subplot(len(found), 4, 4 * row + 4, projection="3d")]

        _surface(axes[0], corner, triangle, colour[triangle].mean(0))
        start, side = _rim(chart.disc.corner)
        ends = np.stack([corner[triangle[start, side]], corner[triangle[(start + 1) % 3, side]]], 1)
        axes[0].add_collection3d(Line3DCollection(ends, colors="black", linewidths=1.5))
        axes[0].scatter(*corner[list(chart.disc.cones)].T, depthshade=False, **MARKS)
        axes[0].set_title("shape, cone points, cut")

        under, share = draw(chart.value, chart.disc, resolution)
        vertex = ball.face.cpu()[:, under].permute(1, 2, 0)
        shown = (torch.from_numpy(colour)[vertex] * share[..., None]).sum(-2)
        axes[1].imshow(shown.transpose(0, 1).clamp(0, 1).numpy(), origin="lower", extent=(0, 1, 0, 1))
        axes[1].set_title("the torus: four copies, one outlined")

        lines = np.concatenate([z, z[:1], np.full_like(z[:1], np.nan)]).T.ravel()
        axes[2].plot(lines.real, lines.imag, color="steelblue", linewidth=0.3)
        axes[2].set_aspect("equal")
        area = flat_area(chart.value, chart.disc)
        turned = int((area <= 0).sum())
        axes[2].set_title("that copy, cut open" + f"; {turned} of {len(area)} faces turned over" * (turned > 0))

        rim = np.stack([z[start, side], z[(start + 1) % 3, side]], 1)
        for axis, shifts in ((axes[1], [x + y * 1j for x in (-1, 0, 1) for y in (-1, 0, 1)]), (axes[2], [0])):
            for shift in shifts:
                ends = rim + shift
                axis.add_collection(LineCollection(np.stack([ends.real, ends.imag], -1), colors="black", linewidths=1))
            axis.scatter(CONES.real, CONES.imag, zorder=3, clip_on=False, **MARKS)
            axis.set(xticks=(), yticks=())
        axes[1].set(xlim=(0, 1), ylim=(0, 1))

        true = face_areas(torch.from_numpy(corner), torch.from_numpy(triangle)).numpy()
        growth = 4 * area / np.maximum(true / true.sum(), 1e-12)
        growth = np.log10(np.maximum(growth, 1e-12))
        scale = ScalarMappable(Normalize(-2, 2), colormaps["RdBu_r"])
        _surface(axes[3], corner, triangle, scale.to_rgba(growth)[:, :3])
        axes[3].set_title(f"area gained, from $10^{{{growth.min():.1f}}}$ to $10^{{{growth.max():.1f}}}$")
        figure.colorbar(scale, ax=axes[3], shrink=0.6, label="powers of ten")
    return figure


def _rim(corner) -> tuple[Any, Any]:
    """Of the cut sphere's faces (3, F), the sides that one face has alone: from which of its corners, and the face."""
    start, end = corner.ravel(), np.roll(corner, -1, 0).ravel()
    key = np.minimum(start, end) * (int(corner.max()) + 1) + np.maximum(start, end)
    _, number, uses = np.unique(key, return_inverse=True, return_counts=True)
    return np.divmod(np.flatnonzero(uses[number] == 1), corner.shape[1])


def _surface(axis, corner, triangle, colour) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    x = corner[triangle].transpose(1, 0, 2)
    normal = face_normals(torch.from_numpy(corner), torch.from_numpy(triangle)).numpy()
    light = 0.6 + 0.4 * np.clip(normal @ np.array([0.4, -0.6, 0.7]), 0, 1)
    paint = np.clip(colour * light[:, None], 0, 1)
    axis.add_collection3d(Poly3DCollection(x, facecolors=paint, edgecolors=paint, linewidths=0.2))
    middle, half = (corner.max(0) + corner.min(0)) / 2, np.ptp(corner, axis=0).max() / 2
    axis.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
        zlim=(middle[2] - half, middle[2] + half),
    )
    # At 1.6 the ball in the box just fills the picture; corners reach out of it.
    reach = np.linalg.norm(corner - middle, axis=1).max()
    axis.set_box_aspect((1, 1, 1), zoom=1.6 * half / reach)
    axis.view_init(elev=20, azim=-50)
    axis.set_axis_off()
