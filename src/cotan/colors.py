"""Colours of vertices: of labels, of functions, and a shape's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .errors import CotanError
from .values import numbers

GREY = torch.tensor([0.80, 0.83, 0.88])
RODS = 20000  # edges of a graph up to which they are drawn; more hide what they join
# Told apart by the colour-blind as well, on white and on black: six of Okabe and Ito (2008), and the six that a search found
# farthest from all others as those see them who lack red or green cones.
_TOLD_APART = "0072b2 e69f00 009e73 cc79a7 56b4e9 d55e00 664466 99bb66 0044bb ff99aa 992222 5588ff"
PALETTE = [f"#{color}" for color in _TOLD_APART.split()]


def vertex_colors(shape: Any) -> Tensor:
    """(V, 3) in [0, 1]: `color`, else of `part`, else of labels y, also of edges or faces, else one for the class."""
    own: Tensor | None = shape.get("color")
    if own is not None:
        return own.cpu().double()
    label, y, index = (shape.get(name) for name in ("part", "y", "y_index"))
    if label is None and index is not None:  # where elements meet, the largest label
        at, labels = index.cpu().flatten(), y.cpu().expand(index.shape).flatten()
        label = torch.zeros(len(shape.pos), dtype=y.dtype).scatter_reduce(0, at, labels, "amax")
    elif label is None:
        classes = y is not None and not y.is_floating_point()
        of_vertices = classes and y.numel() == len(shape.pos)
        label = y if of_vertices else torch.full((len(shape.pos),), int(y) if classes and y.numel() == 1 else 0)
    return label_colors(label)


def label_colors(label: Tensor) -> Tensor:
    """Labels (V,) as colours (V, 3) in [0, 1], for `cotan.write(data, path, colors=...)`."""
    palette = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE], dtype=torch.float64)
    return palette[label.cpu() % len(palette)]


def colors_of(given: Any, count: int, full: float | None = None) -> Tensor:
    """(V, 3) in [0, 1]: of colours as they are; of a function (V,) by `diverging`; of labels (V,), whole numbers."""
    values: Tensor = numbers("colours", given).detach().cpu()
    if values.shape == (count, 3) and values.is_floating_point():
        shades = values.clamp(0, 1)
        if not bool(((values - shades).abs() < 1 / 255).all()):  # so that what rounding or filters put outside passes
            raise CotanError(f"colours are from 0 to 1, got {float(values.amin()):.4g} to {float(values.amax()):.4g}")
        return shades
    if values.shape != (count,):
        raise CotanError(
            f"colours are {tuple(values.shape)} of {values.dtype}, expected ({count}, 3) from 0 to 1, or a function or "
            f"labels ({count},)"
        )
    return diverging(values, full) if values.is_floating_point() else label_colors(values.long())


def is_color(value: Any, count: int) -> bool:
    """Whether an attribute `color` holds what `read` puts there: red, green and blue of each vertex, from 0 to 1."""
    there = isinstance(value, Tensor) and value.is_floating_point() and value.shape == (count, 3)
    return there and bool(((value >= 0) & (value <= 1)).all())


def diverging(values: Tensor, full: float | None = None) -> Tensor:
    """Blue below zero, white at it, red above; grey where not finite. (V,) -> (V, 3)

    The colour is full from `full` on, by default `usual_size`.
    """
    there = values.isfinite()
    t = (values.double() / (full or usual_size(values))).clamp(-1, 1).float()[:, None]
    red, blue, white = torch.tensor([0.80, 0.15, 0.15]), torch.tensor([0.13, 0.35, 0.80]), torch.ones(3)
    shades = white + t.clamp(min=0) * (red - white) - t.clamp(max=0) * (blue - white)
    return torch.where(there[:, None], shades, 0.5)


def usual_size(values: Tensor) -> float:
    """98% of the values but zeros are nearer to zero, so that a spike leaves the rest its colours; 1 where all are zero."""
    size = values[values.isfinite() & (values != 0)].abs().double()
    return float(size.quantile(0.98)) if len(size) else 1.0


def draw_bar(axes: Any, values: Tensor, full: float) -> None:
    """The colours beside a picture, of those signs that the function has."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    low, high = (full * bool((sign * values > 0).any()) for sign in (-1, 1))
    if low or high:
        shades = diverging(torch.linspace(-low, high, 255, dtype=torch.float64), full)
        beyond = bool((values < -full).any()), bool((values > full).any())
        extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
        scale = ScalarMappable(Normalize(-low, high), ListedColormap(shades.numpy()))
        axes.figure.colorbar(scale, ax=axes, shrink=0.7, extend=extend).ax.tick_params(labelsize=8)
