"""A first look at a shape: what is right and wrong with it, and a picture of it and of its first eigenfunctions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CotanError
from .nodes import node
from .plan import compute

EYE = (0.9, 0.45, 1.9)  # from the front, a little from the right and from above; y is up
GOOD = ("manifold", "closed", "orientable")
COUNTS = ("vertices", "faces", "edges", "components", "boundary_loops", "euler", "genus")


def report(data: Any) -> dict[str, Any]:
    """What can be said of a shape: the mesh report, or the numbers of a graph."""
    if data.get("face") is not None:
        found: dict[str, Any] = compute(data, "mesh_report")
        return found
    out = {"vertices": int(data.num_nodes)}
    if data.get("edge_index") is not None:
        from scipy.sparse.csgraph import connected_components

        from .sparse import Sparse

        row, col = data.edge_index
        matrix = Sparse.from_coo(row, col, torch.ones(len(row)), (out["vertices"], out["vertices"]))
        degree = torch.bincount(row, minlength=out["vertices"])
        out |= {
            "edges": len(row),
            "components": int(connected_components(matrix.to_scipy())[0]),
            "isolated_vertices": int((degree == 0).sum()),
            "self_loops": int((row == col).sum()),
            "largest_degree": int(degree.max()) if len(degree) else 0,
        }
    return out


def text(found: dict[str, Any]) -> str:
    """The report for people: the counts, then what is wrong."""
    lines = [f"{name.replace('_', ' ')}: {found[name]}" for name in COUNTS if found.get(name) is not None]
    lines += [f"{name}: {'yes' if found[name] else 'no'}" for name in GOOD if name in found]
    rest = {k: v for k, v in found.items() if k not in (*COUNTS, *GOOD) and v}
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in rest.items()]
    return "\n".join(lines)


def picture(data: Any, path: str | Path, *, functions: int = 5, size: int = 320) -> None:
    """The mesh and its first eigenfunctions, blue below zero and red above, as a PNG."""
    import matplotlib.figure

    if data.get("face") is None:
        raise CotanError("a picture is of a mesh; this data has no face")
    spectrum = compute(data, "spectrum", k=functions + 1)
    look: dict[str, Any] = {"rig": (EYE,), "up": "y", "size": size, "samples": 2}
    shaded = compute(data, node("views", outputs=("shaded",), **look))[0, 0]
    panels: list[tuple[str, Tensor]] = [("mesh", _paint(shaded, torch.tensor([0.80, 0.83, 0.88])))]
    coloured = data.clone()
    for i in range(1, min(functions + 1, len(spectrum.values))):
        coloured.color = _diverging(spectrum.vectors[:, i])
        color = compute(coloured, node("views", outputs=("color",), **look))[0]
        panels.append((f"eigenfunction {i}: {float(spectrum.values[i]):.4g}", _paint(shaded, color.permute(1, 2, 0))))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = matplotlib.figure.Figure(figsize=(3.2 * columns, 3.4 * rows), dpi=100, layout="constrained")
    for i, (title, pixels) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(pixels.clamp(0, 1).numpy())
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    _save(figure, path)


def contact_sheet(data: Any, path: str | Path, *, size: int = 192) -> None:
    """The twelve views that a multi-view network sees, shaded, as a PNG."""
    import matplotlib.figure

    pictures = compute(data, node("views", outputs=("shaded",), size=size, samples=2))[:, 0]
    columns = 4
    figure = matplotlib.figure.Figure(
        figsize=(2 * columns, 2 * -(-len(pictures) // columns)), dpi=100, layout="constrained"
    )
    for i, pixels in enumerate(pictures):
        axes = figure.add_subplot(-(-len(pictures) // columns), columns, i + 1)
        axes.imshow(_paint(pixels, torch.tensor([0.80, 0.83, 0.88])).clamp(0, 1).numpy())
        axes.set_axis_off()
    _save(figure, path)


def _save(figure: Any, path: str | Path) -> None:
    path = Path(path)
    if path.suffix != ".png":
        raise CotanError(f"{path}: expected a file ending in .png")
    temporary = path.with_name(f".{path.name}.writing")
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _paint(shade: Tensor, color: Tensor) -> Tensor:
    """A shaded picture (H, W) in a colour (3,) or (H, W, 3), on white."""
    seen = (shade > 0)[..., None]
    return torch.where(seen, (0.25 + 0.75 * shade[..., None]) * color, torch.ones(3))


def _diverging(values: Tensor) -> Tensor:
    """Blue below zero, white at it, red above. (V,) -> (V, 3)"""
    t = (values / values.abs().max().clamp(min=1e-12)).clamp(-1, 1)[:, None]
    red, blue, white = torch.tensor([0.80, 0.15, 0.15]), torch.tensor([0.13, 0.35, 0.80]), torch.ones(3)
    return white + t.clamp(min=0) * (red - white) - t.clamp(max=0) * (blue - white)
