"""The operators: what is seen of a shape from all sides. The shape is put into the unit ball first."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import cotan

from .cameras import FOV, Rig, cameras
from .normalise import normalise
from .render import Raster, render
from .render import raster as rasterise

cotan.source("color", per="vertex")


def _few_pixels(value: Tensor | Raster) -> Tensor:
    """Some pixels, for checks of derivatives: where an edge passes a pixel's centre, a picture jumps."""
    views = value.depth if isinstance(value, Raster) else value
    return views[..., 3::8, 3::8]


@cotan.operator(per="shape", invariant_to=("scale",), observable=_few_pixels)
def raster(
    pos: Tensor,
    face: Tensor,
    *,
    rig: Rig = "ring",
    count: int | None = None,
    elevation: float | None = None,
    seed: int | None = None,
    up: str = "z",
    projection: str = "perspective",
    fov: float = FOV,
    align: str = "none",
    size: int = 64,
) -> Raster:
    """Face (N, H, W), barycentric coordinates (N, H, W, 3) and depth (N, H, W) at the pixels' centres.

    Cameras as in `cameras`, align as in `normalise`; where nothing is seen the face is -1 and the rest 0.
    """
    seen = cameras(rig, count=count, elevation=elevation, seed=seed, up=up, projection=projection, fov=fov)
    return Raster(*(value[0] for value in rasterise(normalise(pos, face, align), face, seen, size=size)))


def views_of_many(
    pos: Sequence[Tensor],
    face: Sequence[Tensor],
    color: Sequence[Tensor] | None = None,
    *,
    align: str,
    size: int,
    outputs: Sequence[str],
    samples: int,
    smooth: bool,
    softness: float,
    **of_cameras: Any,
) -> Sequence[Tensor]:
    """The views of each of several shapes, drawn at once."""
    seen = cameras(**of_cameras)
    number = [len(corners) for corners in pos]
    first = torch.tensor([0, *number]).cumsum(0)
    return render(
        torch.cat([normalise(corners, faces, align) for corners, faces in zip(pos, face, strict=True)]),
        torch.cat([faces + offset for faces, offset in zip(face, first.tolist(), strict=False)], 1),
        seen,
        size=size,
        outputs=outputs,
        batch=torch.repeat_interleave(torch.tensor(number)).to(pos[0].device),
        color=torch.cat(list(color)) if color is not None and "color" in outputs else None,
        samples=samples,
        smooth=smooth,
        softness=softness,
    ).unbind()


@cotan.operator(per="shape", invariant_to=("scale",), observable=_few_pixels, many=views_of_many)
def views(
    pos: Tensor,
    face: Tensor,
    color: Tensor | None = None,
    *,
    rig: Rig = "ring",
    count: int | None = None,
    elevation: float | None = None,
    seed: int | None = None,
    up: str = "z",
    projection: str = "perspective",
    fov: float = FOV,
    align: str = "none",
    size: int = 64,
    outputs: Sequence[str] = ("depth", "normals"),
    samples: int = 1,
    smooth: bool = False,
    softness: float = 0.0,
) -> Tensor:
    """Pictures (N, C, size, size) from N cameras, channels in the order of `outputs`, background 0.

    Cameras as in `cameras`, align as in `normalise`, channels and the other options as in `render`.
    """
    return views_of_many(
        [pos],
        [face],
        None if color is None else [color],
        rig=rig,
        count=count,
        elevation=elevation,
        seed=seed,
        up=up,
        projection=projection,
        fov=fov,
        align=align,
        size=size,
        outputs=outputs,
        samples=samples,
        smooth=smooth,
        softness=softness,
    )[0]
