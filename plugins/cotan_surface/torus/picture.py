"""A shape, its flat torus, and what the map does to areas, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .embed import flat_area, places
from .image import draw
from .maps import charts


def picture(pos: Tensor, face: Tensor, *, resolution: int = 256, **options: Any):
    """A matplotlib figure with one row for each map (options as for ``torus``).

    From the left: the shape coloured by position, with its cone points and the cut; the same colours on the torus, four
    copies of the shape, one outlined; the triangles of that copy; the area that a point gets there over the area it has
    on the shape, in powers of ten, on the shape.
    """
    from matplotlib.figure import Figure

    found = charts(pos, face, **options)
    figure = Figure(figsize=(16, 4 * len(found)), layout="constrained")
    for row, chart in enumerate(found):
        ball = chart.sphere
        corner, triangle = ball.pos.cpu().numpy(), ball.face.cpu().numpy()
        low, size = corner.min(0), np.ptp(corner, axis=0).max()
        colour = np.clip((corner - low) / size, 0, 1)
        path = np.unique(chart.disc.vertex[chart.disc.copy > 0])
        axes = [figure.add_subplot(len(found), 4, 4 * row + 1, projection="3d")]
        axes += [figure.add_subplot(len(found), 4, 4 * row + 2 + n) for n in range(2)]
        axes += [figure.add_subplot(len(found), 4, 4 * row + 4, projection="3d")]

        _surface(axes[0], corner, triangle, colour[triangle].mean(0))
        cones = corner[list(chart.disc.cones)]
        axes[0].scatter(*cones.T, color=["black", "white", "red"], edgecolor="black", s=40, depthshade=False)
        axes[0].scatter(*corner[path].T, color="black", s=2)
        axes[0].set_title("shape, cone points, cut")

        under, share = draw(chart.value, chart.disc, resolution)
        vertex = ball.face.cpu()[:, under].permute(1, 2, 0)
        shown = (torch.from_numpy(colour)[vertex] * share[..., None]).sum(-2)
        axes[1].imshow(shown.transpose(0, 1).numpy(), origin="lower", extent=(0, 1, 0, 1))
        axes[1].set_title("the torus: four copies")

        z = places(chart.value, chart.disc)
        lines = np.concatenate([z, z[:1], np.full_like(z[:1], np.nan)]).T.ravel()
        axes[2].plot(lines.real, lines.imag, color="steelblue", linewidth=0.3)
        axes[2].set_aspect("equal")
        axes[2].set_title("one copy, cut open")

        true = np.linalg.norm(
            np.cross(corner[triangle[1]] - corner[triangle[0]], corner[triangle[2]] - corner[triangle[0]]), axis=-1
        )
        growth = 4 * flat_area(chart.value, chart.disc) / np.maximum(true / true.sum(), 1e-12)
        growth = np.log10(np.maximum(growth, 1e-12))
        from matplotlib import colormaps
        from matplotlib.colors import Normalize

        scale = Normalize(-2, 2)
        _surface(axes[3], corner, triangle, colormaps["RdBu_r"](scale(growth))[:, :3])
        axes[3].set_title(f"area gained, log10 (from {growth.min():.1f} to {growth.max():.1f})")
    return figure


def _surface(axis, corner, triangle, colour) -> None:
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    x = corner[triangle].transpose(1, 0, 2)
    normal = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    light = 0.6 + 0.4 * np.clip(normal @ np.array([0.4, -0.6, 0.7]), 0, 1)
    axis.add_collection3d(Poly3DCollection(x, facecolors=np.clip(colour * light[:, None], 0, 1), edgecolors="none"))
    middle, half = (corner.max(0) + corner.min(0)) / 2, np.ptp(corner, axis=0).max() / 2
    axis.set(
        xlim=(middle[0] - half, middle[0] + half),
        ylim=(middle[1] - half, middle[1] + half),
        zlim=(middle[2] - half, middle[2] + half),
    )
    axis.set_box_aspect((1, 1, 1), zoom=1.6)
    axis.set_axis_off()
