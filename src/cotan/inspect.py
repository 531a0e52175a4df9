"""A first look at a shape: what is right and wrong with it, and a picture of it and of its first eigenfunctions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
from torch import Tensor
from torch.linalg import cross
from torch.nn.functional import normalize

from . import atomic, registry
from .colors import GREY, RODS, colors_of, diverging, draw_bar, usual_size
from .data import check_points
from .errors import CotanError, expect
from .evaluation import compute
from .nodes import node
from .operators.topology import connected
from .operators.undirected import undirected
from .pattern import numbered
from .sparse import Sparse, check_edges
from .values import numbers

PARTS = 100  # of a shape; of more, some eigenfunctions of zero say as much
LETTERS = 42  # of a title that are about as wide as a picture
BEADS = 20000  # points of a cloud that are drawn
OCTAHEDRON = torch.tensor([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]])
PRISM = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4], [2, 0, 3], [2, 3, 5]])
EYE = (0.9, 0.45, 1.9)  # from the front, a little from the right and from above, where y is up
GOOD = ("manifold", "closed", "orientable")
COUNTS = ("vertices", "faces", "edges", "components", "boundary_loops", "euler", "genus")


def report(data: Any) -> dict[str, Any]:
    """What can be said of a shape: the mesh report, or the numbers of a cloud, or of a graph (one edge for both directions).

    Of a mesh also how `voxels` tells its inside, where the plugin cotan_voxels is loaded, and its size along x, y and z, which
    tells units.
    """
    if data.get("face") is not None:
        found: dict[str, Any] = compute(data, "mesh_report")
        if registry.has("operator", "voxel_report"):
            with suppress(CotanError):  # of what has no voxels, the counts say why
                found = found | {"solid_voxels_by": compute(data, "voxel_report")["method"]}
        size = (data.pos.amax(0) - data.pos.amin(0)).tolist()
        return found | {"size": " x ".join(f"{side:.6g}" for side in size)}
    out = {"vertices": int(data.num_nodes)}
    if data.get("edge_index") is not None:
        row, col = data.edge_index
        low, high, _ = undirected(row, col, out["vertices"])
        degree = torch.bincount(torch.cat([low, high]), minlength=out["vertices"])
        out |= {
            "edges": len(low),
            "components": connected(out["vertices"], low, high)[0],
            "isolated_vertices": int((degree == 0).sum()),
            "self_loops": int((low == high).sum()),
            "largest_degree": int(degree.max()),
        }
    elif data.get("pos") is not None:
        out |= {
            "components": _components(compute(data, "laplacian", dtype=torch.float64)),
            "duplicate_vertices": out["vertices"] - len(numbered(data.pos).bincount()),
        }
    return out


def text(found: dict[str, Any]) -> str:
    """The report for people: the counts, then what is wrong."""
    lines = [f"{name.replace('_', ' ')}: {found[name]}" for name in COUNTS if found.get(name) is not None]
    lines += [f"{name}: {'yes' if found[name] else 'no'}" for name in GOOD if name in found]
    rest = {k: v for k, v in found.items() if k not in (*COUNTS, *GOOD) and v}
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in rest.items()]
    return "\n".join(lines)


def picture(data: Any, path: str | Path, *, up: str = "y") -> None:
    """A mesh, or points, and its first five eigenfunctions, blue below zero and red above, as a PNG.

    Of a shape of up to `PARTS` parts these are the first that are not constant on each part.
    """
    spectrum = compute(data, "spectrum", k=6, dtype=torch.float64)
    first = 1
    if spectrum.values[1:2].eq(0).all() and (parts := _components(compute(data, "laplacian"))) <= PARTS:
        first = min(parts, data.num_nodes - 1)
        spectrum = compute(data, "spectrum", k=first + 5, dtype=torch.float64)
    plain = {"mesh" if data.get("face") is not None else "points": GREY.expand(data.num_nodes, 3)}
    shown = range(first, len(spectrum.values))
    drawn = {}
    for i in shown:
        values = spectrum.vectors[:, i]
        drawn[f"eigenfunction {i}, eigenvalue {float(spectrum.values[i]):.4g}"] = values / usual_size(values)
    _draw(data, path, plain | drawn, 480, up)


def draw(
    data: Any, path: str | Path | None, values: Any, *, size: int = 480, up: str = "y", limit: float | None = None
) -> Any:
    """A mesh, a graph or points, coloured by functions of its vertices, as a PNG. The figure of matplotlib is returned.

    More than 20,000 edges of a graph are left out, and so are points beyond as many.

    Arguments:
        path: where to save the picture; None for nowhere.
        values: a function (V,), blue below zero and red above; or labels (V,), whole numbers; or colours (V, 3) in
            [0, 1]; or a dict of these by title, of which each is a picture.
        size: of the picture, larger for more pixels; 480 makes 340 a row.
        up: the axis that points up.
        limit: the size from which on a function's colour is full, the same in all pictures; by default each picture has its
            own, which 98% of its values stay below.

    >>> cotan.draw(shape, "curved.png", cotan.compute(shape, "mean_curvature"))
    """
    check_points("draw", data)
    by_title = values if isinstance(values, Mapping) else {"": values}
    if not by_title:
        raise CotanError("draw: values is an empty dict, expected a picture's function, labels or colours by its title")
    if data.get("face") is None and bool((data.pos == data.pos[0]).all()):
        raise CotanError("draw: the points all lie at one place")
    if limit is not None and not (isinstance(limit, int | float) and 0 < limit < math.inf):
        raise CotanError(f"draw: limit={limit!r}, expected a positive number")
    colors, bars = {}, {}
    for title, each in by_title.items():
        each = numbers("colours", each).detach().cpu()
        if each.ndim == 1 and each.is_floating_point():
            bars[title] = each, usual_size(each) if limit is None else limit
        finite = title in bars and each.shape == data.pos.shape[:1] and bool(each.isfinite().all())
        colors[title] = each / bars[title][1] if finite else colors_of(each, len(data.pos), limit)
    if limit is not None and not bars:
        raise CotanError(f"draw: limit={limit}, expected functions (V,) that it limits")
    return _draw(data, path, colors, size, up, bars)


def _draw(
    data: Any,
    path: str | Path | None,
    colors: Mapping[str, Tensor],
    size: int,
    up: str,
    bars: Mapping[str, Any] | None = None,
) -> Any:
    """Colours (V, 3); and functions (V,) over their full size, coloured at each pixel: zero is white inside a face too."""
    from torch_geometric.data import Data

    shape, corner = (data, slice(None)) if data.get("face") is not None else _beads(data)
    shape = Data(pos=shape.pos.detach(), face=shape.face)
    columns = [each[corner].view(shape.num_nodes, -1).float() for each in colors.values()]
    shape.color = torch.cat(columns, 1)
    eye = torch.tensor(EYE).roll("xyz".find(str(up)) - 1).tolist()
    look: dict[str, Any] = {"rig": (eye,), "up": up, "size": size, "samples": 2}
    seen = _close(_views(shape, outputs=("silhouette", "shaded", "color"), **look)[0])
    painted = []
    for each in seen[2:].split([column.shape[1] for column in columns]):
        if len(each) == 1:
            function = (each[0] / seen[0].clamp(min=1e-6)).flatten()
            each = seen[0] * diverging(function, 1.0).T.view(3, *seen[0].shape)
        painted.append(_paint(seen[0], seen[1], each.permute(1, 2, 0)))
    return _save(path, painted, list(colors), min(3, len(colors)), 3.8 if bars else 3.2, 3.4, bars or {}, size / 4.8)


def _views(shape: Any, **look: Any) -> Tensor:
    if not registry.has("operator", "views"):
        why = registry.failures().get("views", "COTAN_PLUGINS=off leaves it out")
        raise CotanError(f"pictures are drawn by the plugin cotan_views, which is not loaded: {why}")
    return compute(shape, node("views", **look))


def _close(seen: Tensor) -> Tensor:
    """The smallest square part of a picture (C, H, H) that has all that channel 0 covers."""
    size, (row, column) = seen.shape[-1], (seen[0] > 0).nonzero().unbind(1)
    if not len(row):
        return seen
    side = int(max(row.max() - row.min(), column.max() - column.min())) + 1
    top, left = (min(max(int(at.max() + at.min() + 1 - side) // 2, 0), size - side) for at in (row, column))
    return seen[:, top : top + side, left : left + side]


def _components(matrix: Sparse) -> int:
    """How many parts the vertices fall into that a matrix joins; a vertex alone is one."""
    return connected(matrix.shape[0], matrix.row.cpu(), matrix.col.cpu())[0]


def _beads(data: Any) -> tuple[Any, Tensor]:
    """An octahedron at each point (at `BEADS` of them), a prism along each edge, and the point that each corner is of."""
    from torch_geometric.data import Data

    pos = data.pos.detach().double()
    some = torch.arange(len(pos)) if len(pos) <= BEADS else torch.linspace(0, len(pos) - 1, BEADS).long()
    size = float((pos.amax(0) - pos.amin(0)).norm()) * min(0.04, 0.7 * len(some) ** -0.5)
    beads = pos[some, None] + size * torch.cat([torch.eye(3), -torch.eye(3)]).to(pos)  # (N, 6, 3)
    ends = some.new_zeros(0, 2)
    if (edges := data.get("edge_index")) is not None and edges.shape[-1] <= 2 * RODS:
        source, target = check_edges(edges, len(pos)).cpu()
        low, high, _ = undirected(source, target, len(pos))
        ends = torch.stack([low, high], 1)[: len(low) if len(low) <= RODS else 0]  # (E, 2)
    along = normalize(pos[ends[:, 1]] - pos[ends[:, 0]])
    across = normalize(cross(along, torch.eye(3).to(pos)[along.abs().argmin(1)]))
    turned = pos.new_tensor([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    ring = turned @ torch.stack([across, cross(along, across)], 1)  # (E, 3, 3)
    rods = (pos[ends][:, :, None] + 0.15 * size * ring[:, None]).flatten(1, 2)  # (E, 6, 3)
    first = 6 * torch.arange(len(beads) + len(rods))[:, None, None]
    face = torch.cat([(OCTAHEDRON + first[: len(beads)]).flatten(0, 1), (PRISM + first[len(beads) :]).flatten(0, 1)])
    corner = torch.cat([some[:, None].expand(-1, 6), ends.repeat_interleave(3, 1)])
    return Data(pos=torch.cat([beads, rods]).view(-1, 3), face=face.T.contiguous()), corner.flatten()


def shaded_views(data: Any, path: str | Path, *, up: str = "z") -> None:
    """The twelve views that a multi-view network sees, shaded, as a PNG."""
    pictures = _views(data, outputs=("silhouette", "shaded"), size=192, samples=2, up=up)
    painted = [_paint(seen[0], seen[1], seen[0, ..., None] * GREY) for seen in pictures]
    _save(path, painted, [""] * len(pictures), 4, 2, 2, {})


def _save(
    path: str | Path | None,
    pictures: Sequence[Tensor],
    titles: Sequence[str],
    columns: int,
    width: float,
    height: float,
    bars: Mapping[str, tuple[Tensor, float]],
    dpi: float = 100,
) -> Any:
    """Pictures (H, W, 3) in rows, each with its title; those of `bars` with the colours of a function and its full size."""
    import matplotlib.figure

    expect("draw", path, str | os.PathLike | None, "a file")
    if path is not None and Path(path).suffix != ".png":
        raise CotanError(f"{path}: expected a file ending in .png")
    rows = -(-len(pictures) // columns)
    figure = matplotlib.figure.Figure(figsize=(width * columns, height * rows), dpi=dpi, layout="constrained")
    for i, (picture, title) in enumerate(zip(pictures, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, i, xticks=[], yticks=[])  # matplotlib measures ticks that are off too
        axes.imshow(picture.numpy())
        lines = [fill(line, LETTERS) for line in str(title).split("\n")]
        axes.set_title("\n".join(lines), fontsize=10, parse_math=False)
        axes.set_axis_off()
        if title in bars:
            draw_bar(axes, *bars[title])
    if path is not None:
        content = BytesIO()
        figure.savefig(content, format="png")
        atomic.save(Path(path), content.getvalue())
    return figure


def _paint(cover: Tensor, shade: Tensor, color: Tensor) -> Tensor:
    """A picture (H, W, 3) on white: light (H, W) and colour (H, W, 3) are zero where nothing covers (H, W) a pixel."""
    share = cover.clamp(min=1e-6)[..., None]
    return (1 - cover[..., None] + (0.25 + 0.75 * shade[..., None] / share) * color).clamp(0, 1)
