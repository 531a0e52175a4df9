"""Voxels as pictures: slices, and the solid seen from a corner."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import cotan
from cotan.errors import at_least, said

from .dbn import VoxelDBN
from .rbm import ConvRBM

UPRIGHT = {"x": (1, 2, 0), "y": (2, 0, 1), "z": (0, 1, 2)}  # the order of axes in which the last points up


def slices(grids: Sequence[Tensor], names: Sequence[str] = (), *, count: int = 6, up: str = "z") -> Any:
    """A matplotlib figure with a row for each grid (R, R, R): `count` slices across the shape, then it as a solid.

    The axis `up` points up, and slices are across it. A grid with values below zero is a signed distance, whose slices
    are through the whole grid; others are drawn as a solid where they are above a half.
    """
    from matplotlib.figure import Figure

    if not len(grids) or any(not isinstance(grid, Tensor) or grid.dim() != 3 or not grid.numel() for grid in grids):
        raise cotan.CotanError(f"slices draws grids (R, R, R); got {[said(grid) for grid in grids]}")
    at_least(1, "slices", count=count)
    figure = Figure(figsize=(2 * (count + 1), 2.1 * len(grids)), layout="constrained")
    for row, grid in enumerate(grids):
        grid = _upright(grid.detach().float(), up)
        low = -1.0 if (grid < 0).any() else 0.0
        filled = torch.nonzero(((grid > 0) | (low < 0)).any(0).any(0))[:, 0].tolist() or [0, len(grid) - 1]
        levels = np.unique(np.linspace(filled[0], filled[-1], count + 2).round().astype(int)[1:-1])
        for column, level in enumerate(levels):
            axis = figure.add_subplot(len(grids), count + 1, row * (count + 1) + column + 1)
            axis.imshow(
                grid[:, :, level].T.numpy(force=True),
                origin="lower",
                vmin=low,
                vmax=1,
                cmap="RdGy" if low else "gray_r",
            )
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{up} = {level}", fontsize=8)
            if column == 0 and row < len(names):
                axis.set_ylabel(names[row], fontsize=8, parse_math=False)
        solid = grid < 0 if low else grid > 0.5
        axis = figure.add_subplot(len(grids), count + 1, (row + 1) * (count + 1))
        axis.imshow(shaded(solid))
        axis.set_axis_off()
    return figure


def solids(rows: Sequence[Tensor], names: Sequence[str] = (), *, up: str = "z") -> Any:
    """A matplotlib figure with a row for each batch of grids (B, R, R, R), where they are above a half, and its name."""
    if not len(rows) or any(not isinstance(row, Tensor) or row.dim() != 4 or not row.numel() for row in rows):
        raise cotan.CotanError(f"solids draws batches of grids (B, R, R, R); got {[said(row) for row in rows]}")
    return _sheet([[_upright(grid, up) > 0.5 for grid in row] for row in rows], names)


def _upright(grid: Tensor, up: str) -> Tensor:
    if up not in UPRIGHT:
        raise cotan.CotanError(f"up is one of 'x', 'y', 'z'; got {up!r}")
    return grid.permute(UPRIGHT[up])


@torch.no_grad()
def primitives(model: VoxelDBN, voxels: Tensor, *, count: int = 8, best: int = 16) -> Any:
    """A matplotlib figure with a row for each layer: what the first `count` units that differ most look for.

    A unit is drawn as the mean of the `best` windows of the shapes (N, R, R, R) that excite it most, each from
    another shape, where it is above half of its maximum. The last row sees whole shapes.
    """
    if not isinstance(model, VoxelDBN):
        raise cotan.CotanError(f"primitives are those of a voxel-dbn; got {type(model).__name__}")
    at_least(1, "primitives", count=count, best=best)
    side = model.layers[0].visible.shape[-1]
    if not isinstance(voxels, Tensor) or not len(voxels) or voxels.shape[1:] != (side, side, side):
        raise cotan.CotanError(
            f"primitives needs voxels (N, {side}, {side}, {side}) of some shapes; got {said(voxels)}"
        )
    voxels = voxels.to(model.top.weight)
    rows, field, step = [], 1, 1
    for number, layer in enumerate(model.layers):
        seen = model.up(voxels, number + 1)
        if isinstance(layer, ConvRBM):
            field, step = field + (layer.weight.shape[-1] - 1) * step, step * layer.stride
        else:
            seen, field, step = seen[..., None, None, None], voxels.shape[-1], 1
        side = seen.shape[-1]
        strength, place = seen.flatten(2).max(2)  # (N, D): of each shape, the window that excites a unit most
        drawn = []
        for unit in strength.var(0).argsort(descending=True)[:count].tolist():
            shapes = strength[:, unit].argsort(descending=True)[:best]
            windows = []
            for shape in shapes.tolist():
                at = int(place[shape, unit])
                i, j, k = (step * n for n in (at // side**2, at // side % side, at % side))
                windows.append(voxels[shape, i : i + field, j : j + field, k : k + field])
            drawn.append(torch.stack(windows).mean(0))
        rows.append(drawn)
    titles = [f"layer {number}: {len(drawn[0])}^3" for number, drawn in enumerate(rows, start=1)]
    return _sheet([[mean > 0.5 * mean.max() for mean in drawn] for drawn in rows], titles)


def _sheet(rows: Sequence[Sequence[Tensor]], titles: Sequence[str]) -> Any:
    """A matplotlib figure with a row of solids for each row of boolean grids (R, R, R), and the title of as many as have one."""
    from matplotlib.figure import Figure

    across = max(map(len, rows))
    figure = Figure(figsize=(1.5 * across, 1.6 * len(rows)), layout="constrained")
    for number, row in enumerate(rows):
        for column, solid in enumerate(row):
            axis = figure.add_subplot(len(rows), across, number * across + column + 1)
            axis.imshow(shaded(solid))
            axis.set_axis_off()
            if column == 0 and number < len(titles):
                axis.set_title(titles[number], fontsize=8, loc="left", parse_math=False)
    return figure


def shaded(solid: Tensor) -> np.ndarray:
    """A picture (H, W, 3) of a grid (R, R, R) of booleans, seen from above one corner: each voxel three grey diamonds.

    Voxels are painted from the back to the front, so that near ones cover far ones.
    """
    filled = torch.nonzero(solid).cpu().numpy()
    r, s = len(solid), 4
    picture = np.ones((s * (2 * r + 2), 2 * s * (r + 1), 3))
    # Only voxels with a face towards the viewer can be seen.
    padded = np.pad(solid.cpu().numpy(), 1)
    i, j, k = filled.T + 1
    seen = ~(padded[i + 1, j, k] & padded[i, j + 1, k] & padded[i, j, k + 1])
    filled = filled[seen]
    filled = filled[np.argsort(filled.sum(1), kind="stable")]
    lights = (0.95, 0.55, 0.75)
    for x, y, z in filled:
        colour = np.array([0.55 + 0.45 * z / r, 0.75, 1 - 0.5 * z / r])
        for (down, across), light in zip(_faces(s), lights, strict=True):
            picture[s * (r - z) + s * (x + y) // 2 + down, s * (r + y - x) + across] = light * colour
    return picture


def _faces(s: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the top, left and right face of a voxel, 2 s pixels wide, from the top of its middle."""
    y, x = (index.ravel() for index in np.mgrid[0 : 2 * s, -s:s])
    slope = np.abs(x + 0.5) / 2
    top = (y + 0.5 >= slope) & (y + 0.5 < s - slope)
    side = (y + 0.5 >= s - slope) & (y + 0.5 < 2 * s - slope)
    return [(y[m], x[m]) for m in (top, side & (x < 0), side & (x >= 0))]
