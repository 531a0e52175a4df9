"""A contact sheet: rows of shapes, shaded, seen from ahead and a little above."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PALETTE = ("#8da0cb", "#fc8d62", "#e5c494", "#66c2a5", "#a6d854", "#e78ac3", "#ffd92f", "#6fb7d6", "#b3b3b3", "#bc80bd")


def contact_sheet(
    rows: Sequence[Sequence[Any]],
    path: str | Path,
    *,
    color: str = "part",
    names: Sequence[str] = (),
    turn: float = 35.0,
    tilt: float = 20.0,
) -> None:
    """Draws rows of `Data` (pos, face) into an image file, in the colours of a vertex attribute.

    `color` names integer labels (V,) or coordinates (V, 3), which become red, green and blue. `names` label the rows.
    `turn` and `tilt` are the camera's angles in degrees.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.6 * columns, 1.6 * len(rows)), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    a, b = np.radians(turn), np.radians(tilt)
    camera = np.array([
        [np.cos(a), 0, -np.sin(a)],
        [-np.sin(b) * np.sin(a), np.cos(b), -np.sin(b) * np.cos(a)],
        [np.cos(b) * np.sin(a), np.sin(b), np.cos(b) * np.cos(a)],
    ])  # fmt: skip
    palette = np.array([to_rgb(c) for c in PALETTE])
    for i, row in enumerate(rows):
        for j in range(columns):
            axes[i, j].set_axis_off()
            axes[i, j].set_aspect("equal")
            if j >= len(row):
                continue
            p = np.asarray(row[j].pos, dtype=float) @ camera.T
            faces = np.asarray(row[j].face).T
            normal = np.cross(p[faces[:, 1]] - p[faces[:, 0]], p[faces[:, 2]] - p[faces[:, 0]])
            normal /= np.maximum(np.sqrt((normal**2).sum(1, keepdims=True)), 1e-12)
            value = np.asarray(row[j][color])
            if value.ndim == 2:
                paint = (value - value.min(0)) / np.maximum(np.ptp(value, axis=0), 1e-12)
            else:
                paint = palette[value % len(palette)]
            light = np.where(normal[:, 2] > 0, 0.45 + 0.55 * np.clip(normal @ [0.3, 0.6, 0.74], 0, 1), 0.25)
            shade = np.clip(paint[faces].mean(1) * light[:, None], 0, 1)
            order = np.argsort(p[faces, 2].mean(1))  # painter's order: far faces first
            tiles = PolyCollection(p[faces[order], :2], facecolors=shade[order], edgecolors=shade[order] * 0.85)
            tiles.set_linewidth(0.15)
            axes[i, j].add_collection(tiles)
            middle, half = (p.max(0) + p.min(0)) / 2, np.ptp(p[:, :2], axis=0).max() / 2
            axes[i, j].set_xlim(middle[0] - half, middle[0] + half)
            axes[i, j].set_ylim(middle[1] - half, middle[1] + half)
        if names:
            axes[i, 0].text(0, 0.97, names[i], fontsize=8, transform=axes[i, 0].transAxes)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.99, 0.04, 0.04)
    figure.savefig(path)
