"""Pictures for pages: bars as SVG in the page's own colours, shapes as transparent PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from .colors import PALETTE, vertex_colors

HEIGHT = 220  # of bars


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Grouped bars from 0 to the largest value (at least 1) as SVG; a group for each axis, a colour for each series."""
    wide = max(8, min(18, 640 // max(len(groups) * len(series), 1)))
    gap, left = 18, 34
    top = max([1.0, *(value for values in series.values() for value in values)])
    total = left + len(groups) * (wide * len(series) + gap)
    legend = 20 * -(-len(series) // 3)
    out = [f'<svg viewBox="0 0 {max(total, 640)} {HEIGHT + 44 + legend}" width="{max(total, 640)}" role="img">']
    for i in range(5):
        y = 10 + HEIGHT - HEIGHT * i / 4
        out.append(f'<line x1="{left}" x2="{total}" y1="{y}" y2="{y}"/>')
        out.append(f'<text class="soft" x="{left - 6}" y="{y + 4}" text-anchor="end">{top * i / 4:.2g}</text>')
    for g, group in enumerate(groups):
        x = left + gap / 2 + g * (wide * len(series) + gap)
        for s, (name, values) in enumerate(series.items()):
            tall = HEIGHT * max(values[g], 0) / top
            where = f'x="{x + s * wide}" y="{10 + HEIGHT - tall:.1f}" width="{wide - 2}" height="{tall:.1f}" rx="1.5"'
            title = f"<title>{escape(name)}, {escape(group)}: {values[g]:.3f}</title>"
            out.append(f'<rect {where} fill="{PALETTE[s % len(PALETTE)]}">{title}</rect>')
        middle = x + wide * len(series) / 2
        out.append(f'<text x="{middle}" y="{HEIGHT + 28}" text-anchor="middle">{escape(group)}</text>')
    for s, name in enumerate(series):
        x, y = left + 210 * (s % 3), HEIGHT + 54 + 20 * (s // 3)
        out.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" rx="2" fill="{PALETTE[s % len(PALETTE)]}"/>')
        out.append(f'<text x="{x + 17}" y="{y}">{escape(name)}</text>')
    return "".join(out) + "</svg>"


def shapes_png(
    rows: Sequence[Sequence[Any]],
    names: Sequence[str] = (),
    *,
    labels: Sequence[str] = (),
    one_scale: bool = False,
) -> bytes:
    """Rows of meshes, shaded, in their own colours, or those of their parts, vertex labels or class.

    Arguments:
        rows: None leaves a place free.
        names, labels: stand above the columns, and before the rows.
        one_scale: draw all shapes at one size in the units of `pos`, not each to fill its place.
    """
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.3 * columns, 1.3 * len(rows) + 0.2), dpi=110)
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    sizes = [float((s.pos.amax(0) - s.pos.amin(0)).max()) for row in rows for s in row if s is not None]
    for i, row in enumerate(rows):
        for j in range(columns):
            ax = axes[i, j]
            ax.set_axis_off()
            ax.set_aspect("equal")
            if i == 0 and j < len(names):
                ax.set_title(names[j], fontsize=9, color="#808088", pad=2, parse_math=False)
            if j == 0 and i < len(labels):
                text = {"rotation": "vertical", "va": "center", "ha": "right", "fontsize": 9, "color": "#808088"}
                ax.text(-0.02, 0.5, labels[i], transform=ax.transAxes, parse_math=False, **text)
            if j >= len(row) or row[j] is None:
                continue
            corners, shade = _tiles(row[j])
            tiles = PolyCollection(
                list(corners[:, :, :2].numpy()), facecolors=shade.numpy(), edgecolors=shade.numpy(), linewidths=0.2
            )
            ax.add_collection(tiles)
            flat = corners.reshape(-1, 3)
            x, y, _ = ((flat.amax(0) + flat.amin(0)) / 2).tolist()
            half = max(sizes) * 0.6 if one_scale else float((flat.amax(0) - flat.amin(0))[:2].max()) / 2 * 1.02
            ax.set_xlim(x - half, x + half)
            ax.set_ylim(y - half, y + half)
    left = 0.2 / (1.3 * columns) if labels else 0.01
    figure.subplots_adjust(left, 0.01, 0.99, 1 - 0.2 / (1.3 * len(rows) + 0.2), 0.03, 0.03)
    out = BytesIO()
    figure.savefig(out, format="png", transparent=True)
    return out.getvalue()


def _tiles(shape: Any) -> tuple[Tensor, Tensor]:
    """Corners (F, 3, 3) seen from the camera, far ones first, and colours (F, 3)."""
    a, b = torch.tensor([35.0, 20.0]).double().deg2rad()  # turned and tilted by so much
    camera = torch.tensor(
        [
            [a.cos(), 0, -a.sin()],
            [-b.sin() * a.sin(), b.cos(), -b.sin() * a.cos()],
            [b.cos() * a.sin(), b.sin(), b.cos() * a.cos()],
        ],
        dtype=torch.float64,
    )
    corners = (shape.pos.detach().cpu().double() @ camera.T)[shape.face.cpu().T]  # (F, 3, 3)
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = torch.nn.functional.normalize(normal, dim=1)
    light = 0.45 + 0.55 * (normal @ torch.tensor([0.3, 0.6, 0.74], dtype=torch.float64)).clamp(0, 1)
    light = torch.where(normal[:, 2] > 0, light, 0.3)
    shade = (vertex_colors(shape)[shape.face.cpu().T].mean(1) * light[:, None]).clamp(0, 1)
    order = corners[:, :, 2].mean(1).argsort()
    return corners[order], shade[order]
