"""Views side by side, for a person to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least, said

from .channels import WIDTHS, width

GAP = 2  # white pixels between pictures


def contact_sheet(
    views: Tensor, path: str | Path | BinaryIO, *, outputs: Sequence[str] = ("depth", "normals"), columns: int = 6
) -> None:
    """Write views (N, C, H, W) of one shape to a PNG: for each output, the N pictures in rows of `columns`.

    Depth is the brighter the nearer; normals and positions are colours, grey for zero; contours are black on white.
    """
    channels = width(outputs, 3)
    if not isinstance(views, Tensor) or views.dim() != 4 or views.shape[1] != channels or not views.numel():
        raise cotan.CotanError(f"views are (N, {channels}, H, W) for the outputs {tuple(outputs)}; got {said(views)}")
    at_least(1, "contact_sheet", columns=columns)
    widths = [WIDTHS.get(name, 3) for name in outputs]
    pictures = views.detach().cpu().double().split(widths, 1)
    blocks = [_grid(_shown(name, p), columns) for name, p in zip(outputs, pictures, strict=True)]
    from matplotlib.image import imsave

    imsave(path, torch.cat(blocks).numpy())


def _shown(name: str, picture: Tensor) -> Tensor:
    """Values as colours in [0, 1], (N, H, W, 3)."""
    seen = (picture != 0).any(1, keepdim=True)
    if name == "depth":
        near, far = picture[seen].min() if seen.any() else 0, picture.max()
        picture = torch.where(seen, 1 - 0.8 * (picture - near) / (far - near).clamp(min=1e-9), 0)
    elif name in ("normals", "position"):
        picture = torch.where(seen, 0.5 + 0.5 * picture, 0)
    elif name == "contours":
        picture = 1 - picture
    return picture.clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


def _grid(pictures: Tensor, columns: int) -> Tensor:
    """(N, H, W, 3) -> (rows * (H + gap), columns * (W + gap), 3)"""
    n, height, width, _ = pictures.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    cells = pictures.new_ones(rows * columns, height + GAP, width + GAP, 3)
    cells[:n, :height, :width] = pictures
    cells = cells.view(rows, columns, height + GAP, width + GAP, 3).transpose(1, 2)
    return cells.reshape(rows * (height + GAP), columns * (width + GAP), 3)
