"""Pictures for pages: bars as SVG in the page's own colours, shapes as transparent PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import torch
from torch import Tensor

from .colors import PALETTE, vertex_colors

HEIGHT = 220  # of bars


def bars(
    groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float | None] | None]], *, percent: bool = False
) -> str:
    """Grouped bars from 0 as SVG; a group for each axis, a colour for each series, a line as long as two deviations.

    Arguments:
        series: (mean, standard deviation or None) for each group; None is a number that is not there, shown as a dash.
        percent: the numbers are shares, and the axis ends at 100%.
    """
    count, longest = max(len(series), 1), max(map(len, series), default=0)
    wide = max(8, min(18, 640 // max(len(groups) * count, 1)))
    left, column = 48, 32 + 7 * longest
    apart = max(wide * count, 7 * max(map(len, groups), default=0)) + 18
    step = 0.25 if percent else _step(max([cell[0] for cells in series.values() for cell in cells if cell], default=1))
    total = left + len(groups) * apart
    across = max(1, min(3, (max(total, 640) - left) // column))
    width, height = max(total, 640, left + across * column), HEIGHT + 44 + 20 * -(-len(series) // across)

    def y(value: float) -> float:
        return 10 + HEIGHT * (1 - min(max(value / (4 * step), 0), 1))

    out = [f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="bars of the table\'s numbers">']
    for i in range(5):
        at, text = y(i * step), f"{i * step:.0%}" if percent else f"{i * step:g}"
        out.append(f'<line x1="{left}" x2="{total}" y1="{at}" y2="{at}"/>')
        out.append(f'<text class="soft" x="{left - 6}" y="{at + 4}" text-anchor="end">{text}</text>')
    for g, group in enumerate(groups):
        x = left + (g + 0.5) * apart - wide * count / 2
        out.append(
            f'<text x="{left + (g + 0.5) * apart}" y="{HEIGHT + 28}" text-anchor="middle">{escape(group)}</text>'
        )
        for s, (name, cells) in enumerate(series.items()):
            at, cell = x + s * wide, cells[g]
            middle = at + wide / 2 - 1
            if cell is None:
                out.append(f'<text class="soft" x="{middle}" y="{y(0) - 3}" text-anchor="middle">–</text>')
                continue
            value, spread = cell
            where = f'x="{at}" y="{y(value):.1f}" width="{wide - 2}" height="{y(0) - y(value):.1f}" rx="1.5"'
            text = f"{value:.1%}" if percent else f"{value:.3g}"
            out.append(f"<rect {where} {_fill(s)}><title>{escape(name)}, {escape(group)}: {text}</title></rect>")
            if spread:
                ends = f'y1="{y(value - spread):.1f}" y2="{y(value + spread):.1f}"'
                out.append(f'<line class="spread" x1="{middle}" x2="{middle}" {ends}/>')
    for s, name in enumerate(series):
        x, at = left + column * (s % across), HEIGHT + 54 + 20 * (s // across)
        out.append(f'<rect x="{x}" y="{at - 10}" width="11" height="11" rx="2" {_fill(s)}/>')
        out.append(f'<text x="{x + 17}" y="{at}">{escape(name)}</text>')
    return "".join(out) + "</svg>"


def _step(top: float) -> float:
    """A quarter of a round number that is not below `top`."""
    power = 10.0 ** math.floor(math.log10(top / 4)) if 0 < top < math.inf else 0.25
    return next((times * power for times in (1, 2, 2.5, 5) if 4 * times * power >= top), 10 * power)


def _fill(series: int) -> str:
    """The colour of a series; paler the second time, as there are few that can be told apart."""
    return f'fill="{PALETTE[series % len(PALETTE)]}" fill-opacity="{0.45 ** (series // len(PALETTE)):.2g}"'


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
